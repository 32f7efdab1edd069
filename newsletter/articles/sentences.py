"""The sentences of a text: the standfirst, and the boilerplate of blog engines at its end."""

from __future__ import annotations

import re

from newsletter.graphemes import shorten

#: Characters of a standfirst, approximately.
MAX_STANDFIRST = 300
_SENTENCE_END = re.compile(r"[.!?…।॥؟۔።։။។](?:[\"'”’»)\]]*)(?=\s)|[。！？](?:[」』）”’]*)")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|Sr|Jr|vs|No|Inc|Ltd|Co|Corp|Gen|Sen|Rep|Gov|"
    r"approx|etc|e\.g|i\.e|ca|cf|al|Fig|Nr|z\.B|bzw|(?:[A-Za-z]\.)+[A-Za-z])\.$"
)
# Boilerplate that blog engines append to a teaser.
_APPEARED = re.compile(r"\s*The post .{1,300} (?:appeared first on|first appeared on) .{1,200}$")
_ASKING = "|".join(
    (
        *(
            "read (?:the )?(?:full |whole |entire )?(?:more|on|story|article|post)",
            "more",
            "full story",
        ),
        *(
            "read (?:it )?(?:in full|the rest)",
            "(?:continue|keep) reading",
            "view (?:full )?(?:post|article)",
        ),
        *(
            "weiterlesen",
            "mehr lesen",
            "lesen sie (?:hier )?(?:mehr|weiter)",
            "(?:hier )?weiter lesen",
            "mehr",
        ),
        *(
            "lire (?:la suite|plus|l['’]article)",
            "en savoir plus",
            "(?:continuer|poursuivre) la lecture",
        ),
        *(
            "(?:leer|ver) más",
            "(?:seguir|sigue|continuar|continúa) leyendo",
            "leggi (?:tutto|di più|ancora)",
        ),
        *(
            "continua (?:a leggere|la lettura)",
            "(?:ler|leia|saiba) mais",
            "continu(?:e|ar) (?:lendo|a ler)",
        ),
        *(
            "lees (?:meer|verder)",
            "verder lezen",
            "läs mer?a?",
            "les mer?e?",
            "læs mere?",
            "lue lisää",
        ),
        *(
            "czytaj (?:dalej|więcej|całość)",
            "více",
            "číst (?:dál(?:e)?|více)",
            "čítať ďalej",
            "celý článek",
        ),
        *(
            "tovább(?: olvas\\w*)?",
            "olvass tovább",
            "citește (?:mai mult|mai departe)",
            "devamı(?:nı oku)?",
        ),
        *(
            "читать (?:далее|дальше|полностью|ещё)",
            "подробнее",
            "далее",
            "читати далі",
            "докладніше",
        ),
        *("διαβάστε (?:περισσότερα|τη συνέχεια)", "περισσότερα", "прочетете повече", "opširnije"),
        *("اقرأ المزيد", "المزيد", "(?:تابع|أكمل|متابعة) القراءة", "ادامه مطلب", "مزید پڑھیں"),
        *("קרא(?:ו)? (?:עוד|הכל)", "(?:ל)?המש(?:ך|יכו) (?:ל)?קר(?:יאה|וא)", "(?:और|आगे) पढ़ें"),
        *("อ่าน(?:ต่อ|เพิ่มเติม)", "đọc (?:tiếp|thêm)", "xem thêm", "(?:baca )?selengkapnya"),
        *(
            "続きを読む",
            "もっと(?:読む|見る)",
            "(?:阅读|閱讀)(?:全文|更多)",
            "(?:继续阅读|繼續閱讀)",
            "더 ?보기",
        ),
        *("계속 읽기", "자세히 보기"),
    )
)
_READ_ON = re.compile(
    rf"(?:^|(?<=[.!?…。！？।؟۔\])\"”»]))\s*[\[(]?(?:{_ASKING})"
    r"(?:\s?[:：]?\s?[“\"«„‘'].{1,200}[”\"»“’'])?(?:\s?[:：]?\s?https?://\S+)?[\s.…:»›→>⟶\])]*$",
    re.IGNORECASE,
)
#: Maximum characters at the end of a text that are searched for boilerplate.
_MAX_BOILERPLATE = 600
_CUT_OFF = re.compile(
    r"(?P<end>[.!?…。！？।؟۔])?[\s,;:–—-]*[\[(]\s?(?:…|\.\s?\.\s?\.)\s?[\])][\s.…»›→>]*$"
)


def standfirst(text: str, *, is_article: bool) -> str:
    """Return the teaser: the first sentences of a summary, or the first one of an article."""
    text = without_engine(text)
    if is_article:
        text = text[: next(iter(ends(text)), len(text))]
    if len(text) <= MAX_STANDFIRST:
        return text
    found = [end for end in ends(text[: MAX_STANDFIRST + 1]) if end <= MAX_STANDFIRST]
    if found and found[-1] >= MAX_STANDFIRST // 3:
        return text[: found[-1]]
    return shorten(text, MAX_STANDFIRST)


def without_engine(text: str) -> str:
    """Return a text without a blog engine's boilerplate at its end: "[…]", "Read more"."""
    head, tail = text[:-_MAX_BOILERPLATE], text[-_MAX_BOILERPLATE:]
    for pattern in (_APPEARED, _CUT_OFF, _READ_ON, _CUT_OFF):
        tail = pattern.sub(_end_of, tail)
    return head + tail


def ends(text: str) -> list[int]:
    """Return the positions of the ends of sentences; abbreviations and initials are no ends."""
    found = []
    for match in _SENTENCE_END.finditer(text):
        following = text[match.end() : match.end() + 2].strip()
        head = text[max(0, match.start() - 12) : match.start() + 1]
        if not _ABBREVIATED.search(head) and not following[:1].islower():
            found.append(match.end())
    return found


def _end_of(found: re.Match[str]) -> str:
    """Return the replacement of boilerplate: for "[…]" the end of the sentence, or an ellipsis."""
    if "end" not in found.re.groupindex:
        return ""
    return found["end"] or ("…" if found.start() else "")
