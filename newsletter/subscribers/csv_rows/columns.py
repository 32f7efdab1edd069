"""Finds the role of each column, by the tool that wrote the file or else by the column's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from newsletter.cadences import Cadence
from newsletter.errors import InvalidInput
from newsletter.subscribers.csv_rows import cells, names, states
from newsletter.subscribers.csv_rows.states import Meaning, Standing
from newsletter.subscribers.csv_rows.tools import TOOLS, Role, Tool

_DELIMITERS = re.compile(r"[,;\t|]")
#: Cells of a column of cadences.
CADENCES = frozenset(cadence.value for cadence in Cadence)


@dataclass(frozen=True)
class Choice:
    """The operator's choice of columns."""

    #: The column to read as each known name: `{"status": "Abo"}`.
    columns: Mapping[str, str] = field(default_factory=dict)
    ignored: Sequence[str] = ()


@dataclass(frozen=True)
class Column:
    """One column and how it is read."""

    index: int
    #: The name in the header; `column 3` if there is no header.
    name: str
    role: Role | None = None
    #: The meaning of cells as a state; None if the column is not a state.
    meaning: Meaning | None = None

    @property
    def is_known(self) -> bool:
        """Whether the column is read, or ignored by the operator's choice."""
        return self.role is not None or self.meaning is not None

    def standing(self, cell: str) -> Standing | None:
        """Return the standing that a cell of a state column gives; None if it is not known."""
        assert self.meaning is not None
        return self.meaning.standing(cells.plain(cell))


@dataclass(frozen=True)
class Columns:
    """The columns of a file."""

    delimiter: str
    has_header: bool
    all: tuple[Column, ...]
    tool: Tool | None = None

    def of(self, *roles: Role) -> Column | None:
        """Return the first column with one of these roles; earlier roles have precedence."""
        for role in roles:
            for column in self.all:
                if column.role is role:
                    return column
        return None

    @property
    def states(self) -> tuple[Column, ...]:
        """The columns that are read as states."""
        return tuple(column for column in self.all if column.meaning is not None)

    def with_states(self, meanings: Mapping[int, Meaning]) -> Columns:
        """Return a copy in which the columns of `meanings`, by index, are read as states."""
        read = (
            replace(column, role=None, meaning=meanings[column.index])
            if column.index in meanings
            else column
            for column in self.all
        )
        return replace(self, all=tuple(read))


def of_header(delimiter: str, header: Sequence[str], choice: Choice) -> Columns | None:
    """Return the columns of a header; None if the row has no address column, so is no header.

    Raises InvalidInput for a choice with a column that is not in the file, or an unknown name.
    """
    shown = [_shown(name) for name in header]
    own = [cells.key(name) for name in header]
    address = _address(own, choice)
    if address is None:
        return None
    known, ignored = _chosen(own, choice)
    if address in ignored:
        raise InvalidInput(f"{shown[address]!r} is the column of the address.")
    ignored |= {index for index, name in enumerate(known) if name in names.REJECTED}
    tool = _tool([name for index, name in enumerate(known) if index not in ignored])
    read = [
        Column(index, shown[index], Role.IGNORED)
        if index in ignored
        else Column(index, shown[index], *_read(name, own[index], tool))
        for index, name in enumerate(known)
    ]
    read[address] = Column(address, shown[address], Role.ADDRESS)
    return Columns(delimiter, has_header=True, all=tuple(read), tool=tool)


def is_other_header(row: Sequence[str], columns: Columns) -> bool:
    """Return whether a record is a header with other columns than those of the file."""
    # If the first line was a title of one cell, the delimiter has not been detected.
    named = [cells.key(cell) for cell in (row if len(row) > 1 else _DELIMITERS.split(row[0]))]
    while named and not named[-1]:
        del named[-1]
    if len(named) < 2 or not set(names.ADDRESS) & set(named) or any("@" in cell for cell in row):
        return False
    return named != [cells.key(column.name) for column in columns.all][: len(named)]


def of_first_row(delimiter: str, row: Sequence[str], choice: Choice) -> Columns:
    """Return the columns of a file without a header, by its first row."""
    own = [f"column {index + 1}" for index in range(len(row))]
    known, ignored = _chosen(own, choice)
    address, cadence = _places(row, known)
    read = [Column(index, own[index], *_read(name, name, None)) for index, name in enumerate(known)]
    if cadence is not None and not read[cadence].is_known:
        read[cadence] = Column(cadence, own[cadence], Role.CADENCE)
    for index in ignored:
        read[index] = Column(index, own[index], Role.IGNORED)
    read[address] = Column(address, own[address], Role.ADDRESS)
    return Columns(delimiter, has_header=False, all=tuple(read))


def _shown(name: str) -> str:
    """Return a column's name, printable and at most 100 characters."""
    kept = "".join(letter if letter.isprintable() else " " for letter in cells.plain(name)[:100])
    return kept.strip()


def _address(own: list[str], choice: Choice) -> int | None:
    """Return the index of the address column in a header; None if this is no header."""
    chosen = [name for wanted, name in choice.columns.items() if cells.key(wanted) == "address"]
    wanted = [cells.key(name) for name in chosen] or names.ADDRESS
    return next((own.index(name) for name in wanted if name in own), None)


def _places(row: Sequence[str], known: Sequence[str]) -> tuple[int, int | None]:
    """Return the indexes of the address and of the cadence in the first row."""
    words = [cells.plain(cell).casefold() for cell in row]
    cadence = next((index for index, word in enumerate(words) if word in CADENCES), None)
    found = next((index for index, word in enumerate(words) if "@" in word), None)
    if "address" in known:
        found = known.index("address")
    if found is None and cadence is None and len(row) > 1:
        raise InvalidInput(
            "The first line neither names a column for the address nor has an address in it.",
            hint='Name the column "address" (and another "cadence", if there is one).',
        )
    if cadence is None and len(row) == 2:
        cadence = 1 - (found or 0)
    if found is None:
        found = 1 if cadence == 0 else 0
    return found, cadence


def _chosen(own: list[str], choice: Choice) -> tuple[list[str], set[int]]:
    """Return the name as which each column is read, and the indexes of ignored columns."""
    known = list(own)
    for wanted, name in choice.columns.items():
        under = cells.key(wanted)
        if under not in names.STATES and under not in names.ROLES and under != "address":
            raise InvalidInput(
                f"{wanted!r} is nothing that a column can be read as.",
                hint="Use status, unsubscribed, blocked, bounced, complained, subscribed, "
                "confirmed, active, address or cadence.",
            )
        for index in _indexes(own, name):
            known[index] = under
    return known, {index for name in choice.ignored for index in _indexes(own, name)}


def _indexes(own: Sequence[str], name: str) -> list[int]:
    """Return the indexes of all columns of a name; raises InvalidInput if there are none."""
    for wanted in (cells.key(name), f"column {name.strip()}"):
        if wanted in own:
            return [index for index, one in enumerate(own) if one == wanted]
    listed = ", ".join(repr(one) for one in own[:20])
    raise InvalidInput(f"There is no column {name[:100]!r}.", hint=f"There are {listed}.")


def _tool(known: Sequence[str]) -> Tool | None:
    return next((tool for tool in TOOLS if _matches(tool, known)), None)


def _matches(tool: Tool, known: Sequence[str]) -> bool:
    if tool.is_all and len(known) != len(tool.signature):
        return False
    return all(any(name in known for name in part.split("|")) for part in tool.signature)


def _read(name: str, own: str, tool: Tool | None) -> tuple[Role | None, Meaning | None]:
    """Return role and meaning of a column with the header `own` that is read as `name`."""
    if tool is not None and (name in tool.states or name in tool.roles):
        return tool.roles.get(name), tool.states.get(name)
    if tool is not None and name in tool.harmless:
        return None, None
    if name != own and name == "status":
        # In a column that the operator calls a status, yes and no depend on the name in the header.
        return None, names.meaning_of(own) or states.word()
    return names.ROLES.get(name), names.meaning_of(name)


def is_open(column: Column, tool: Tool | None) -> bool:
    """Return whether a column has no role, and is not listed as harmless for the tool."""
    return not column.is_known and (tool is None or cells.key(column.name) not in tool.harmless)


def at_least(tool: Tool | None) -> Standing:
    """Return the minimum standing of each row of a file, independent of its cells."""
    return tool.every if tool is not None else Standing.SILENT
