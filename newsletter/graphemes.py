"""Cuts and measures text by grapheme clusters (UAX 29), which readers see as letters."""

from __future__ import annotations

from collections.abc import Iterator

#: Code points of the longest cluster in practice, such as a family emoji with skin tones, the flag
#: of a region, or an Indic conjunct with its marks.
_LONGEST = 40


def clusters(text: str) -> Iterator[str]:
    """Return the grapheme clusters of a text: letters with their marks, joiners and modifiers."""
    if text.isascii() and "\r" not in text:
        return iter(text)
    # Imported late: its Unicode tables take long to load, and much text is ASCII.
    import wcwidth  # noqa: PLC0415

    return wcwidth.iter_graphemes(text)


def columns(text: str) -> int:
    """Return the number of columns of a text on a terminal; control characters have none."""
    if text.isascii() and text.isprintable():
        return len(text)
    import wcwidth  # noqa: PLC0415 - as above

    return wcwidth.width(text, control_codes="ignore")


def shorten(text: str, limit: int) -> str:
    """Return a text of at most `limit` code points, cut after a word or else after a letter."""
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
    """Return the end of the last whole letter within `limit`; a single longer letter is cut."""
    end = 0
    # One letter more than fits is read, because only the next letter shows where one ends.
    for letter in clusters(text[: limit + _LONGEST]):
        if end + len(letter) > limit:
            break
        end += len(letter)
    return end or limit
