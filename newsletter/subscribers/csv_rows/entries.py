"""Converts records to entries, by the columns that a survey has found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TextIO, TypeVar

from newsletter.address import normalise_plain
from newsletter.cadences import Cadence, parse_cadence
from newsletter.errors import InvalidInput
from newsletter.models import Status
from newsletter.subscribers import evidence
from newsletter.subscribers.csv_rows import cells
from newsletter.subscribers.csv_rows.columns import Column, at_least
from newsletter.subscribers.csv_rows.records import Record, RecordReader, Rejection
from newsletter.subscribers.csv_rows.states import Meaning, Standing
from newsletter.subscribers.csv_rows.survey import Survey
from newsletter.subscribers.csv_rows.tools import Role
from newsletter.subscribers.evidence import Evidence
from newsletter.suppression import Cause

#: Limit of dates, so that later computations stay within the range of `datetime`, up to 9999.
_LAST_YEAR = 2_999
_CADENCES: Mapping[str, Cadence] = {cadence.value: cadence for cadence in Cadence}
_RESULTS: Mapping[Standing, tuple[Status | None, Cause | None]] = {
    Standing.SILENT: (None, None),
    Standing.ACTIVE: (Status.ACTIVE, None),
    Standing.PAUSED: (Status.PAUSED, None),
    Standing.PENDING: (Status.PENDING, None),
    Standing.UNSUBSCRIBED: (Status.UNSUBSCRIBED, None),
    Standing.BLOCKED: (Status.SUPPRESSED, Cause.IMPORTED),
    Standing.BOUNCED: (Status.SUPPRESSED, Cause.BOUNCE),
    Standing.COMPLAINED: (Status.SUPPRESSED, Cause.COMPLAINT),
}
#: Indexed by the number of a standing, because hashing a member of an enumeration is slow.
_STATUSES, _CAUSES = zip(*(_RESULTS[standing] for standing in Standing), strict=True)
_T = TypeVar("_T", bound=tuple[Any, ...])
_SAID_CAUSES: Mapping[str, Cause] = {cause.value: cause for cause in Cause}
#: The roles of the columns from which evidence is read.
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
    #: The normalised address.
    address: str
    #: The cadence; None if the file has none.
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
        if records:
            yield from converter.entries(records)


class _Block:
    """Some records, converted by column, which takes less time than by cell."""

    def __init__(self, records: Sequence[Record | Rejection], width: int) -> None:
        self._records = records
        blank = [""] * width
        rows = (record.cells for record in records)
        whole = (row if len(row) == width else [*row, *blank][:width] for row in rows)
        self._columns = list(zip(*whole, strict=True))
        #: Rejections by the position of the record in the block.
        self.rejected = {
            place: record for place, record in enumerate(records) if isinstance(record, Rejection)
        }

    def values(
        self,
        index: int | None,
        convert: Callable[[str], Any],
        *,
        convert_common: Callable[[Collection[str]], dict[str, Any]] = lambda _: {},
        only: Collection[int] | None = None,
    ) -> Sequence[Any]:
        """Return the values of a column, converting each different cell once.

        `convert_common` gets all different cells and converts some of them, in less time.

        `convert` gets the other cells, without the escape of `guard` and surrounding white space. A
        refused cell becomes None, and its record is rejected; with `only`, only records at these
        positions are.
        """
        if index is None:
            return [None] * len(self._records)
        column = self._columns[index]
        different = set(column)
        known = convert_common(different)
        refused: dict[str, str] = {}
        for cell in different - known.keys():
            try:
                known[cell] = convert(cells.plain(cell))
            except InvalidInput as exc:
                known[cell] = None
                refused[cell] = exc.message
        if refused:
            for place, cell in enumerate(column):
                if cell in refused and (only is None or place in only):
                    self.reject(place, refused[cell])
        return [known[cell] for cell in column]

    def reject(self, place: int, reason: str) -> None:
        """Reject a record, unless it is rejected already: the first reason is shown."""
        record = self._records[place]
        self.rejected.setdefault(place, Rejection(record.line, reason, record.cells))


class _Converter:
    """Converts the records of one file; indexes of columns are looked up once."""

    def __init__(self, survey: Survey, now: datetime) -> None:
        assert survey.columns is not None
        columns = survey.columns
        self._now = now
        self._read_address = partial(cells.address, is_guess=survey.encoding.is_guess)
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
        #: Indexes of columns by field of Evidence.
        self._evidence = {part: _index(columns.of(role)) for part, role in _EVIDENCE.items()}

    def entries(self, records: Sequence[Record | Rejection]) -> Iterator[Entry | Rejection]:
        """Return the entries of records or their rejections; the survey has checked the states."""
        block = _Block(records, self._width)
        # The order of these checks matters: a record is rejected for the first reason.
        addresses = block.values(self._address, self._read_address, convert_common=normalise_plain)
        self._check_widths(block, records)
        standings = self._standings(block, len(records))
        mailed = {at for at, one in enumerate(standings) if one < Standing.UNSUBSCRIBED}
        cadences = block.values(self._cadence, _cadence, only=mailed)
        statuses = [_STATUSES[standing] for standing in standings]
        entries = _tuples(
            Entry,
            [record.line for record in records],
            addresses,
            cadences,
            statuses,
            self._pauses(block, statuses),
            standings,
            self._causes(block, standings),
            self._said(block),
            block.values(self._language, cells.language),
            block.values(self._timezone, cells.timezone),
            self._ours(block),
        )
        return map(block.rejected.get, range(len(records)), entries)

    def _check_widths(self, block: _Block, records: Sequence[Record | Rejection]) -> None:
        """Reject records whose cells may be shifted, so that a state may be in another column."""
        for place, record in enumerate(records):
            if len(record.cells) != self._width:
                reason = _flaw_of_width(record.cells, self._width, self._states)
                if reason is not None:
                    block.reject(place, reason)

    def _standings(self, block: _Block, count: int) -> Sequence[Standing]:
        strictest = [self._at_least] * count
        for column in self._states:
            assert column.meaning is not None
            standing = partial(_standing, column.meaning)
            dates = column.meaning.of_dates
            given = block.values(column.index, standing, convert_common=dates)
            strictest = [max(a, b or a) for a, b in zip(strictest, given, strict=True)]
        return strictest

    def _pauses(
        self, block: _Block, statuses: Sequence[Status | None]
    ) -> Iterable[datetime | None]:
        paused = {at for at, status in enumerate(statuses) if status is Status.PAUSED}
        if not paused:
            return [None] * len(statuses)
        until = block.values(self._paused_until, _pause, only=paused)
        return [one if at in paused else None for at, one in enumerate(until)]

    def _causes(self, block: _Block, standings: Sequence[Standing]) -> Iterable[Cause | None]:
        said = block.values(self._suppression, _SAID_CAUSES.get)
        return [
            (one if standing >= Standing.BLOCKED else None) or _CAUSES[standing]
            for one, standing in zip(said, standings, strict=True)
        ]

    def _said(self, block: _Block) -> Iterable[Evidence]:
        return _tuples(Evidence, *(self._part(block, part) for part in Evidence._fields))

    def _part(self, block: _Block, part: str) -> Sequence[Any]:
        index = self._evidence[part]
        if part.endswith("_at"):
            moment = partial(cells.moment, now=self._now)
            common = partial(cells.common_moments, now=self._now)
            return block.values(index, moment, convert_common=common)
        return block.values(index, cells.ip if part.endswith("_from") else evidence.text)

    def _ours(self, block: _Block) -> Iterable[Ours | None]:
        created = block.values(self._created_at, cells.instant)
        subscribed = block.values(self._subscribed_at, cells.instant)
        return [Ours(a, b) if a else None for a, b in zip(created, subscribed, strict=True)]


def _tuples(kind: type[_T], *columns: Iterable[Any]) -> Iterator[_T]:
    """Return a named tuple for each row of columns: calling its class takes twice as long."""
    return map(partial(tuple.__new__, kind), zip(*columns, strict=True))


def _standing(meaning: Meaning, cell: str) -> Standing:
    found = meaning.standing(cell)
    if found is None:
        raise InvalidInput(f"{cell[:100]!r} is not a state.")
    return found


def _flaw_of_width(row: list[str], width: int, states: tuple[Column, ...]) -> str | None:
    """Return the flaw of a record that has more or fewer cells than there are columns."""
    if len(row) > width and any(cell.strip() for cell in row[width:]):
        columns = "is 1 column" if width == 1 else f"are {width} columns"
        return f"The line has {len(row)} cells, and there {columns}."
    missing = next((column for column in states if column.index >= len(row)), None)
    return None if missing is None else f"The line ends before the column {missing.name!r}."


def _index(column: Column | None) -> int | None:
    return None if column is None else column.index


def _cadence(cell: str) -> Cadence | None:
    return _CADENCES.get(cell) or (parse_cadence(cell[:100]) if cell else None)


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
