"""Converts records to entries, by the columns that a survey has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TextIO

from newsletter.cadences import Cadence, parse_cadence
from newsletter.errors import InvalidInput
from newsletter.models import Status
from newsletter.subscribers import evidence
from newsletter.subscribers.csv_rows import cells
from newsletter.subscribers.csv_rows.columns import Column, at_least
from newsletter.subscribers.csv_rows.records import Record, RecordReader, Rejection
from newsletter.subscribers.csv_rows.states import Standing
from newsletter.subscribers.csv_rows.survey import Survey
from newsletter.subscribers.csv_rows.tools import Role
from newsletter.subscribers.evidence import Evidence
from newsletter.suppression import Cause

#: Of a date: keeps what follows a pause within the range of `datetime`, which ends in 9999.
_LAST_YEAR = 2_999
_CADENCES: Mapping[str, Cadence] = {cadence.value: cadence for cadence in Cadence}
_STATUSES: Mapping[Standing, Status | None] = {
    Standing.SILENT: None,
    Standing.ACTIVE: Status.ACTIVE,
    Standing.PAUSED: Status.PAUSED,
    Standing.PENDING: Status.PENDING,
    Standing.UNSUBSCRIBED: Status.UNSUBSCRIBED,
    Standing.BLOCKED: Status.SUPPRESSED,
    Standing.BOUNCED: Status.SUPPRESSED,
    Standing.COMPLAINED: Status.SUPPRESSED,
}
_CAUSES: Mapping[Standing, Cause] = {
    Standing.BLOCKED: Cause.IMPORTED,
    Standing.BOUNCED: Cause.BOUNCE,
    Standing.COMPLAINED: Cause.COMPLAINT,
}
#: The roles of the columns that evidence is read from.
_EVIDENCE = {
    "opted_in_at": Role.OPTED_IN_AT,
    "opted_in_from": Role.OPTED_IN_IP,
    "confirmed_at": Role.CONFIRMED_AT,
    "confirmed_from": Role.CONFIRMED_IP,
    "source": Role.SOURCE,
    "wording": Role.WORDING,
}


class Ours(NamedTuple):
    """Fields that only our own export has, to be restored unchanged."""

    created_at: datetime
    subscribed_at: datetime | None


class Entry(NamedTuple):
    """One subscriber in a file."""

    line: int
    #: Normalised.
    address: str
    #: None if the file has none.
    cadence: Cadence | None = None
    status: Status | None = None
    paused_until: datetime | None = None
    standing: Standing = Standing.SILENT
    #: The cause of the suppression, if suppressed.
    cause: Cause | None = None
    evidence: Evidence = evidence.NONE
    language: str | None = None
    timezone: str | None = None
    ours: Ours | None = None


def read(stream: TextIO, survey: Survey, *, now: datetime) -> Iterator[Entry | Rejection]:
    """Yield an entry or a rejection for each record, in order, in constant memory."""
    if survey.columns is None:
        return
    converter = _Converter(survey, now)
    for records in RecordReader(stream, survey.choice).blocks(survey.columns):
        for record in records:
            yield record if isinstance(record, Rejection) else converter.entry(record)


class _Converter:
    """Converts the records of one file; indexes of columns are looked up once."""

    def __init__(self, survey: Survey, now: datetime) -> None:
        assert survey.columns is not None
        columns = survey.columns
        self._now = now
        self._is_guess = survey.encoding.is_guess
        self._states = columns.states
        self._at_least = at_least(columns.tool)
        self._width = len(columns.all)
        self._address = _index(columns.of(Role.ADDRESS))
        self._cadence = _index(columns.of(Role.CADENCE))
        self._paused_until = _index(columns.of(Role.PAUSED_UNTIL))
        self._language = _index(columns.of(Role.LANGUAGE))
        self._timezone = _index(columns.of(Role.TIMEZONE))
        self._subscribed_at = _index(columns.of(Role.SUBSCRIBED_AT))
        self._created_at = _index(columns.of(Role.CREATED_AT))
        self._suppression = _index(next((c for c in self._states if c.name == "suppression"), None))
        # The fields of Evidence that the file has: index in the tuple, index of the column, parser.
        self._evidence = [
            (place, column.index, self._parser(part))
            for place, part in enumerate(Evidence._fields)
            if (column := columns.of(_EVIDENCE[part])) is not None
        ]

    def entry(self, record: Record) -> Entry | Rejection:
        """Return the entry of a record, or its rejection; the survey has checked the states."""
        try:
            return self._read(record)
        except InvalidInput as exc:
            return Rejection(record.line, exc.message, record.cells)

    def _read(self, record: Record) -> Entry:
        line, row = record
        found = cells.address(_cell(row, self._address), is_guess=self._is_guess)
        standing = self._standing(row)
        status = _STATUSES[standing]
        is_gone = standing >= Standing.UNSUBSCRIBED
        cadence = _cell(row, self._cadence)
        return Entry(
            line,
            found,
            _CADENCES.get(cadence) or _cadence(cadence, is_gone=is_gone),
            status,
            _pause(_cell(row, self._paused_until)) if status is Status.PAUSED else None,
            standing,
            self._cause(row, standing) if is_gone else None,
            self._said(row) if self._evidence else evidence.NONE,
            cells.language(cell) if (cell := _cell(row, self._language)) else None,
            cells.timezone(cell) if (cell := _cell(row, self._timezone)) else None,
            self._ours(row) if self._created_at is not None else None,
        )

    def _standing(self, row: list[str]) -> Standing:
        if len(row) != self._width:
            _check_width(row, self._width, self._states)
        strictest = self._at_least
        for column in self._states:
            standing = column.standing(row[column.index])
            if standing is None:
                raise InvalidInput(f"{row[column.index][:100]!r} is not a state.")
            strictest = max(strictest, standing)
        return strictest

    def _cause(self, row: list[str], standing: Standing) -> Cause | None:
        if self._suppression is not None and standing >= Standing.BLOCKED:
            said = _cell(row, self._suppression)
            return Cause(said) if said in set(Cause) else _CAUSES[standing]
        return _CAUSES.get(standing)

    def _said(self, row: list[str]) -> Evidence:
        found: list[Any] = [None] * len(Evidence._fields)
        for place, index, parse in self._evidence:
            cell = _cell(row, index)
            if cell:
                found[place] = parse(cell)
        return Evidence._make(found)

    def _parser(self, part: str) -> Callable[[str], Any]:
        if part.endswith("_at"):
            return partial(cells.moment, now=self._now)
        return cells.ip if part.endswith("_from") else evidence.text

    def _ours(self, row: list[str]) -> Ours | None:
        created_at = cells.instant(_cell(row, self._created_at))
        if created_at is None:
            return None
        return Ours(created_at, cells.instant(_cell(row, self._subscribed_at)))


def _check_width(row: list[str], width: int, states: tuple[Column, ...]) -> None:
    """Refuse a record whose cells may be shifted, so that its state may be in another column."""
    if len(row) > width and any(cell.strip() for cell in row[width:]):
        columns = "is 1 column" if width == 1 else f"are {width} columns"
        raise InvalidInput(f"The line has {len(row)} cells, and there {columns}.")
    missing = next((column for column in states if column.index >= len(row)), None)
    if missing is not None:
        raise InvalidInput(f"The line ends before the column {missing.name!r}.")


def _index(column: Column | None) -> int | None:
    return None if column is None else column.index


def _cell(row: list[str], index: int | None) -> str:
    """Return a cell without the escape of `guard` and surrounding white space; empty if missing."""
    if index is None or index >= len(row):
        return ""
    cell = row[index]
    return cells.plain(cell) if cell[:1] == "'" else cell.strip()


def _cadence(cell: str, *, is_gone: bool) -> Cadence | None:
    """Parse a cadence; an invalid one is no error if the subscriber is not mailed."""
    if not cell:
        return None
    try:
        return parse_cadence(cell[:100])
    except InvalidInput:
        if is_gone:
            return None
        raise


def _pause(cell: str) -> datetime | None:
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
