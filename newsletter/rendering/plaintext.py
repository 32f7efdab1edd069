"""The text part of a mail: lines of 72 columns, and numbered links.

Columns are counted as on a terminal: East Asian characters take two, combining marks none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.graphemes import clusters, columns

COLUMNS = 72


class Notes:
    """The numbered links of one text: the same address has the same number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, url: str) -> int:
        """Return the number of `url`; a new URL gets the next number."""
        return self._numbers.setdefault(url, len(self._numbers) + 1)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Yield number and address, in order."""
        return ((number, url) for url, number in self._numbers.items())


def wrap(text: str, *, first: str = "", rest: str | None = None) -> str:
    """Break `text` into lines of 72 columns; the first begins with `first`, others with `rest`.

    Lines are not broken at a no-break space, which is written as an ordinary blank.
    """
    rest = " " * columns(first) if rest is None else rest
    lines, line = [], first
    opening = first
    for word in _words(text, COLUMNS - max(columns(first), columns(rest))):
        if line == opening:
            line += word
        elif columns(line) + 1 + columns(word) <= COLUMNS:
            line += f" {word}"
        else:
            lines.append(line)
            opening = rest
            line = rest + word
    return "\n".join([*lines, line]).rstrip().replace("\u00a0", " ")


def rule() -> str:
    """Return a horizontal line of hyphens, which quoted-printable does not encode."""
    return "-" * COLUMNS


def tidy(text: str) -> str:
    """Return a rendered page without trailing blanks and without more than one empty line."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"


def _words(text: str, room: int) -> Iterator[str]:
    """Yield the words of `text`; a word that is too long is divided, unless it is a link."""
    for word in re.split(r"[ \t\r\n]+", text.strip(" \t\r\n")):
        if columns(word) <= room or word.startswith(("http://", "https://")):
            yield word
        else:
            yield from _pieces(word, room)


def _pieces(word: str, room: int) -> Iterator[str]:
    """Yield a word in pieces of at most `room` columns, divided between letters."""
    piece, taken = "", 0
    for letter in clusters(word):
        size = columns(letter)
        if piece and taken + size > room:
            yield piece
            piece, taken = "", 0
        piece += letter
        taken += size
    yield piece
