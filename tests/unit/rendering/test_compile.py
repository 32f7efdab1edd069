from __future__ import annotations

import email
import logging
import re
import socket
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from filling import filled

from newsletter.errors import RenderError
from newsletter.rendering import compile as compiling
from newsletter.rendering import environment, message
from newsletter.rendering.content import Image
from newsletter.rendering.message import Slot

GALLERY = (
    "five", "one", "sixty", "no-images", "long-titles", "arabic", "correction", "arabic-correction",
    "announcement", "arabic-announcement",
)  # fmt: skip

GOLDEN = Path(__file__).parent / "golden" / "weekly.eml"


def read(raw: bytes) -> EmailMessage:
    found = email.message_from_bytes(raw, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


class Page(HTMLParser):
    """What a test asks of an HTML page: its tags in order, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, *names: str) -> list[tuple[str, dict[str, str | None]]]:
        return [found for found in self.tags if found[0] in names]


def test_the_weekly_digest_is_byte_for_byte_the_golden_one(digests: SimpleNamespace) -> None:
    """Written anew when the file is missing; look at the difference before it is kept."""
    raw = filled(digests.render(digests.WEEKLY).message, digests.READER)

    if not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_bytes(raw)
        pytest.fail(f"{GOLDEN} was missing and has been written.")
    assert raw == GOLDEN.read_bytes()


@pytest.mark.parametrize(
    ("width", "height", "shown", "style"),
    [
        (1200, 630, ("536", "281"), "width:100%; max-width:536px; height:auto"),
        (300, 200, ("300", "200"), "width:100%; max-width:300px; height:auto"),
        (72, None, ("72", None), "width:100%; max-width:72px; height:auto"),
        (None, None, ("536", None), "width:auto; max-width:100%; height:auto"),
    ],
)
def test_a_picture_is_never_stretched_beyond_its_size(
    digests: SimpleNamespace,
    width: int | None,
    height: int | None,
    shown: tuple[str, str | None],
    style: str,
) -> None:
    image = Image(url="https://a.example/1.jpg", width=width, height=height)
    lead = replace(digests.FIVE[0], image=image)

    page = Page(digests.render(replace(digests.ONE, stories=(lead,))).html)

    [(_, found)] = page.all("img")
    # The attribute is Outlook's, which knows no max-width.
    assert (found["width"], found.get("height")) == shown
    assert style.replace(" ", "") in (found["style"] or "").replace(" ", "")


def test_compiling_twice_gives_the_same_bytes(digests: SimpleNamespace) -> None:
    first, second = (digests.render(digests.WEEKLY) for _ in range(2))

    assert first.message == second.message


@pytest.mark.parametrize("title_length", [0, 300])
@pytest.mark.parametrize("brand", ["BRAND", "ARABIC_BRAND"])
def test_200_long_stories_stay_under_the_limit_and_keep_the_footer(
    digests: SimpleNamespace, title_length: int, brand: str
) -> None:
    content = digests.many(200, title_length=title_length, standfirst_length=2000)

    rendered = digests.render(content, getattr(digests, brand))

    raw = filled(rendered.message, digests.READER)
    _, part = read(raw).iter_parts()
    assert len(part.get_payload(decode=False)) < compiling.WIRE_LIMIT
    assert digests.READER[Slot.UNSUBSCRIBE] in part.get_content()
    how_many_more = re.search(
        r"(and|و) ?\d+ (more|[\u0600-\u06ff ]+) (on|على) .{0,9}miasfeed\.example",
        part.get_content(),
    )
    assert how_many_more
    assert "Portsmouth" in rendered.html or "الإسكندرية" in rendered.html
    assert "199" in rendered.message.subject


def test_200_stories_in_a_script_of_three_octets_a_letter_stay_under_the_limit(
    digests: SimpleNamespace,
) -> None:
    content = digests.many(200)
    content = replace(
        content,
        stories=tuple(
            replace(story, title="朝刊" * 150, standfirst="朝刊" * 900) for story in content.stories
        ),
    )

    rendered = digests.render(content)

    assert message.body_size(rendered.html, digests.MARKERS) < compiling.WIRE_LIMIT
    assert digests.MARKERS.of(Slot.UNSUBSCRIBE) in rendered.html


def test_a_digest_that_cannot_fit_is_an_error_and_not_a_clipped_mail(
    digests: SimpleNamespace,
) -> None:
    lead = replace(digests.FIVE[0], url="https://miasfeed.example/" + "a" * 60_000)

    with pytest.raises(RenderError, match="larger than"):
        digests.render(replace(digests.ONE, stories=(lead,)))


def test_a_digest_of_nothing_is_an_error(digests: SimpleNamespace) -> None:
    with pytest.raises(RenderError, match="at least one"):
        digests.render(replace(digests.ONE, stories=()))


@pytest.mark.parametrize(
    ("title", "count", "subject"),
    [
        ("Bone grows back", 1, "Bone grows back"),
        ("Bone grows back", 9, "Bone grows back, and 8 more"),
        ("Does bone grow back?", 2, "Does bone grow back? And 1 more"),
        ("word " * 40, 3, "word word word word word word word word word word word word word word"),
    ],
)
def test_the_subject_is_the_lead_and_how_many_more(
    digests: SimpleNamespace, title: str, count: int, subject: str
) -> None:
    lead, *others = digests.many(count).stories
    content = replace(digests.ONE, stories=(replace(lead, title=title), *others))

    found = digests.render(content).message.subject

    assert found.startswith(subject)
    assert len(found) <= 90


def test_trap_14_a_headline_with_line_ends_is_one_line_of_subject(
    digests: SimpleNamespace,
) -> None:
    lead = replace(digests.FIVE[0], title="Two\r\nBcc: a@x.example\u2028lines")

    rendered = digests.render(replace(digests.ONE, stories=(lead,)))

    assert rendered.message.subject == "Two Bcc: a@x.example lines"


def test_article_text_is_escaped(digests: SimpleNamespace) -> None:
    lead = replace(digests.FIVE[0], title="<script>alert(1)</script> & more", category="<b>")

    rendered = digests.render(replace(digests.ONE, stories=(lead,)))

    assert "<script" not in rendered.html
    assert "<b>" not in rendered.html
    assert "<script>alert(1)</script> & more" in rendered.text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//x.example/", ""])
def test_only_web_addresses_become_links(digests: SimpleNamespace, url: str) -> None:
    lead = replace(digests.FIVE[0], url=url, image=Image(url=url))

    rendered = digests.render(replace(digests.ONE, stories=(lead,)))

    page = Page(rendered.html)
    assert not page.all("img")
    assert all(attrs["href"].startswith("https://") for _, attrs in page.all("a"))
    assert f"] {digests.BRAND.site_url}" in rendered.text


def test_trap_10_no_style_sheet_is_ever_fetched(
    digests: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    page = digests.render(digests.WEEKLY).html.replace(
        "</head>", '<link rel="stylesheet" href="http://127.0.0.1:9/x.css"></head>'
    )

    with caplog.at_level(logging.DEBUG):
        compiling.inline(page)

    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_media_queries_dark_rules_and_outlook_conditionals_survive_the_inlining(
    digests: SimpleNamespace,
) -> None:
    html = digests.render(digests.WEEKLY).html

    assert "@media (prefers-color-scheme:dark){" in html
    assert "[data-ogsc] .ink{color:#ecebe8!important}" in html
    assert html.count("<!--[if mso]>") == html.count("<![endif]-->") == 3
    assert '<table role="presentation" align="center" width="600"' in html
    assert "&lt;" not in html.partition("<body")[0]


def test_every_style_block_is_small_enough_for_gmail(digests: SimpleNamespace) -> None:
    html = digests.render(digests.WEEKLY).html

    blocks = re.findall(r"<style[^>]*>(.*?)</style>", html, flags=re.DOTALL)
    assert 0 < sum(map(len, blocks)) < 8192


def test_the_mail_is_styled_without_its_style_block(digests: SimpleNamespace) -> None:
    html = re.sub(r"<style.*?</style>", "", digests.render(digests.WEEKLY).html, flags=re.DOTALL)

    page = Page(html)
    for _, attrs in page.all("h1", "h2", "h3", "p"):
        assert "font-size" in (attrs["style"] or "")
    for _, attrs in page.all("a"):
        assert "color" in (attrs["style"] or "")


def test_nothing_is_set_under_13_pixels_but_what_is_hidden(digests: SimpleNamespace) -> None:
    for tag, attrs in Page(digests.render(digests.many(60)).html).tags:
        sizes = re.findall(r"font-size:(\d+)px", attrs.get("style") or "")
        assert all(int(size) >= 13 for size in sizes) or "display:none" in attrs["style"], tag


@pytest.mark.parametrize("name", GALLERY)
def test_headings_are_in_order_with_one_h1(digests: SimpleNamespace, name: str) -> None:
    html = digests.render(*digests.GALLERY[name]).html

    levels = [int(tag[1]) for tag, _ in Page(html).all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", GALLERY)
def test_tables_are_presentation_and_images_have_size_and_text(
    digests: SimpleNamespace, name: str
) -> None:
    page = Page(digests.render(*digests.GALLERY[name]).html)

    assert all(attrs.get("role") == "presentation" for _, attrs in page.all("table"))
    for _, attrs in page.all("img"):
        assert attrs["alt"]
        assert attrs["width"]
        assert attrs["height"]


def test_language_and_direction_are_the_publications(digests: SimpleNamespace) -> None:
    html = digests.render(digests.ARABIC, digests.ARABIC_BRAND).html

    assert '<html lang="ar" dir="rtl"' in html
    assert "text-align:right" in html
    assert "text-align:left" not in html
    assert "نوفمبر" in html


def test_the_preview_text_is_followed_by_filler(digests: SimpleNamespace) -> None:
    page = Page(digests.render(digests.WEEKLY).html)

    text = page.text.partition("5 stories, 6 minutes. Also: What a UV Index")[2]
    assert text.index("\u034f\u200c\u00a0" * 60) < text.index("In this edition")


def test_the_page_for_everyone_has_no_readers_links(digests: SimpleNamespace) -> None:
    page = digests.render(digests.WEEKLY).page

    assert digests.NONCE not in page
    assert "Unsubscribe" not in page
    assert "Portsmouth" in page


def test_the_mail_loads_nothing_but_the_leads_image(digests: SimpleNamespace) -> None:
    html = digests.render(digests.WEEKLY).html

    assert len(Page(html).all("img")) == 1
    assert not Page(html).all("link", "script", "iframe", "form", "object", "video")
    assert "url(" not in html
    assert "@import" not in html


def test_a_logo_stands_in_the_place_of_the_name(digests: SimpleNamespace) -> None:
    logo = Image(url="https://miasfeed.example/logo.png", width=480, height=96)

    html = digests.render(digests.WEEKLY, replace(digests.BRAND, logo=logo)).html

    (_, first), *_ = Page(html).all("img")
    assert (first["alt"], first["width"], first["height"]) == ("Mia’s Feed", "300", "60")


def test_the_text_part_is_72_columns_wide_and_links_by_number(digests: SimpleNamespace) -> None:
    text = digests.render(digests.many(60)).text

    assert all(len(line) <= 72 for line in text.split("\n") if "https://" not in line)
    assert "<" not in text
    for number, url in re.findall(r"^\[(\d+)\] (\S+)$", text, flags=re.MULTILINE):
        assert f"[{number}]" in text.partition("LINKS")[0]
        assert url.startswith("https://")


@pytest.mark.parametrize(
    ("cadence", "dateline"),
    [
        ("daily", "Daily, 23 November 2026"),
        ("weekly", "Weekly, 16–22 November 2026"),
        ("monthly", "Monthly, 16–22 November 2026"),
    ],
)
def test_the_dateline_says_cadence_and_days(
    digests: SimpleNamespace, cadence: str, dateline: str
) -> None:
    rendered = digests.render(replace(digests.WEEKLY, cadence=cadence))

    assert dateline in rendered.html
    assert dateline in rendered.text


def test_a_month_is_named_when_the_edition_covers_it(digests: SimpleNamespace) -> None:
    assert "Monthly, November 2026" in digests.render(digests.many(3)).text


def test_a_digest_has_every_slot_but_those_of_letters(digests: SimpleNamespace) -> None:
    of_letters = {Slot.CONFIRM, Slot.ERASE, Slot.DATA, Slot.NEW_ADDRESS}

    mail = digests.render(digests.WEEKLY).message

    assert {hole.slot for hole in mail.fields} == set(Slot) - of_letters


def test_without_a_page_on_the_web_nothing_links_there(digests: SimpleNamespace) -> None:
    links = replace(digests.LINKS, view=None, unsubscribe_mailto=None)

    rendered = compiling.digest(
        digests.WEEKLY,
        brand=digests.BRAND,
        links=links,
        markers=digests.MARKERS,
        environment=environment.build(None, "en"),
        feedback_id=None,
    )

    assert "browser" not in rendered.html
    assert "browser" not in rendered.text
    assert b"mailto" not in rendered.message.dump()[0]
