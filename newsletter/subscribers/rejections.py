"""The rejected lines of an import: counted, the first ones kept, and all written to a file.

The file has the columns of the imported one and two more, which an import ignores, so that it can
be corrected and imported again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TextIO

from newsletter.errors import InvalidInput
from newsletter.subscribers import csv_rows
from newsletter.subscribers.csv_rows import Rejection, Survey
from newsletter.subscribers.csv_rows.columns import Columns
from newsletter.subscribers.csv_rows.names import REJECTED
from newsletter.subscribers.csv_rows.tools import Role

#: Number of rejections that are kept to be shown; the file has all of them.
SHOWN = 10
_LINE, _BECAUSE = (name.replace(" ", "_") for name in REJECTED)


@dataclass
class Rejections:
    """Collects rejections; the file is created with the first one."""

    #: A function that opens the file.
    open: Callable[[], AbstractContextManager[TextIO]]
    count: int = 0
    first: list[Rejection] = field(default_factory=list)
    _columns: Columns | None = field(default=None, repr=False)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)
    _writer: Any = field(default=None, repr=False)

    def begin(self, survey: Survey) -> None:
        """Set the columns of the imported file."""
        self._columns = survey.columns

    def add(self, rejection: Rejection) -> None:
        """Write one rejection: line number, reason, and its cells unchanged."""
        if self._writer is None:
            self._open()
        cells = [rejection.cells[index] for index in self._kept(len(rejection.cells))]
        shown = [csv_rows.guard(csv_rows.unguard(_writable(cell))) for cell in cells]
        self._writer.writerow([rejection.line, rejection.reason, *shown])
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(rejection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _open(self) -> None:
        try:
            stream = self._stack.enter_context(self.open())
        except InvalidInput as exc:
            raise InvalidInput(
                exc.message,
                hint="Name a file for the rejected lines with --rejected. "
                "Then import again: what was taken over already stays as it is.",
            ) from exc
        delimiter = self._columns.delimiter if self._columns else ","
        self._writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        names = _names(self._columns)
        shown = [csv_rows.guard(_writable(names[index])) for index in self._kept(len(names))]
        self._writer.writerow([_LINE, _BECAUSE, *shown])

    def _kept(self, width: int) -> list[int]:
        """Return the indexes of the cells to write, without those that a rejects file added."""
        added = {c.index for c in self._columns.all if _is_ours(c.name)} if self._columns else set()
        return [index for index in range(width) if index not in added]


def _is_ours(name: str) -> bool:
    return name in {_LINE, _BECAUSE}


def _names(columns: Columns | None) -> list[str]:
    """Return a header with which an import reads the columns in the same roles."""
    if columns is None:
        return ["address"]
    if columns.has_header:
        return [column.name for column in columns.all]
    roles = {Role.ADDRESS: "address", Role.CADENCE: "cadence"}
    return [
        "status"
        if column.meaning
        else (roles.get(column.role) if column.role else None) or column.name
        for column in columns.all
    ]


def _writable(cell: str) -> str:
    """Return a cell as valid UTF-8; octets that are not UTF-8 are read as Windows-1252."""
    if cell.isascii():
        return cell
    octets = cell.encode("utf-8", "surrogateescape")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")
