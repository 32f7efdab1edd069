"""Digests, corrections and announcements to look at and to test with: about nothing that happened.

Loaded by path (`runpy.run_path`), because tests are not a package.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from newsletter.rendering import announcement, correction, environment
from newsletter.rendering import compile as compiling
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import (
    AnnouncementContent,
    Brand,
    CorrectionContent,
    DigestContent,
    Image,
    Links,
    Related,
    Story,
)
from newsletter.rendering.message import Markers, Slot

NONCE = "0123456789abcdefghij"
MARKERS = Markers(NONCE)

BRAND = Brand(
    name="Mia’s Feed",
    tagline="Medical news and research",
    site_url="https://miasfeed.example/",
    sender="Mia’s Feed <news@miasfeed.example>",
    reply_to="editors@miasfeed.example",
    postal_address="Mia’s Feed Publishing\n12 Harbour Street\nPortsmouth PO1 2AB",
    accent="#0b7a75",
    list_id="news.miasfeed.example",
    why="You asked for Mia’s Feed by email at miasfeed.example.",
)

LINKS = Links(
    unsubscribe=f"https://miasfeed.example/unsubscribe/{MARKERS.of(Slot.UNSUBSCRIBE)}",
    unsubscribe_mailto=f"mailto:news@miasfeed.example?subject={MARKERS.of(Slot.UNSUBSCRIBE)}",
    manage=f"https://miasfeed.example/preferences/{MARKERS.of(Slot.MANAGE)}",
    view="https://miasfeed.example/editions/Wq3xT8mZ1kLp",
)

READER = {
    Slot.ADDRESS: "o'b&c=d+e@x.example",
    Slot.MESSAGE_ID: "Wq3xT8mZ1kLp.5fXk2vQ9rT7bN1yH@miasfeed.example",
    Slot.DATE: "Mon, 23 Nov 2026 07:00:00 +0000",
    Slot.SINCE: "2 September 2025",
    Slot.UNSUBSCRIBE: "WyI1ZlhrMnZROXJUN2JOMXlIIiwxXQ.kq3N1vT8mZ1kLpWq3xT8mZ1kLpWq3xT8mZ1kL",
    Slot.MANAGE: "WyI1ZlhrMnZROXJUN2JOMXlIIiwxXQ.Z1kLpkq3N1vT8mWq3xT8mZ1kLpWq3xT8mZ1kL",
}

#: The lead's picture, and what to show in its place where there is no network.
PICTURE_URL = "https://miasfeed.example/images/travelling-tumour-clusters.jpg"
PICTURE = (
    "data:image/svg+xml;utf8,"
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1200 630'%3E"
    "%3Crect width='1200' height='630' fill='%23123c44'/%3E"
    "%3Ccircle cx='420' cy='330' r='210' fill='%230b7a75'/%3E"
    "%3Ccircle cx='650' cy='260' r='150' fill='%23e0a458'/%3E"
    "%3Ccircle cx='760' cy='430' r='120' fill='%23c8553d'/%3E%3C/svg%3E"
)

FIVE = (
    Story(
        title="How Tumour Cells That Travel With Immune Cells Seed New Cancers",
        url="https://miasfeed.example/articles/travelling-tumour-clusters",
        minutes=2,
        standfirst="Two studies follow clusters of tumour and immune cells through the blood and "
        "find that they settle far more easily than a cell that travels alone.",
        source="medicalxpress.com",
        category="Oncology",
        image=Image(url=PICTURE_URL, alt="Cells in a vessel", width=1200, height=630),
    ),
    Story(
        title="What a UV Index Can and Cannot Tell You: A Dermatologist on Sun Protection",
        url="https://miasfeed.example/articles/uv-index",
        minutes=1,
        standfirst="Apps that count the day’s ultraviolet light are popular. Sunscreen, a hat and "
        "the shade at noon still do most of the work.",
        source="healthline.example",
        category="Dermatology",
    ),
    Story(
        title="Legionnaires’ Disease in Harlem: Three Deaths and 67 Cases",
        url="https://miasfeed.example/articles/legionnaires-harlem",
        minutes=1,
        standfirst="Cooling towers on eleven buildings are being cleaned after the city’s largest "
        "cluster in ten years.",
        source="citynews.example",
        category="Infectious diseases",
    ),
    Story(
        title="Regulator Suspends a Chikungunya Vaccine After Serious Side Effects",
        url="https://miasfeed.example/articles/chikungunya-vaccine",
        minutes=1,
        standfirst="The licence is on hold in the United States while reports from older "
        "travellers are reviewed.",
        source="reuters.example",
        category="Infectious diseases",
    ),
    Story(
        title="A Small Peptide Helps Bone to Grow Back in Osteoporosis",
        url="https://miasfeed.example/articles/peptide-bone",
        minutes=1,
        standfirst="In mice, the molecule builds bone and slows its loss at the same time, which "
        "no medicine in use does.",
        source="medicalxpress.com",
        category="Bone health",
    ),
)

RELATED = (
    Related(
        title="A Blood Test Finds Breast Cancer’s Return Months Before a Scan",
        url="https://miasfeed.example/articles/blood-test-return",
        minutes=3,
    ),
    Related(
        title="Why Some Tumours Sleep for Decades",
        url="https://miasfeed.example/articles/sleeping-tumours",
        minutes=5,
    ),
    Related(
        title="T Cells That Help the Wrong Side",
        url="https://miasfeed.example/articles/t-cells-wrong-side",
        minutes=2,
    ),
)

WEEKLY = DigestContent(
    cadence="weekly",
    period_on=date(2026, 11, 23),
    covers_from=date(2026, 11, 16),
    covers_to=date(2026, 11, 22),
    stories=FIVE,
    related=RELATED,
    next_on=date(2026, 11, 30),
)

ONE = DigestContent(
    cadence="daily",
    period_on=date(2026, 11, 22),
    covers_from=date(2026, 11, 21),
    covers_to=date(2026, 11, 22),
    stories=FIVE[2:3],
    next_on=date(2026, 11, 23),
)

_SUBJECTS = ("Oncology", "Heart", "Sleep", "Nutrition", "Children", "Infectious diseases", None)


def many(count: int, *, title_length: int = 0, standfirst_length: int = 0) -> DigestContent:
    """An edition of `count` stories, with titles and standfirsts as long as asked."""
    stories = tuple(
        replace(
            FIVE[n % 5],
            title=_stretch(f"{FIVE[n % 5].title} ({n + 1})", title_length),
            standfirst=_stretch(FIVE[n % 5].standfirst, standfirst_length),
            url=f"{FIVE[n % 5].url}-{n + 1}",
            category=_SUBJECTS[n * 3 % len(_SUBJECTS)],
            minutes=n % 6 + 1,
            image=None,
        )
        for n in range(count)
    )
    return DigestContent(
        cadence="monthly",
        period_on=date(2026, 12, 1),
        covers_from=date(2026, 11, 1),
        covers_to=date(2026, 11, 30),
        stories=stories,
        related=RELATED,
        next_on=date(2027, 1, 1),
    )


def _stretch(text: str, length: int) -> str:
    return (text + " " + text * (length // len(text)))[:length] if length else text


ARABIC_BRAND = replace(
    BRAND,
    name="نشرة ميا",
    tagline="أخبار الطب والبحوث",
    sender="نشرة ميا <news@miasfeed.example>",
    language="ar",
    why="طلبتم هذه النشرة في miasfeed.example.",
    postal_address="دار ميا للنشر\nشارع الميناء 12\nالإسكندرية",
)

ARABIC = replace(
    WEEKLY,
    stories=(
        Story(
            title="كيف تنتقل خلايا الأورام برفقة خلايا المناعة",
            url="https://miasfeed.example/ar/1",
            minutes=4,
            standfirst="دراستان تتبعان تجمعات الخلايا في الدم وتجدان أنها تستقر بسهولة أكبر "
            "من الخلية التي تسافر وحدها.",
            source="medicalxpress.com",
            category="علم الأورام",
        ),
        Story(
            title="ماذا يخبرنا مؤشر الأشعة فوق البنفسجية (UV) وماذا لا يخبرنا",
            url="https://miasfeed.example/ar/2",
            minutes=2,
            standfirst="ما زالت القبعة والظل عند الظهيرة أفضل وقاية من الشمس.",
            source="صحتنا",
            category="الأمراض الجلدية",
        ),
        Story(
            title="جزيء صغير يساعد العظام على النمو من جديد",
            url="https://miasfeed.example/ar/3",
            minutes=3,
            standfirst="في الفئران يبني الجزيء العظم ويبطئ فقدانه في الوقت نفسه.",
            category="صحة العظام",
        ),
    ),
    related=(
        Related(
            title="لماذا تنام بعض الأورام عقوداً", url="https://miasfeed.example/ar/4", minutes=5
        ),
    ),
)


CORRECTION = CorrectionContent(
    title=FIVE[4].title,
    url=FIVE[4].url,
    period_on=date(2026, 11, 23),
    paragraphs=(
        "We wrote that the mice were given 50 mg of the peptide. That is wrong: it was 5 mg.",
        "It stands in https://journal.example/2026/11/a-small-peptide-and-bone-in-osteoporosis.",
        "We are sorry. The article is mended, and says since when.",
    ),
)

ARABIC_CORRECTION = CorrectionContent(
    title="جزيء صغير يساعد العظام على النمو من جديد",
    url="https://miasfeed.example/ar/3",
    period_on=date(2026, 11, 23),
    paragraphs=(
        "كتبنا أن الجرعة 50 ملغ لكل كيلوغرام، وهذا خطأ: الجرعة 5 ملغ.",
        "الرقم الصحيح في الجدول الثالث من الدراسة: https://journal.example/articles/2026/11/3.",
    ),
)


ANNOUNCEMENT = AnnouncementContent(
    subject="We move to a new home",
    text="""\
Dear readers,

from **1 January** on you find us at a [new address](https://miasfeed.example/move). For you
nothing changes:

- the digest comes as before, on the same day and at the same hour;
- old links go on working.

## Why we move

> The old house was too small for *all* of your letters.

Write to us: <mailto:editors@miasfeed.example>.
""",
    made_on=date(2026, 11, 23),
)

ARABIC_ANNOUNCEMENT = AnnouncementContent(
    subject="ننتقل إلى عنوان جديد",
    text="""\
قراءنا الأعزاء،

ابتداءً من **1 يناير** تجدوننا على [عنوان جديد](https://miasfeed.example/ar/move).

1. تصل النشرة كما كانت.
2. تبقى الروابط القديمة صالحة.
""",
    made_on=date(2026, 11, 23),
)

#: The functions that compile each kind of content.
_COMPILE = {
    DigestContent: compiling.digest,
    CorrectionContent: correction.correction,
    AnnouncementContent: announcement.announcement,
}


def render(
    content: DigestContent | CorrectionContent | AnnouncementContent, brand: Brand = BRAND
) -> Rendered:
    """Compile `content` with our own templates."""
    has_page = not isinstance(content, CorrectionContent)
    return _COMPILE[type(content)](
        content,
        brand=brand,
        links=LINKS if has_page else replace(LINKS, view=None),
        markers=MARKERS,
        environment=environment.build(None, brand.language),
        feedback_id="weekly-20261123:digest:news:miasfeed",
    )


#: Every page that is looked at: name, content and brand.
GALLERY = {
    "five": (WEEKLY, BRAND),
    "one": (ONE, BRAND),
    "sixty": (many(60), BRAND),
    "no-images": (
        replace(WEEKLY, stories=tuple(replace(story, image=None) for story in FIVE)),
        BRAND,
    ),
    "long-titles": (replace(many(9, title_length=300), cadence="weekly"), BRAND),
    "arabic": (ARABIC, ARABIC_BRAND),
    "correction": (CORRECTION, BRAND),
    "arabic-correction": (ARABIC_CORRECTION, ARABIC_BRAND),
    "announcement": (ANNOUNCEMENT, BRAND),
    "arabic-announcement": (ARABIC_ANNOUNCEMENT, ARABIC_BRAND),
}
