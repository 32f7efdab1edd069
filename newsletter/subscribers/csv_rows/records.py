"""A CSV reader that recovers from malformed lines.

A record that cannot be read is a `Rejection` with its line number and reason, and reading continues
with the next line. Memory is constant, whatever the input.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TextIO

from newsletter.errors import InvalidInput
from newsletter.subscribers.csv_rows import columns
from newsletter.subscribers.csv_rows.columns import Choice, Columns
from newsletter.subscribers.csv_rows.tools import Role

#: Maximum characters of a record, which may have several lines; a longer one is rejected.
MAXIMUM_LENGTH = 65_536
#: Maximum lines of a quoted cell; a longer one is read as a stray quotation mark.
MAXIMUM_LINES = 100
#: Characters that are read at once.
_BLOCK = 65_536
#: Maximum characters that are kept of a line that cannot be split into cells.
_SHOWN = 300
_DELIMITERS = (",", ";", "\t")
#: A delimiter that is detected only in a header, because addresses may contain it.
_BAR = "|"
#: An optional first line with the delimiter, as Excel writes it.
_SEPARATOR = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*', re.IGNORECASE)


class Record(NamedTuple):
    """One record with its cells unchanged."""

    line: int
    cells: list[str]


#: Makes a record from a pair, in half the time of calling the class.
_record: Callable[[tuple[int, list[str]]], Record] = partial(tuple.__new__, Record)


class Rejection(NamedTuple):
    """One record that cannot be used."""

    line: int
    reason: str
    #: The cells unchanged, as far as they can be separated.
    cells: list[str]


class RecordReader:
    """Reads a stream once, from its beginning.

    Raises InvalidInput only if the first line cannot be one of a list of subscribers.
    """

    def __init__(self, stream: TextIO, choice: Choice) -> None:
        self._lines = _Lines(stream)
        #: The columns; None if the stream has no record at all.
        self.columns = self._begin(choice)

    def blocks(self, columns: Columns) -> Iterator[list[Record | Rejection]]:
        """Yield the records, in order, in lists of some hundreds."""
        while True:
            if not self._lines.returned:
                number, lines = self._lines.block()
                if not lines:
                    return
                plain = _plain(number, lines, columns.delimiter)
                if plain is not None:
                    yield plain
                    continue
                self._lines.give_back(_numbered(number, lines))
            yield list(self._returned(columns))

    def _returned(self, columns: Columns) -> Iterator[Record | Rejection]:
        """Read the lines that were pushed back, and any that continue the last record."""
        whole = _whole(columns)
        while self._lines.returned and (line := self._lines.take()) is not None:
            if line.flaw:
                yield _flawed(line, columns.delimiter)
            else:
                found = self._quoted(line, columns.delimiter, whole)
                if isinstance(found, Rejection) or any(cell.strip() for cell in found.cells):
                    yield found

    def _begin(self, choice: Choice) -> Columns | None:
        """Detect the delimiter and the columns by the first line that is not blank."""
        delimiters: tuple[str, ...] = _DELIMITERS
        while (line := self._lines.take()) is not None:
            if line.flaw:
                raise InvalidInput(
                    f"What the columns are cannot be told from line {line.number}. {line.flaw}",
                    hint="Begin the file with a line that names the columns.",
                )
            if said := _SEPARATOR.fullmatch(line.text.strip(" ")):
                delimiters = (said[1],)
                continue
            if line.text.strip():
                return self._header(line, delimiters, choice)
        return None

    def _header(self, line: _TextLine, delimiters: tuple[str, ...], choice: Choice) -> Columns:
        """Read a header, whose quoted names may have several lines, or the first record."""
        taken: list[_TextLine] = []
        text = line.text
        while len(taken) < MAXIMUM_LINES and any(_is_open(text, one) for one in delimiters):
            following = self._lines.take()
            if following is None:
                break
            taken.append(following)
            text = f"{text}\n{following.text}"[:MAXIMUM_LENGTH]
        found = _columns(text, delimiters, choice) if taken else None
        if found is not None and found.has_header:
            return found
        self._lines.give_back(taken)
        found = _columns(line.text, delimiters, choice)
        if not found.has_header:
            self._lines.give_back([line])
        return found

    def _quoted(self, line: _TextLine, delimiter: str, whole: list[int]) -> Record | Rejection:
        """Read the record that begins with this line."""
        cells = _cells(line.text, delimiter)
        if cells is None:
            cells = self._cells_of_lines(line, delimiter, whole)
        if cells is None:
            cells = _escaped(line.text, delimiter)
        if cells is None:
            bare = line.text[:MAXIMUM_LENGTH].split(delimiter)
            return Rejection(line.number, "The quotation marks do not pair.", bare)
        return Record(line.number, cells)

    def _cells_of_lines(
        self, line: _TextLine, delimiter: str, whole: list[int]
    ) -> list[str] | None:
        """Read a record with a quoted cell of several lines.

        If that fails, the quotation mark is a stray one, and the other lines are pushed back.
        """
        text = line.text
        taken: list[_TextLine] = []
        if not _is_open(text, delimiter):
            return None
        while len(taken) < MAXIMUM_LINES and len(text) < MAXIMUM_LENGTH:
            following = self._lines.take()
            if following is None:
                break
            taken.append(following)
            if following.flaw:
                break
            text = f"{text}\n{following.text}"
            if '"' not in following.text:
                continue
            cells = _cells(text, delimiter)
            if cells is not None:
                if not any("\n" in cells[index] for index in whole if index < len(cells)):
                    return cells
                break
        self._lines.give_back(taken)
        return None


class _TextLine(NamedTuple):
    number: int
    text: str
    flaw: str | None


@dataclass
class _Lines:
    """The numbered lines of a stream; lines can be pushed back."""

    _stream: TextIO
    returned: deque[_TextLine] = field(default_factory=deque)
    _number: int = 0

    def take(self) -> _TextLine | None:
        if self.returned:
            return self.returned.popleft()
        text = self._rest()
        if not text:
            return None
        self._number += 1
        return _line(self._number, text.rstrip("\n"))

    def block(self) -> tuple[int, list[str]]:
        """Return the number of the next line, and some lines without line ends; [] at the end."""
        text = self._stream.read(_BLOCK)
        if text and not text.endswith("\n"):
            text += self._rest()
        lines = text.removesuffix("\n").split("\n") if text else []
        first = self._number + 1
        self._number += len(lines)
        return first, lines

    def give_back(self, lines: list[_TextLine]) -> None:
        self.returned.extendleft(reversed(lines))

    def _rest(self) -> str:
        """Read to the end of a line; a line that is too long is cut to MAXIMUM_LENGTH + 1."""
        text = self._stream.readline(MAXIMUM_LENGTH + 1)
        if len(text) > MAXIMUM_LENGTH and not text.endswith("\n"):
            while (more := self._stream.readline(MAXIMUM_LENGTH)) and not more.endswith("\n"):
                pass
        return text


def _line(number: int, text: str) -> _TextLine:
    flaw = None
    if len(text) > MAXIMUM_LENGTH:
        flaw = f"The line has more than {MAXIMUM_LENGTH:,} characters."
    elif "\0" in text:
        flaw = "The line has a NUL character in it."
    return _TextLine(number, text, flaw)


def _numbered(first: int, lines: list[str]) -> list[_TextLine]:
    return [_line(number, text) for number, text in enumerate(lines, first)]


def _plain(first: int, lines: list[str], delimiter: str) -> list[Record | Rejection] | None:
    """Read lines on the fast path; None if any of them may not be exactly one record."""
    if max(map(len, lines)) > MAXIMUM_LENGTH or "\0" in "".join(lines):
        return None
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    # If there are fewer rows than lines, a quoted cell has several lines.
    if len(rows) != len(lines):
        return None
    return [
        _record((n, row))
        for n, row in enumerate(rows, first)
        if row and (row[0].strip() or any(map(str.strip, row)))
    ]


def _columns(text: str, delimiters: tuple[str, ...], choice: Choice) -> Columns:
    rows = [(delimiter, _cells(text, delimiter) or [text]) for delimiter in delimiters]
    for delimiter, cells in (*rows, (_BAR, _cells(text, _BAR) or [text])):
        named = columns.of_header(delimiter, cells, choice)
        if named is not None:
            return named
    return columns.of_first_row(*max(rows, key=lambda row: len(row[1])), choice)


def _whole(columns: Columns) -> list[int]:
    """Return the indexes of the columns whose cells never have several lines."""
    roles = {Role.ADDRESS, Role.CADENCE, Role.PAUSED_UNTIL}
    return [c.index for c in columns.all if c.role in roles or c.meaning is not None]


def _cells(text: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _is_open(text: str, delimiter: str) -> bool:
    """Return whether a line ends within a quoted cell."""
    try:
        next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as exc:
        return "end of data" in str(exc)
    return False


def _escaped(text: str, delimiter: str) -> list[str] | None:
    r"""Read a line with \" for a quotation mark in a cell, as MailPoet writes it."""
    if '\\"' not in text:
        return None
    try:
        return next(
            csv.reader([text], delimiter=delimiter, strict=True, escapechar="\\", doublequote=False)
        )
    except csv.Error:
        return None


def _flawed(line: _TextLine, delimiter: str) -> Rejection:
    assert line.flaw is not None
    return Rejection(line.number, line.flaw, line.text[:_SHOWN].replace("\0", "?").split(delimiter))
