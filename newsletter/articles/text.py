"""Cleans text of feeds, and normalises titles for comparison."""

from __future__ import annotations

import math
import re
import unicodedata

MAX_TITLE = 500
WORDS_PER_MINUTE = 225

# Directional overrides and isolates, and invisible characters: a title with them can look like
# another one. Directional marks and joiners are kept, because scripts and emoji need them.
_INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\u202a-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb]")
_DROPPED = {"Cc", "Cs"}
# Characters of scripts without spaces; each counts as half a word of reading time.
_DENSE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Stream-Safe Text Format (UAX 15): no script needs more combining marks on one letter, and
# normalising a longer run is quadratic.
_MAX_MARKS = 30


def clean(text: str) -> str:
    """Return one line of text: no control or invisible characters, single spaces."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", _stream_safe(" ".join(text.split()))))
    if not text.isprintable():
        text = text.translate(dict.fromkeys(filter(_is_dropped, map(ord, set(text)))))
    return " ".join(text.split())


def minutes(text: str) -> int:
    """Return the reading time, at least one minute."""
    dense = len(_DENSE.findall(text))
    words = len(_DENSE.sub(" ", text).split()) + dense / 2
    return max(1, math.ceil(words / WORDS_PER_MINUTE))


def title_key(title: str) -> str:
    """Return a title normalised for comparison, without case, punctuation and spacing."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(re.findall(r"\w+", folded)) or folded


def _is_dropped(code_point: int) -> bool:
    """Return whether a code point is a control, a surrogate, or a noncharacter (Unicode 23.7).

    Characters not yet assigned in Python's tables are kept.
    """
    is_noncharacter = 0xFDD0 <= code_point <= 0xFDEF or code_point & 0xFFFE == 0xFFFE
    return is_noncharacter or unicodedata.category(chr(code_point)) in _DROPPED


def _stream_safe(text: str) -> str:
    """Return a text with at most 30 combining marks on each letter."""
    if text.isascii() or not any(map(unicodedata.combining, set(text))):
        return text
    kept, marks = [], 0
    for mark in text:
        marks = marks + 1 if unicodedata.combining(mark) else 0
        if marks <= _MAX_MARKS:
            kept.append(mark)
    return "".join(kept)
