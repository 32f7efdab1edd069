"""Plain text that is fit for a subject, a headline or a teaser, from whatever a feed holds."""

from __future__ import annotations

import math
import re
import unicodedata

MAX_TITLE = 500
#: A standfirst is at most about this long.
MAX_STANDFIRST = 300
WORDS_PER_MINUTE = 225

# Overrides and isolates of direction, and characters that nobody sees: a title with them can look
# like another one. The plain marks of direction and the joiners stay; scripts and emoji need them.
_INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb]")
_DROPPED = {"Cc", "Cs", "Cn"}
# Written without spaces; a character counts for about as much reading as half a word.
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_SENTENCE_END = re.compile(r"[.!?…](?:[\"'”’»)\]]*)(?=\s)|[。！？](?:[」』）]*)")
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|Dr|Mr|Mrs|Ms|Prof|St|Sr|Jr|vs|No|Inc|Ltd|Co|Corp|Gen|Sen|Rep|Gov|"
    r"approx|etc|e\.g|i\.e|ca|cf|al|Fig|Nr|z\.B|bzw|(?:[A-Za-z]\.)+[A-Za-z])\.$"
)
# What blog engines put under every teaser.
_BOILERPLATE = (
    re.compile(r"\s*The post .{1,300} (?:appeared first on|first appeared on) .{1,200}$"),
    re.compile(r"\s*(?:Continue reading|Read more|Weiterlesen|Lire la suite)\b.{0,200}$"),
)
#: Boilerplate stands at the end, and is no longer than this.
_MAX_BOILERPLATE = 600
# Unicode's stream-safe format (UAX 15): no script needs more marks on one letter, and putting a
# longer run of them into order takes time that grows with its square.
_MAX_MARKS = 30
_MORE = re.compile(r"(?P<end>[.!?…])?\s*[\[(](?:…|\.\.\.)[\])]\s*$")


def clean(text: str) -> str:
    """Return one line of readable text: no control, no hidden character, single spaces."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", _stream_safe(" ".join(text.split()))))
    if not text.isprintable():
        dropped = {mark for mark in set(text) if unicodedata.category(mark) in _DROPPED}
        text = text.translate(dict.fromkeys(map(ord, dropped)))
    return " ".join(text.split())


def shorten(text: str, limit: int) -> str:
    """Cut at a word's end, with an ellipsis, if the text is longer than the limit."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    at = head.rfind(" ")
    # A script without spaces, or one endless word, is cut where it is.
    head = head[:at] if at > limit // 2 else head
    return head.rstrip(" ,;:.–—-") + "…"


def standfirst(text: str, *, is_article: bool) -> str:
    """Return the teaser: a summary's first sentences, an article's first one, never more."""
    head, tail = text[:-_MAX_BOILERPLATE], text[-_MAX_BOILERPLATE:]
    for pattern in _BOILERPLATE:
        tail = pattern.sub("", tail)
    text = head + _MORE.sub(lambda more: more["end"] or "…", tail)
    if is_article:
        text = text[: _first_end(text)]
    if len(text) <= MAX_STANDFIRST:
        return text
    ends = [end for end in _ends(text[: MAX_STANDFIRST + 1]) if end <= MAX_STANDFIRST]
    if ends and ends[-1] >= MAX_STANDFIRST // 3:
        return text[: ends[-1]]
    return shorten(text, MAX_STANDFIRST)


def minutes(text: str) -> int:
    """Return the reading time, at least one minute."""
    dense = len(_DENSE.findall(text))
    words = len(_DENSE.sub(" ", text).split()) + dense / 2
    return max(1, math.ceil(words / WORDS_PER_MINUTE))


def title_key(title: str) -> str:
    """Return what is left of a title when case, punctuation and spacing do not count."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(re.findall(r"\w+", folded)) or folded


def _stream_safe(text: str) -> str:
    """Return a text of which no letter bears more marks than the first thirty."""
    if text.isascii() or not any(map(unicodedata.combining, set(text))):
        return text
    kept, marks = [], 0
    for mark in text:
        marks = marks + 1 if unicodedata.combining(mark) else 0
        if marks <= _MAX_MARKS:
            kept.append(mark)
    return "".join(kept)


def _first_end(text: str) -> int:
    return next(iter(_ends(text)), len(text))


def _ends(text: str) -> list[int]:
    """Return where sentences end, abbreviations and initials left aside."""
    found = []
    for match in _SENTENCE_END.finditer(text):
        following = text[match.end() : match.end() + 2].strip()
        head = text[max(0, match.start() - 12) : match.start() + 1]
        if not _ABBREVIATED.search(head) and not following[:1].islower():
            found.append(match.end())
    return found
