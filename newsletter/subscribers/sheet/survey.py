"""The first look at a whole sheet: is every state in it understood?

A column that looks like a state and is not known, and a cell of a state's column that is no state
we know, stop the import before anything is written. False alarms cost a flag; a state that nobody
understood would have somebody mailed who left.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from newsletter.cadence import Cadence
from newsletter.errors import InvalidInput
from newsletter.subscribers.sheet import cells, encoding, names, states
from newsletter.subscribers.sheet.columns import Choice, Column, Columns, is_open
from newsletter.subscribers.sheet.encoding import Encoding
from newsletter.subscribers.sheet.records import Record, Sheet
from newsletter.subscribers.sheet.states import Meaning
from newsletter.subscribers.sheet.tools import Role

#: Of one column. What has more different cells than that is no state.
_DIFFERENT = 100
#: A word that gives a column away counts only among so few.
_FEW = 30
_SHOWN = 5
_NAMED = 10
#: What is kept of a cell to be counted.
_LONGEST = 100
_CADENCES = frozenset(cadence.value for cadence in Cadence)


@dataclass(frozen=True)
class Survey:
    """What a sheet is, as far as one can tell before its readers are taken over."""

    choice: Choice
    encoding: Encoding
    #: None where there is not a single record.
    columns: Columns | None = None
    #: How many records look readable.
    records: int = 0


def survey(stream: BinaryIO, choice: Choice | None = None) -> Survey:
    """Read a whole sheet twice, first its octets and then its records; memory stays constant.

    The stream must be one that can go back; it is left where it ends. Raises InvalidInput for what
    stops an import: no column of an address, a state that is not understood, a choice that fits
    no column.
    """
    choice = choice or Choice()
    start = stream.tell()
    found = encoding.find(stream)
    stream.seek(start)
    text = encoding.decode(stream, found)
    try:
        sheet = Sheet(text, choice)
        if sheet.columns is None:
            return Survey(choice, found)
        return _of_records(sheet, sheet.columns, Survey(choice, found))
    finally:
        text.detach()


def _of_records(sheet: Sheet, columns: Columns, begun: Survey) -> Survey:
    watched = [
        _Watched(column)
        for column in columns.all
        if column.role not in {Role.ADDRESS, Role.IGNORED} and column.meaning is None
    ]
    known = [_Watched(column) for column in columns.states]
    count = _look(sheet, columns, watched, known)
    meanings, unknown = _judged(columns, watched)
    _stop(unknown, [one for one in known if one.unknown])
    return replace(begun, columns=columns.with_states(meanings), records=count)


@dataclass
class _Watched:
    """A column whose different cells are counted, while there are few."""

    column: Column
    #: How often each cell came; None once there are too many to be states.
    seen: dict[str, int] | None = field(default_factory=dict)
    #: Cells of a state's column that are no state.
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def index(self) -> int:
        return self.column.index

    @property
    def words(self) -> set[str]:
        """The different cells in one spelling, but for empty ones."""
        return {word for cell in self.seen or () if (word := cell.strip().casefold())}


def _look(sheet: Sheet, columns: Columns, watched: list[_Watched], known: list[_Watched]) -> int:
    count = 0
    width = len(columns.all)
    address = columns.of(Role.ADDRESS)
    counted = list(watched)
    for record in sheet.records(columns):
        if not isinstance(record, Record):
            continue
        count += 1
        row = record.cells
        if len(row) != width and not _fits(row, width):
            # It will be rejected: what stands under which column is anybody's guess.
            continue
        for one in counted:
            if one.index < len(row) and not _count(one, row[one.index]):
                counted = [other for other in counted if other is not one]
        for one in known:
            if one.index < len(row) and one.column.standing(row[one.index]) is None:
                _doubt(one, row, address)
    return count


def _fits(row: list[str], width: int) -> bool:
    return len(row) < width or not any(cell.strip() for cell in row[width:])


def _count(one: _Watched, cell: str) -> bool:
    """Count a cell; return False once its column has too many different ones."""
    seen = one.seen
    cell = cell[:_LONGEST]
    assert seen is not None
    if cell in seen:
        seen[cell] += 1
    elif len(seen) < _DIFFERENT:
        seen[cell] = 1
    else:
        one.seen = None
        return False
    return True


def _doubt(one: _Watched, row: list[str], address: Column | None) -> None:
    """Count a cell that is no state, where it is about a reader and not in a broken record."""
    cell = row[one.index][:_LONGEST]
    if cell in one.unknown or len(one.unknown) < _DIFFERENT:
        with suppress(InvalidInput):
            cells.address(row[address.index] if address else "", is_guess=False)
            one.unknown[cell] = one.unknown.get(cell, 0) + 1


def _judged(columns: Columns, watched: list[_Watched]) -> tuple[dict[int, Meaning], list[_Watched]]:
    """Return columns that turned out to be states, and those that look like one and are unknown."""
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
    """Return how a column is read whose cells, all of them, are words of a state."""
    is_nameless = not columns.has_header or cells.key(one.column.name) == "state"
    if not is_nameless or not one.words or one.words & _CADENCES:
        return None
    meaning = states.word()
    return meaning if all(meaning.standing(cell) is not None for cell in one.words) else None


def _looks_like_state(one: _Watched, columns: Columns) -> bool:
    words = one.words
    if one.column.role is Role.CADENCE:
        return bool(words & states.TELLING) and not words & _CADENCES
    if one.column.role is None and len(words) <= _FEW and _tell(words):
        return True
    name = cells.key(one.column.name)
    if not is_open(one.column, columns.tool):
        return False
    if not names.sounds_like_state(name) and not _says_yes(words, name):
        return False
    if one.seen is not None and names.sounds_bad(name) and words <= states.NO | cells.NOTHING:
        # It counts bounces, say, and nobody has any.
        return False
    # Of a postal address, the state is one of those.
    return one.seen is None or bool({word.replace(" ", "-") for word in words} - _regions(name))


def _says_yes(words: set[str], name: str) -> bool:
    """Tell whether a column mentions a state, of whatever detail, and has only yes and no in it."""
    is_plain = bool(words) and words <= states.YES | states.NO | states.WORDS.keys()
    return is_plain and names.mentions_state(name)


def _regions(name: str) -> frozenset[str]:
    return names.REGIONS if name == "state" else frozenset()


def _tell(words: Collection[str]) -> bool:
    return any(word in states.TELLING or cells.key(word) in states.TELLING for word in words)


def _stop(unknown: list[_Watched], unread: list[_Watched]) -> None:
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
    return "many different cells" if one.seen is None else _listed(one.seen)


def _listed(seen: dict[str, int]) -> str:
    """Return the most frequent cells with their numbers, as text that any terminal can show."""
    often = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
    shown = ", ".join(f"{cell[:40]!a} ({count:,})" for cell, count in often)
    more = len(seen) - len(often)
    return f"{shown} and {more} more" if more else shown


def _quoted(name: str) -> str:
    """Return a column's name as one writes it in a shell."""
    return shlex.quote(name)
