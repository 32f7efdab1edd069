"""The first pass over a file: checks that every state in it is understood.

An unknown column that looks like a state, and an unknown cell in a state column, stop the import
before anything is written. A false alarm costs the operator an option; a state that is not
understood would mail somebody who has unsubscribed.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import BinaryIO, cast

from newsletter.errors import InvalidInput
from newsletter.subscribers.csv_rows import cells, encoding, names, states
from newsletter.subscribers.csv_rows.columns import (
    CADENCES,
    Choice,
    Column,
    Columns,
    at_least,
    is_open,
    is_other_header,
)
from newsletter.subscribers.csv_rows.encoding import Encoding
from newsletter.subscribers.csv_rows.records import Record, RecordReader
from newsletter.subscribers.csv_rows.states import Meaning, Standing
from newsletter.subscribers.csv_rows.tools import Role

#: Maximum number of different cells in a state column.
_DIFFERENT = 100
#: Maximum number of different cells of a free text column in which words of a state count.
_FEW = 30
_SHOWN = 5
_NAMED = 10
#: Maximum characters of a cell that is searched for words of a state.
_LONGEST = 100
#: Maximum characters of a word of a state.
_WORD = 30
_DIGITS = frozenset("0123456789")
#: An enhanced status code (RFC 3463): `5.1.1`, `550 5.1.1 No such user`.
_CODE = re.compile(r"(?:[45]\d\d[ -])?[45]\.[0-7]\.\d{1,3}(?:\s|$)")
_DIGIT = re.compile(r"\d")


#: The cells of a record, with None for missing cells at the end.
_Row = Sequence[str | None]


@dataclass(frozen=True)
class Survey:
    """The result of the first pass over a file."""

    choice: Choice
    encoding: Encoding
    #: The columns; None if there is no record.
    columns: Columns | None = None
    #: The number of well-formed records.
    records: int = 0


def survey(stream: BinaryIO, choice: Choice | None = None) -> Survey:
    """Survey a seekable stream in constant memory: first its octets, and then its records.

    Raises InvalidInput if there is no column of addresses, a state is not understood, or a choice
    fits no column.
    """
    choice = choice or Choice()
    start = stream.tell()
    found = encoding.find(stream)
    stream.seek(start)
    text = encoding.decode(stream, found)
    try:
        reader = RecordReader(text, choice)
        if reader.columns is None:
            return Survey(choice, found)
        return _of_records(reader, reader.columns, Survey(choice, found))
    finally:
        text.detach()


def columns(stream: BinaryIO) -> tuple[Column, ...]:
    """Return the columns of a seekable stream by their header alone; raises InvalidInput."""
    start = stream.tell()
    found = encoding.find(stream)
    stream.seek(start)
    text = encoding.decode(stream, found)
    try:
        read = RecordReader(text, Choice()).columns
    finally:
        text.detach()
    return read.all if read else ()


def _of_records(reader: RecordReader, columns: Columns, begun: Survey) -> Survey:
    watched = [
        _Watched(column, is_followed=_is_followed(column, columns))
        for column in columns.all
        if column.role not in {Role.ADDRESS, Role.IGNORED} and column.meaning is None
    ]
    known = [_Watched(column) for column in columns.states]
    count = _count_cells(reader, columns, watched, known)
    meanings, unknown = _classified(columns, watched)
    _check(unknown, [one for one in known if one.unknown])
    return replace(begun, columns=columns.with_states(meanings), records=count)


@dataclass
class _Watched:
    """A column whose distinct cells are counted, up to a limited number of them."""

    column: Column
    #: Whether words of a state are still counted after there are too many different cells.
    is_followed: bool = False
    #: The count of each cell; None once there are too many different ones to be states.
    seen: Counter[str] | None = field(default_factory=Counter)
    #: The count of cells that are words of a state, in a column with too many different cells.
    telling: Counter[str] = field(default_factory=Counter)
    #: The count of unknown cells of a state column.
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def index(self) -> int:
        return self.column.index

    @property
    def words(self) -> set[str]:
        """The different cells, normalised, without empty ones."""
        return {word for cell in self.seen or () if (word := cells.bare(cell))}


def _count_cells(
    reader: RecordReader, columns: Columns, watched: list[_Watched], known: list[_Watched]
) -> int:
    count = 0
    for rows in _blocks(reader, columns):
        count += len(rows)
        # Columns that can no longer be a state are not counted any more.
        watched = [one for one in watched if one.seen is not None or one.is_followed]
        cells_of = list(zip(*rows, strict=True))
        for one in watched if rows else ():
            _count(one, cells_of[one.index])
        for one in known:
            _count_unknown(one, rows, columns)
    return count


def _blocks(reader: RecordReader, columns: Columns) -> Iterator[list[_Row]]:
    """Yield the cells of the records that are well-formed."""
    width = len(columns.all)
    blank = [None] * width
    address = _address(columns)
    for records in reader.blocks(columns):
        rows: list[_Row] = []
        for record in records:
            if not isinstance(record, Record):
                continue
            row = record.cells
            if address >= len(row) or "@" not in row[address]:
                _check_header(record, columns)
            # Rows with too many cells are left out, since the column of each cell is unknown.
            if len(row) <= width or not any(cell.strip() for cell in row[width:]):
                rows.append(row if len(row) == width else [*row, *blank][:width])
        yield rows


def _address(columns: Columns) -> int:
    column = columns.of(Role.ADDRESS)
    assert column is not None
    return column.index


def _check_header(record: Record, columns: Columns) -> None:
    """Raise InvalidInput if a second table begins here, or the first line was only a title."""
    if is_other_header(record.cells, columns):
        named = ", ".join(f"{cell[:40]!a}" for cell in record.cells[:_NAMED])
        raise InvalidInput(
            f"Line {record.line} names other columns than the first line of the file: {named}. "
            "Nothing was imported.",
            hint="Remove the lines above the names of the columns, and import each table as a "
            "file of its own.",
        )


def _count(one: _Watched, column: Sequence[str | None]) -> None:
    """Count the cells of a block; after too many different ones, only words of a state."""
    if one.seen is not None:
        # A Counter is faster than a loop over cells.
        counted = Counter(column)
        del counted[None]
        one.seen.update(cast(Counter[str], counted))
        if len(one.seen) <= _DIFFERENT:
            return
        column, one.seen = list(one.seen.elements()), None
    if one.is_followed:
        # Cheap tests come first: most cells are numbers or dates, or are no words of a state.
        short = [cell for cell in set(column) if cell and len(cell) <= _LONGEST]
        words = [cell for cell in short if cell[0] not in _DIGITS]
        if any(map(_is_telling, set(_listed_words("|".join(words))))):
            told = filter(_has_state_word, words)
            one.telling.update({cell: column.count(cell) for cell in told})


def _count_unknown(one: _Watched, rows: list[_Row], columns: Columns) -> None:
    """Count the unknown cells of a state column, in rows that have a valid address."""
    different = {cell for row in rows if (cell := row[one.index]) is not None}
    assert one.column.meaning is not None
    different -= one.column.meaning.of_dates(different).keys()
    unknown = {cell for cell in different if one.column.standing(cell) is None}
    if not unknown:
        return
    address = _address(columns)
    for row in rows:
        cell = row[one.index]
        if cell in unknown and (cell in one.unknown or len(one.unknown) < _DIFFERENT):
            with suppress(InvalidInput):
                cells.address(row[address] or "", is_guess=False)
                one.unknown[cell] += 1


def _classified(
    columns: Columns, watched: list[_Watched]
) -> tuple[dict[int, Meaning], list[_Watched]]:
    """Return the meanings of columns whose cells are states, and columns that may be states."""
    meanings: dict[int, Meaning] = {}
    unknown = []
    for one in watched:
        found = _meaning(one, columns)
        if found is not None:
            meanings[one.index] = found
        elif _looks_like_state(one, columns):
            unknown.append(one)
    return meanings, unknown


def _meaning(one: _Watched, columns: Columns) -> Meaning | None:
    """Return the meaning of a column without a name whose cells are all words of a state."""
    is_nameless = not columns.has_header or cells.key(one.column.name) == "state"
    if not is_nameless or not one.words or one.words & CADENCES:
        return None
    meaning = states.word()
    return meaning if all(meaning.standing(cell) is not None for cell in one.words) else None


def _looks_like_state(one: _Watched, columns: Columns) -> bool:
    words = one.words
    if one.column.role is Role.CADENCE:
        return bool(words & states.TELLING) and not words & CADENCES
    name = cells.key(one.column.name)
    if _has_state_words(one, columns, name):
        return True
    if not is_open(one.column, columns.tool):
        return False
    if not names.sounds_like_state(name) and not _says_yes(words, name, columns):
        return False
    if one.seen is not None and names.sounds_bad(name) and words <= states.NO | cells.NOTHING:
        # For example a count of bounces that is 0 in each row.
        return False
    # A column `state` may be that of a postal address.
    return one.seen is None or bool({word.replace(" ", "-") for word in words} - _regions(name))


def _says_yes(words: set[str], name: str, columns: Columns) -> bool:
    """Return whether a column has only yes and no, and its name may be that of a state.

    Without a header the name is unknown, so any column of yes and no may be a state.
    """
    is_plain = bool(words) and words <= states.YES | states.NO | states.WORDS.keys()
    return is_plain and (names.may_be_state(name) or not columns.has_header)


def _regions(name: str) -> frozenset[str]:
    return names.REGIONS if name == "state" else frozenset()


def _has_state_words(one: _Watched, columns: Columns, name: str) -> bool:
    """Return whether a column that is not read has words of a state in it."""
    if not _is_unread(one.column, columns):
        return False
    if names.is_free_text(name):
        # Names of people and towns may be such words, and notes may contain them.
        return len(one.words) <= _FEW and any(map(_is_telling, one.words))
    return bool(one.telling) or any(map(_has_state_word, one.seen or ()))


def _is_followed(column: Column, columns: Columns) -> bool:
    name = cells.key(column.name)
    return _is_unread(column, columns) and not names.is_free_text(name)


def _is_unread(column: Column, columns: Columns) -> bool:
    """Return whether a column is not read, in a file with subscribers who may be mailed."""
    return column.role is None and at_least(columns.tool) < Standing.UNSUBSCRIBED


def _has_state_word(cell: str) -> bool:
    """Return whether a cell is a word of a state, or a list that contains one."""
    if len(cell) > _LONGEST:
        return False
    if not cell.isalnum() and ("," in cell or ";" in cell or "|" in cell or ": " in cell):
        return any(map(_is_telling, _listed_words(cell)))
    return len(cell) < _WORD and _is_telling(cell)


def _listed_words(cells: str) -> list[str]:
    # An expression takes eight times as long.
    return cells.replace(",", "|").replace(";", "|").replace(": ", "|").split("|")


def _is_telling(word: str) -> bool:
    if word.isascii():
        # Fast path for most cells; no word of a state has a digit in it.
        if word.isalnum():
            return word.lower() in states.TELLING
        if _DIGIT.search(word):
            return "." in word and _CODE.match(word.strip()) is not None
    return _is_phrase_telling(word)


@lru_cache(maxsize=4_096)
def _is_phrase_telling(phrase: str) -> bool:
    bare = cells.bare(phrase)
    if bare in states.TELLING or _CODE.match(bare):
        return True
    return not bare.isalnum() and not _DIGIT.search(bare) and cells.key(bare) in states.TELLING


def _check(unknown: list[_Watched], unread: list[_Watched]) -> None:
    """Raise InvalidInput for unknown cells of state columns, or unknown columns."""
    if unread:
        one = unread[0]
        raise InvalidInput(
            f"In the column {one.column.name!r}, which says a reader's state, "
            f"{_listed(one.unknown)} {'is' if len(one.unknown) == 1 else 'are'} not known. "
            "Nothing was imported.",
            hint="Write states that are known (active, paused, pending, unsubscribed, bounced, "
            "complained, blocked) there, name another column with --column status=NAME, or leave "
            f"the column out with --ignore-column {_quoted(one.column.name)}.",
        )
    if unknown:
        named = "; ".join(f"{one.column.name!r} ({_cells_of(one)})" for one in unknown[:_NAMED])
        named += f"; and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        first = _quoted(unknown[0].column.name)
        columns = "This column looks" if len(unknown) == 1 else "These columns look"
        raise InvalidInput(
            f"{columns} like the state of a reader and nobody knows which: {named}. "
            "Nothing was imported.",
            hint=f"Say what it is with --column status={first}, or, if it says yes and no, with "
            f"--column unsubscribed={first} (or bounced, complained, blocked, subscribed, "
            f"confirmed, active); leave it out with --ignore-column {first}.",
        )


def _cells_of(one: _Watched) -> str:
    if one.seen is None:
        return _listed(one.telling) + " and others" if one.telling else "many different cells"
    found = {cell: count for cell, count in one.seen.items() if _has_state_word(cell)}
    # If there are many different cells, only the words of a state are shown.
    return _listed(found) + " and others" if found and len(one.seen) > _SHOWN else _listed(one.seen)


def _listed(seen: dict[str, int]) -> str:
    """Return the most frequent cells with their counts, in ASCII."""
    often = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    shown = ", ".join(f"{cell[:40]!a} ({count:,})" for cell, count in often)
    more = len(seen) - len(often)
    return f"{shown} and {more} more" if more else shown


def _quoted(name: str) -> str:
    """Return a column's name quoted for a shell."""
    return shlex.quote(name)
