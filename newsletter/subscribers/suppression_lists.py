"""Import and export of suppressions as CSV: our own, another system's, or a plain list.

Our own export is recognised by its column `cause` and read back without loss. An erased person has
a keyed hash there instead of an address, which is effective only with the same secret keys. Other
files are read like files of subscribers, and their states give the cause.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, NamedTuple, TextIO

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import suppression, tokens
from newsletter.db import session as sessions
from newsletter.errors import InvalidInput
from newsletter.models import Status, Suppression
from newsletter.subscribers import csv_rows, suppress
from newsletter.subscribers.csv_rows import Choice, Rejection, Survey, cells, encoding
from newsletter.subscribers.csv_rows.records import Record, RecordReader
from newsletter.subscribers.csv_rows.tools import Role
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

COLUMNS = ("address", "cause", "reason", "source", "created_at", "hash")
#: Addresses per transaction.
BATCH = 5_000
_LONGEST = 500
_CHUNK = 2_000
_HASH = frozenset("0123456789abcdef")
#: States of lines that suppress nothing.
_MAILABLE = frozenset({Status.ACTIVE, Status.PAUSED, Status.PENDING})


@dataclass
class ListTally:
    """The lines of a list by result; `read` is the sum of all others."""

    read: int = 0
    added: int = 0
    #: Lines whose address was suppressed before or is repeated in the list; the graver cause
    #: counts.
    known: int = 0
    #: Lines whose state is active, paused or pending.
    mailable: int = 0
    rejected: int = 0


@dataclass(frozen=True, kw_only=True)
class Import:
    """The options of an import."""

    #: The source of suppressions without one in the list: `import list.csv`.
    source: str
    now: datetime
    keyring: Keyring
    #: The cause for lines without one.
    cause: Cause = Cause.IMPORTED
    choice: Choice = field(default_factory=Choice)
    #: Count only, and write nothing.
    is_dry: bool = False
    batch: int = BATCH


class _Entry(NamedTuple):
    """One address that must not be mailed, or the hash of one."""

    address: str
    grounds: Grounds
    is_hash: bool = False


def run(
    engine: Engine,
    stream: BinaryIO,
    how: Import,
    *,
    reject: Callable[[Rejection], None],
    progress: Callable[[ListTally], None] = lambda _: None,
    surveyed: Callable[[Survey], None] = lambda _: None,
) -> ListTally:
    """Suppress the addresses of a list and their subscribers, from a seekable stream.

    Calls `reject` for each line that cannot be used, and `progress` after each committed batch.
    Raises InvalidInput, and writes nothing, if the list is not understood.
    """
    tally = ListTally()
    start = stream.tell()
    survey = _survey(stream, how)
    surveyed(survey)
    stream.seek(start)
    text = csv_rows.decode(stream, survey.encoding)
    try:
        for batch in _batches(_lines(text, survey, how), how, tally, reject):
            added = _count(engine, batch, how) if how.is_dry else _write(engine, batch, how)
            tally.added += added
            tally.known += len(batch) - added
            progress(tally)
    finally:
        text.detach()
    return tally


def write(
    session: Session,
    stream: TextIO,
    *,
    cause: Cause | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write a line for each suppression, in the format that `run` reads, and return how many."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    written = after = 0
    chosen = suppression.Chosen(cause)
    while found := suppression.listing(session, limit=_CHUNK, after=after, chosen=chosen):
        writer.writerows([_row(one) for one in found])
        written += len(found)
        after = found[-1].id or 0
        session.expunge_all()
        progress(written)
    return written


def _row(one: Suppression) -> list[str]:
    fingerprint = "" if one.address else one.address_hash
    at = one.created_at.isoformat()
    row = (one.address or "", one.cause, one.reason, one.source, at, fingerprint)
    return [csv_rows.guard(cell) for cell in row]


def _survey(stream: BinaryIO, how: Import) -> Survey:
    """Return the encoding and columns of a list."""
    found = encoding.find(stream)
    stream.seek(0)
    text = csv_rows.decode(stream, found)
    try:
        columns = RecordReader(text, how.choice).columns
    finally:
        text.detach()
    if columns is not None and "cause" in {cells.key(column.name) for column in columns.all}:
        return Survey(how.choice, found, columns)
    stream.seek(0)
    return csv_rows.survey(stream, how.choice)


def _lines(text: TextIO, survey: Survey, how: Import) -> Iterator[_Entry | Rejection | None]:
    """Yield the entry of each line; None for a line with a mailable state."""
    columns = survey.columns
    if columns is None:
        return
    places = {cells.key(column.name): column.index for column in columns.all}
    if address := columns.of(Role.ADDRESS):
        places["address"] = address.index
    if "cause" in places:
        for records in RecordReader(text, survey.choice).blocks(columns):
            for record in records:
                yield record if isinstance(record, Rejection) else _ours(record, places, how)
        return
    for line in csv_rows.read(text, survey, now=how.now):
        if isinstance(line, Rejection):
            yield line
        elif line.status in _MAILABLE:
            yield None
        else:
            cause = line.cause or how.cause
            yield _Entry(line.address, Grounds(cause, suppression.RULES[cause].meaning, how.source))


def _ours(record: Record, places: dict[str, int], how: Import) -> _Entry | Rejection:
    def cell(name: str) -> str:
        index = places.get(name, len(record.cells))
        return cells.plain(record.cells[index]) if index < len(record.cells) else ""

    try:
        cause = _cause(cell("cause"), how)
        since = _since(cell("created at"), how)
        reason = _legible(cell("reason")) or suppression.RULES[cause].meaning
        grounds = Grounds(cause, reason, _legible(cell("source")) or how.source, since)
        if not cell("address") and cell("hash"):
            return _Entry(_fingerprint(cell("hash")), grounds, is_hash=True)
        return _Entry(_named(cell("address"), cause), grounds)
    except InvalidInput as exc:
        return Rejection(record.line, exc.message, record.cells)


def _cause(word: str, how: Import) -> Cause:
    if not word:
        return how.cause
    try:
        return Cause(cells.key(word).replace(" ", "-"))
    except ValueError:
        causes = ", ".join(Cause)
        raise InvalidInput(f"{word[:100]!r} is no cause; there are {causes}.") from None


def _since(cell: str, how: Import) -> datetime | None:
    if not cell:
        return None
    found = cells.instant(cell)
    if found is None:
        raise InvalidInput(f"{cell[:100]!r} is not a date.")
    return min(found, how.now)


def _named(cell: str, cause: Cause) -> str:
    if cause is Cause.ERASED:
        raise InvalidInput("Of an erased person there is a hash, and no address.")
    return cells.address(cell, is_guess=False)


def _fingerprint(cell: str) -> str:
    if len(cell) != tokens.FINGERPRINT_LENGTH or not _HASH.issuperset(cell):
        raise InvalidInput(f"{cell[:100]!r} is no hash of ours.")
    return cell


def _legible(cell: str) -> str:
    words = " ".join(cell.split())[:_LONGEST]
    if words.isprintable():
        return words
    return "".join(letter for letter in words if letter.isprintable())


def _batches(
    lines: Iterator[_Entry | Rejection | None],
    how: Import,
    tally: ListTally,
    reject: Callable[[Rejection], None],
) -> Iterator[dict[str, _Entry]]:
    """Yield batches that contain each address once, with its gravest cause."""
    batch: dict[str, _Entry] = {}
    for line in lines:
        tally.read += 1
        if line is None:
            tally.mailable += 1
        elif isinstance(line, Rejection):
            tally.rejected += 1
            reject(line)
        elif (before := batch.get(line.address)) is not None:
            tally.known += 1
            batch[line.address] = max(before, line, key=_gravity)
        else:
            batch[line.address] = line
            if len(batch) >= how.batch:
                yield batch
                batch = {}
    if batch:
        yield batch


def _gravity(entry: _Entry) -> int:
    return suppression.gravity(entry.grounds.cause)


def _write(engine: Engine, batch: dict[str, _Entry], how: Import) -> int:
    by_address, by_hash = _parted(batch)
    with sessions.writing(engine) as session:
        added = suppress.suppress_each(session, by_address, now=how.now, keyring=how.keyring)
        return added + suppression.suppress_hashes(session, by_hash, now=how.now)


def _count(engine: Engine, batch: dict[str, _Entry], how: Import) -> int:
    by_address, by_hash = _parted(batch)
    with sessions.reading(engine) as session:
        known = suppression.suppressed_among(session, by_address, keyring=how.keyring)
        return len(batch) - len(known) - len(suppression.known_hashes(session, by_hash))


def _parted(batch: dict[str, _Entry]) -> tuple[dict[str, Grounds], dict[str, Grounds]]:
    by_address = {key: one.grounds for key, one in batch.items() if not one.is_hash}
    by_hash = {key: one.grounds for key, one in batch.items() if one.is_hash}
    return by_address, by_hash
