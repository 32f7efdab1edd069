"""Cuts and measures text by grapheme clusters (UAX 29): what a reader sees as one letter."""

from __future__ import annotations

from collections.abc import Iterator

#: The longest meaningful letter, in code points: a family with its skin tones, a subdivision's
#: flag, an Indic conjunct with its marks.
_LONGEST = 40


def clusters(text: str) -> Iterator[str]:
    """Give the letters of a text, each with its marks, joiners and modifiers."""
    if text.isascii() and "\r" not in text:
        return iter(text)
    # Its tables of Unicode take long to import, and much text is ASCII.
    import wcwidth  # noqa: PLC0415

    return wcwidth.iter_graphemes(text)


def columns(text: str) -> int:
    """Return the columns that a text takes on a terminal; what is a control takes none."""
    if text.isascii() and text.isprintable():
        return len(text)
    import wcwidth  # noqa: PLC0415 - as above

    return wcwidth.width(text, control_codes="ignore")


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` code points, cut at a word's end, else behind a letter."""
    if len(text) <= limit:
        return text
    end = _boundary(text, limit - 1)
    head = text[:end]
    if not text[end].isspace():
        at = head.rfind(" ")
        # Text without spaces, or one very long word, is cut at the limit.
        head = head[:at] if at > limit // 2 else head
    return head.rstrip(" ,;:.–—-") + "…"


def _boundary(text: str, limit: int) -> int:
    """Return where the last whole letter within `limit` ends; a single longer letter is cut."""
    end = 0
    # One letter more than fits: only then is it known where the last one that fits ends.
    for letter in clusters(text[: limit + _LONGEST]):
        if end + len(letter) > limit:
            break
        end += len(letter)
    return end or limit
