"""The sheets that readers come in and go out by: CSV as people and other systems write it.

Reading never fails on a line: each record becomes an `Entry` or a `Rejection` with its line number
and reason, and the next line is read as if the bad one had not been there. Headers of listmonk,
Ghost and Mailchimp are understood, and so are sheets without one, down to an address per line.
No database, no file: text in, values out.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from io import TextIOWrapper
from typing import BinaryIO, NamedTuple, TextIO

from newsletter import address
from newsletter.cadence import Cadence, parse_cadence
from newsletter.errors import InvalidInput
from newsletter.models import Status

#: A longer line (or record of several lines) is refused; reading one costs no more than this.
MAXIMUM_LENGTH = 65_536
#: A quoted cell that goes on for longer than this was never meant to be quoted.
MAXIMUM_LINES = 100
#: What a spreadsheet would take for a formula at the beginning of a cell, and the guard itself.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
#: Of a date. The calendar ends in 9999, and what comes after a pause must have a place in it.
_LAST_YEAR = 2_999
_DELIMITERS = (",", ";", "\t")

# Names of columns, best first: Mailchimp has a postal "Address" beside its "Email Address".
_ADDRESS = ("email", "email address", "e mail", "e mail address", "emailaddress", "mail", "address")
_CADENCE = ("cadence", "frequency")
_STATUS = ("status", "subscribed to emails")
_UNSUBSCRIBED_AT = ("unsub time",)
_CLEANED_AT = ("clean time",)
_PAUSED_UNTIL = ("paused until",)

#: What other systems call a status.
_WORDS: Mapping[str, Status] = {
    **{status.value: status for status in Status},
    **dict.fromkeys(("enabled", "subscribed", "confirmed", "true", "yes", "1"), Status.ACTIVE),
    **dict.fromkeys(("unconfirmed",), Status.PENDING),
    **dict.fromkeys(
        ("disabled", "inactive", "false", "no", "0", "non-subscribed", "archived"),
        Status.UNSUBSCRIBED,
    ),
    **dict.fromkeys(
        ("blocklisted", "blacklisted", "blocked", "cleaned", "bounced", "complained"),
        Status.SUPPRESSED,
    ),
}
_CADENCES: Mapping[str, Cadence] = {cadence.value: cadence for cadence in Cadence}


class Entry(NamedTuple):
    """One reader, as a sheet has them."""

    line: int
    #: In its one spelling.
    address: str
    #: None where the sheet does not say.
    cadence: Cadence | None
    status: Status | None
    paused_until: datetime | None


class Rejection(NamedTuple):
    """One line that cannot be used."""

    line: int
    reason: str
    #: The line as it stands, without what could not be read and not for ever.
    text: str


def guard(cell: str) -> str:
    """Return the cell so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def unguard(cell: str) -> str:
    """Return what `guard` was given."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell


def decode(stream: BinaryIO) -> TextIOWrapper:
    """Return the text of a sheet; octets that are not UTF-8 stay marked, for `read` to find."""
    return TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=None)


def read(stream: TextIO) -> Iterator[Entry | Rejection]:
    """Yield each reader and each line that cannot be used, in order, in constant memory.

    Raises InvalidInput only where the first line shows that this is no list of readers.
    """
    lines = _Lines(stream)
    columns: _Columns | None = None
    while (line := lines.take()) is not None:
        if line.flaw:
            yield Rejection(line.number, line.flaw, _shown(line.text))
        elif columns is None:
            if line.text.strip():
                columns = _columns(line.text)
                if not columns.has_header:
                    lines.give_back([line])
        elif line.text.strip(f'{columns.delimiter} \t"'):
            yield _record(lines, line, columns)


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    flaw: str | None


@dataclass
class _Lines:
    """The lines of a stream, numbered; lines that were read too far can be given back."""

    _stream: TextIO
    _number: int = 0
    _returned: deque[_Line] = field(default_factory=deque)

    def take(self) -> _Line | None:
        if self._returned:
            return self._returned.popleft()
        text = self._stream.readline(MAXIMUM_LENGTH + 1)
        if not text:
            return None
        self._number += 1
        return _Line(self._number, text.rstrip("\n"), self._flaw(text))

    def give_back(self, lines: list[_Line]) -> None:
        self._returned.extendleft(reversed(lines))

    def _flaw(self, text: str) -> str | None:
        if self._number == 1 and text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
            raise InvalidInput(
                "The file is UTF-16, not UTF-8.", hint="Save it as CSV UTF-8 and try again."
            )
        if len(text) > MAXIMUM_LENGTH and not text.endswith("\n"):
            while (more := self._stream.readline(MAXIMUM_LENGTH)) and not more.endswith("\n"):
                pass
            return f"The line has more than {MAXIMUM_LENGTH:,} characters."
        if "\0" in text:
            return "The line has a NUL character in it."
        return None if text.isascii() or _is_unicode(text) else "The line is not UTF-8."


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class _Columns:
    """Where to look in a record."""

    delimiter: str
    has_header: bool
    address: int
    cadence: int | None = None
    status: int | None = None
    unsubscribed_at: int | None = None
    cleaned_at: int | None = None
    paused_until: int | None = None

    def cell(self, cells: list[str], column: int | None) -> str:
        if column is None or column >= len(cells):
            return ""
        cell = cells[column]
        return (unguard(cell) if cell[:1] == "'" else cell).strip()

    @cached_property
    def have_status(self) -> bool:
        return any(c is not None for c in (self.status, self.unsubscribed_at, self.cleaned_at))

    def are_on_one_line(self, cells: list[str]) -> bool:
        """Tell whether no cell that is looked at goes over a line's end."""
        looked_at = (self.address, self.cadence, self.status, self.paused_until)
        return not any("\n" in self.cell(cells, column) for column in looked_at)


def _columns(text: str) -> _Columns:
    """Find the delimiter and the columns by the first line."""
    sheets = [(delimiter, _cells(text, delimiter) or [text]) for delimiter in _DELIMITERS]
    for delimiter, cells in sheets:
        named = _header(delimiter, cells)
        if named is not None:
            return named
    delimiter, cells = max(sheets, key=lambda sheet: len(sheet[1]))
    return _without_header(delimiter, cells)


def _header(delimiter: str, cells: list[str]) -> _Columns | None:
    names = [re.sub(r"[\W_]+", " ", unguard(cell)).strip().casefold() for cell in cells]

    def column(wanted: tuple[str, ...]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    found = column(_ADDRESS)
    if found is None:
        return None
    return _Columns(
        delimiter=delimiter,
        has_header=True,
        address=found,
        cadence=column(_CADENCE),
        status=column(_STATUS),
        unsubscribed_at=column(_UNSUBSCRIBED_AT),
        cleaned_at=column(_CLEANED_AT),
        paused_until=column(_PAUSED_UNTIL),
    )


def _without_header(delimiter: str, cells: list[str]) -> _Columns:
    words = [unguard(cell).strip().casefold() for cell in cells]
    cadence = next((index for index, word in enumerate(words) if word in _CADENCES), None)
    found = next((index for index, word in enumerate(words) if "@" in word), None)
    if found is None and cadence is None and len(cells) > 1:
        raise InvalidInput(
            "The first line neither names a column for the address nor has an address in it.",
            hint='Name the column "address" (and another "cadence", if there is one).',
        )
    if cadence is None and len(cells) == 2:
        cadence = 1 - (found or 0)
    if found is None:
        found = 1 if cadence == 0 else 0
    return _Columns(delimiter, has_header=False, address=found, cadence=cadence)


def _record(lines: _Lines, line: _Line, columns: _Columns) -> Entry | Rejection:
    """Read the record that begins with this line, and no line beyond it."""
    if '"' not in line.text:
        return _entry(line, line.text.split(columns.delimiter), columns)
    cells = _cells(line.text, columns.delimiter)
    if cells is None:
        cells = _cells_of_lines(lines, line, columns)
    if cells is None:
        return Rejection(line.number, "The quotation marks do not pair.", _shown(line.text))
    return _entry(line, cells, columns)


def _cells(text: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _cells_of_lines(lines: _Lines, line: _Line, columns: _Columns) -> list[str] | None:
    """Read a record whose quoted cell goes on over the next lines.

    If nothing good comes of it the quotation mark was a slip: the other lines are given back.
    """
    text = line.text
    taken: list[_Line] = []
    while len(taken) < MAXIMUM_LINES and len(text) < MAXIMUM_LENGTH:
        following = lines.take()
        if following is None:
            break
        taken.append(following)
        if following.flaw:
            break
        text = f"{text}\n{following.text}"
        if '"' not in following.text:
            continue
        cells = _cells(text, columns.delimiter)
        if cells is not None:
            if columns.are_on_one_line(cells):
                return cells
            break
    lines.give_back(taken)
    return None


def _entry(line: _Line, cells: list[str], columns: _Columns) -> Entry | Rejection:
    try:
        found = columns.cell(cells, columns.address)
        return Entry(
            line.number,
            address.normalise(found),
            _cadence(columns.cell(cells, columns.cadence)),
            _status(cells, columns),
            _instant(columns.cell(cells, columns.paused_until)),
        )
    except InvalidInput as exc:
        return Rejection(line.number, exc.message, _shown(line.text))


def _cadence(cell: str) -> Cadence | None:
    if not cell:
        return None
    return _CADENCES.get(cell) or parse_cadence(cell[:100])


def _status(cells: list[str], columns: _Columns) -> Status | None:
    if not columns.have_status:
        return None
    if columns.cell(cells, columns.cleaned_at):
        return Status.SUPPRESSED
    if columns.cell(cells, columns.unsubscribed_at):
        return Status.UNSUBSCRIBED
    word = columns.cell(cells, columns.status)
    if not word:
        return None
    found = _WORDS.get(word.casefold())
    if found is None:
        raise InvalidInput(f"{word[:100]!r} is not a status.")
    return found


def _instant(cell: str) -> datetime | None:
    if not cell:
        return None
    try:
        found = datetime.fromisoformat(cell)
        instant = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{cell[:100]!r} is not a date.") from None
    if instant.year > _LAST_YEAR:
        raise InvalidInput(f"{cell[:100]!r} is too far away.")
    return instant


def _shown(text: str) -> str:
    """Return a line that any file can hold, and that its writer can still recognise."""
    return text[:300].encode("utf-8", "replace").decode().replace("\0", "?")
