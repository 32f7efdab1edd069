"""Table cells that wrap between grapheme clusters: rich would split flags and conjuncts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.containers import Lines
from rich.text import Text

from newsletter.graphemes import clusters


class Cell(Text):
    """Plain text on one line."""

    def wrap(
        self,
        console: Console,  # noqa: ARG002 - as rich calls it
        width: int,
        *,
        justify: JustifyMethod | None = None,  # noqa: ARG002
        overflow: OverflowMethod | None = None,  # noqa: ARG002
        tab_size: int = 8,  # noqa: ARG002
        no_wrap: bool | None = None,  # noqa: ARG002
    ) -> Lines:
        """Return the lines of the text, each at most `width` terminal columns wide."""
        return Lines(Text(line) for line in fold(self.plain, width))


def fold(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a text: broken between words, and within one longer than a line."""
    line, taken = "", 0
    for piece in _pieces(text, width):
        size = cell_len(piece.rstrip(" "))
        if line and taken + size > width:
            yield line.rstrip(" ")
            line, taken = "", 0
        line += piece
        taken += cell_len(piece)
    yield line.rstrip(" ")


def _pieces(text: str, width: int) -> Iterator[str]:
    """Yield words with their trailing blanks; a word that is too long is split into letters."""
    for word in re.findall(r"\S+\s*|\s+", text):
        if cell_len(word.rstrip()) <= width:
            yield word
        else:
            yield from clusters(word)
