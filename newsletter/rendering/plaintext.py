"""The text part of a mail, written from its data: 72 columns and numbered links.

Columns are counted as a terminal shows them: East Asian letters take two, marks none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

COLUMNS = 72


class Notes:
    """The numbered links of one text: the same address has the same number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, url: str) -> int:
        """Return the number of `url`, giving it the next one the first time."""
        return self._numbers.setdefault(url, len(self._numbers) + 1)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield number and address, in order."""
        return ((number, url) for url, number in self._numbers.items())


def wrap(text: str, *, first: str = "", rest: str | None = None) -> str:
    """Break `text` into lines of 72 columns, opened by `first` and then by `rest`.

    A no-break space holds its words together and comes out as a common blank.
    """
    rest = " " * width(first) if rest is None else rest
    lines, line = [], first
    opening = first
    for word in _words(text, COLUMNS - max(width(first), width(rest))):
        if line == opening:
            line += word
        elif width(line) + 1 + width(word) <= COLUMNS:
            line += f" {word}"
        else:
            lines.append(line)
            opening = rest
            line = rest + word
    return "\n".join([*lines, line]).rstrip().replace("\u00a0", " ")


def rule() -> str:
    """Return a line across the page; of hyphens, which quoted-printable leaves alone."""
    return "-" * COLUMNS


def width(text: str) -> int:
    """Return the columns that `text` takes."""
    return sum(_columns(character) for character in text)


def tidy(text: str) -> str:
    """Return a rendered page without trailing blanks and without more than one empty line."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"


def _words(text: str, room: int) -> Iterator[str]:
    """Yield the words of `text`; one that is too long comes in pieces, unless it is a link."""
    for word in re.split(r"[ \t\r\n]+", text.strip(" \t\r\n")):
        if width(word) <= room or word.startswith(("http://", "https://")):
            yield word
        else:
            yield from _pieces(word, room)


def _pieces(word: str, room: int) -> Iterator[str]:
    piece = ""
    for character in word:
        if width(piece) + _columns(character) > room:
            yield piece
            piece = ""
        piece += character
    yield piece


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
