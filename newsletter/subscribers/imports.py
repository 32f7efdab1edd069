"""Takes readers over from a sheet of any size, in constant memory, a batch a transaction.

Nothing is written before all states of the sheet are understood. Safe to run twice, and to run
again after a kill: who is known stays as they are. An import never brings back those who left, were
suppressed or forgotten, and never changes a reader's cadence. Of several states that sheets give
to one reader the strictest counts, unless the reader has said otherwise here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from sqlalchemy import Engine, Row
from sqlmodel import Session

from newsletter import suppression, throttle, tokens
from newsletter.address import mailbox
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.ledger import queue
from newsletter.models import Status
from newsletter.subscribers import (
    consent,
    csv_rows,
    preferences,
    signup,
    store,
    suppress,
    unsubscribe,
)
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.csv_rows import Choice, Entry, Rejection, Survey
from newsletter.subscribers.csv_rows.states import Standing
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

#: Readers in one transaction: a durable commit costs as much as some hundred inserts.
BATCH = 5_000

_WORDING = {
    Status.ACTIVE: "Imported: the operator says that these readers have asked for the newsletter.",
    Status.PAUSED: "Imported as paused.",
    Status.PENDING: "Imported, not confirmed yet.",
    Status.UNSUBSCRIBED: "Imported as unsubscribed.",
    Status.SUPPRESSED: "Imported as suppressed.",
}
_REASON = {
    Cause.BOUNCE: "imported as bounced",
    Cause.COMPLAINT: "imported as complained",
}
#: What a sheet ends or holds back, of readers who are here by an import alone.
_LESS_STRICT = {
    Status.UNSUBSCRIBED: [Status.ACTIVE, Status.PAUSED, Status.PENDING],
    Status.PENDING: [Status.ACTIVE, Status.PAUSED],
    Status.PAUSED: [Status.ACTIVE],
}


@dataclass
class ImportTally:
    """What became of the lines of a sheet; `read` is the sum of all others but `unstated`."""

    read: int = 0
    added: int = 0
    #: Those who were here and have another state now: active on the operator's word, or held back
    #: because the sheet has them in a stricter state than an import before.
    updated: int = 0
    #: Those who were known, or stand in the sheet twice.
    unchanged: int = 0
    #: Those who must never be mailed, and are not.
    suppressed: int = 0
    rejected: int = 0
    #: Of those added, the pending ones of whom the sheet says no state.
    unstated: int = 0


@dataclass(frozen=True, kw_only=True)
class Import:
    """How to take a sheet over."""

    #: What the record of consent says: `import readers.csv`.
    source: str
    now: datetime
    keyring: Keyring
    #: For readers of whom the sheet says none.
    cadence: Cadence = Cadence.WEEKLY
    #: The operator knows that those of whom the sheet says no state have agreed, and so have those
    #: of them who are pending here. Who is pending in the sheet stays so.
    confirmed: bool = False
    choice: Choice = field(default_factory=Choice)
    batch: int = BATCH


def run(
    engine: Engine,
    stream: BinaryIO,
    how: Import,
    *,
    reject: Callable[[Rejection], None],
    progress: Callable[[ImportTally], None] = lambda _: None,
    surveyed: Callable[[Survey], None] = lambda _: None,
) -> ImportTally:
    """Take over the readers of a sheet, from a stream that can go back.

    `surveyed` is told what the sheet is before anything is written, `reject` of each line that
    cannot be used, `progress` after each batch, when it is safely in the database. Raises
    InvalidInput, and writes nothing, where a state of the sheet is not understood.
    """
    tally = ImportTally()
    start = stream.tell()
    survey = csv_rows.survey(stream, how.choice)
    surveyed(survey)
    held: set[int] = set()
    with _lines(stream, start, survey, how) as lines:
        for batch in _batches(lines, how, tally, reject):
            held.update(hash(e.address) for e in batch.entries.values() if _is_held(e))
            with sessions.writing(engine) as session:
                found = _take_over(session, batch, how)
            _count(tally, found, len(batch))
            progress(tally)
    if how.confirmed and tally.unchanged:
        with _lines(stream, start, survey, how) as lines:
            for batch in _batches(lines, how, ImportTally(), lambda _: None):
                with sessions.writing(engine) as session:
                    confirmed = _confirm(session, batch, how, held)
                tally.updated += confirmed
                tally.unchanged -= confirmed
                progress(tally)
    return tally


def preview(
    stream: BinaryIO,
    how: Import,
    *,
    reject: Callable[[Rejection], None],
    surveyed: Callable[[Survey], None],
) -> Counter[str]:
    """Count what the readers of a sheet would become in an empty database, and write nothing.

    Of each address one number is kept, for those that stand in the sheet more than once.
    """
    counts: Counter[str] = Counter()
    found: dict[int, tuple[Standing, Status]] = {}
    start = stream.tell()
    survey = csv_rows.survey(stream, how.choice)
    surveyed(survey)
    with _lines(stream, start, survey, how) as lines:
        for line in lines:
            if isinstance(line, Rejection):
                counts["rejected"] += 1
                reject(line)
            else:
                became = line.standing, _status(line, how)
                found[hash(line.address)] = max(found.get(hash(line.address), became), became)
    counts.update(status for _, status in found.values())
    return counts


@contextmanager
def _lines(
    stream: BinaryIO, start: int, survey: Survey, how: Import
) -> Iterator[Iterator[Entry | Rejection]]:
    """Give the lines of a sheet from its start."""
    stream.seek(start)
    text = csv_rows.decode(stream, survey.encoding)
    try:
        yield csv_rows.read(text, survey, now=how.now)
    finally:
        text.detach()


@dataclass
class _Batch:
    """Readers of one transaction, each address once."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(frozen=True)
class _Found:
    """What became of one batch."""

    added: int
    updated: int
    suppressed: int
    unstated: int


def _batches(
    lines: Iterator[Entry | Rejection],
    how: Import,
    tally: ImportTally,
    reject: Callable[[Rejection], None],
) -> Iterator[_Batch]:
    """Yield batches; of an address that comes again the strictest state counts."""
    batch = _Batch()
    for line in lines:
        tally.read += 1
        if isinstance(line, Rejection):
            tally.rejected += 1
            reject(line)
            continue
        before = batch.entries.get(line.address)
        if before is not None:
            tally.unchanged += 1
            if line.standing > before.standing:
                batch.entries[line.address] = line
            continue
        if len(batch.entries) >= how.batch:
            yield batch
            batch = _Batch()
        batch.entries[line.address] = line
    if batch.entries:
        yield batch


def _count(tally: ImportTally, found: _Found, size: int) -> None:
    tally.added += found.added
    tally.updated += found.updated
    tally.suppressed += found.suppressed
    tally.unstated += found.unstated
    tally.unchanged += size - found.added - found.updated - found.suppressed


def _is_held(entry: Entry) -> bool:
    """Tell whether a sheet has a reader in a state that no other line of it may lift."""
    return entry.status in {Status.PENDING, Status.UNSUBSCRIBED}


def _take_over(session: Session, batch: _Batch, how: Import) -> _Found:
    """Write one batch, each step in one statement, whatever its size.

    1. Suppress whom the sheet has as blocked. 2. Leave out all who are suppressed or were
    forgotten. 3. Add who is not known, with their consents. 4. Hold back who is here by an import
    alone and left, or never confirmed.
    """
    _suppress(session, [e for e in batch.entries.values() if e.cause is not None], how)
    kept_out = suppression.suppressed_among(session, batch.entries, keyring=how.keyring)
    # In one order, so that two imports at once do not wait for each other.
    welcome = [batch.entries[a] for a in sorted(batch.entries) if a not in kept_out]
    added = updated = unstated = 0
    for (status, is_stated), entries in _grouped(welcome, how):
        new = _add(session, entries, status, how)
        added += new
        if status is Status.PENDING and not is_stated:
            unstated += new
        elif status in _LESS_STRICT and new < len(entries):
            updated += _hold_back(session, entries, status, how)
    return _Found(added, updated, suppressed=len(kept_out), unstated=unstated)


def _grouped(
    entries: list[Entry], how: Import
) -> Iterable[tuple[tuple[Status, bool], list[Entry]]]:
    groups: defaultdict[tuple[Status, bool], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[_status(entry, how), entry.status is not None].append(entry)
    return groups.items()


def _suppress(session: Session, blocked: list[Entry], how: Import) -> None:
    """Suppress addresses; our own export's readers among them become readers again."""
    if not blocked:
        return
    sessions.hold_freeze(session)
    addresses = [entry.address for entry in blocked]
    before = suppression.suppressed_among(session, addresses, keyring=how.keyring)
    grounds = {entry.address: _grounds(entry, how) for entry in blocked}
    suppress.suppress_each(session, grounds, now=how.now, keyring=how.keyring)
    # Who was forgotten here must not come back by name.
    ours = [entry for entry in blocked if entry.ours and entry.address not in before]
    if ours:
        _add(session, ours, Status.SUPPRESSED, how)


def _grounds(entry: Entry, how: Import) -> Grounds:
    assert entry.cause is not None
    return Grounds(entry.cause, _REASON.get(entry.cause, "imported as blocked"), how.source)


def _add(session: Session, entries: list[Entry], status: Status, how: Import) -> int:
    """Add those of one status who are not known, and return how many they are."""
    inserted = store.insert_missing(
        session, _rows(entries, status, how), status=status, now=how.now
    )
    # With the rows in hand: who was suppressed or forgotten meanwhile is taken out again. SQLite
    # has one writer, so there nobody can have been.
    if status is not Status.SUPPRESSED and not is_sqlite(session.connection()):
        addresses = [entry.address for entry in entries]
        late = suppression.suppressed_among(session, addresses, keyring=how.keyring)
        store.remove(session, inserted, late)
    origin = Origin(how.source, wording=_WORDING[status])
    said = {e.address: e.evidence for e in entries if any(e.evidence)}
    return consent.record_all(
        session, inserted, Action.IMPORTED, origin=origin, now=how.now, evidence=said
    )


def _rows(entries: list[Entry], status: Status, how: Import) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "public_id": public_id,
            "address": entry.address,
            "cadence": entry.cadence or how.cadence,
            "language": entry.language,
            "timezone": entry.timezone,
        }
        for public_id, entry in zip(tokens.new_public_ids(len(entries)), entries, strict=True)
    ]
    if any(entry.ours or entry.evidence.since for entry in entries):
        for row, entry in zip(rows, entries, strict=True):
            row["subscribed_at"] = _subscribed_at(entry, status, how)
    if any(entry.ours for entry in entries):
        for row, entry in zip(rows, entries, strict=True):
            row["created_at"] = entry.ours.created_at if entry.ours else how.now
    if status is Status.PAUSED:
        for row, entry in zip(rows, entries, strict=True):
            row["paused_until"] = entry.paused_until
            # They catch up like those who pause here.
            row["watermark"] = preferences.first_place(row["cadence"], how.now)
    return rows


def _subscribed_at(entry: Entry, status: Status, how: Import) -> datetime | None:
    """Return when a consent began: when it was confirmed, else when it was given."""
    if entry.ours:
        return entry.ours.subscribed_at
    return entry.evidence.since or how.now if status in {Status.ACTIVE, Status.PAUSED} else None


def _hold_back(session: Session, entries: list[Entry], status: Status, how: Import) -> int:
    """Give readers whom only imports know the stricter status of this one; return how many."""
    addresses = [entry.address for entry in entries]
    sessions.hold_freeze(session)
    readers = store.lock_imported(session, addresses, statuses=_LESS_STRICT[status])
    if not readers:
        return 0
    theirs = store.with_ids([reader.id for reader in readers])
    reason = unsubscribe.REASON
    if status is Status.PAUSED:
        _pause(session, {entry.address: entry.paused_until for entry in entries}, readers)
        reason = preferences.PAUSED
    else:
        store.change(session, theirs, {"status": status, "paused_until": None}, now=how.now)
    action = Action.UNSUBSCRIBED if status is Status.UNSUBSCRIBED else Action.IMPORTED
    origin = Origin(how.source, wording=_WORDING[status])
    consent.record_all(session, theirs, action, origin=origin, now=how.now)
    for reader in readers:
        queue.cancel(session, reference=reader.public_id, reason=reason, now=how.now)
    return len(readers)


def _pause(
    session: Session, until: Mapping[str, datetime | None], readers: Sequence[Row[Any]]
) -> None:
    """Pause readers one at a time: each keeps the place from which they catch up."""
    for reader in readers:
        subscriber = store.find(session, reader.address)
        assert subscriber is not None
        preferences.keep_place(session, subscriber)
        subscriber.status = Status.PAUSED
        subscriber.paused_until = until[reader.address]
    session.flush()


def _confirm(session: Session, batch: _Batch, how: Import, held: set[int]) -> int:
    """Make those of a batch active who were pending, and return how many they are.

    After the last batch: `held` has the hashes of the addresses that any line holds back, and a
    collision only leaves somebody pending.
    """
    kept_out = suppression.suppressed_among(session, batch.entries, keyring=how.keyring)
    entries = [e for a, e in sorted(batch.entries.items()) if a not in kept_out]
    vouched = [
        e.address
        for e in entries
        if _status(e, how) is Status.ACTIVE and hash(e.address) not in held
    ]
    pending = store.lock(session, vouched, statuses=[Status.PENDING])
    if not pending:
        return 0
    theirs = store.with_ids([reader.id for reader in pending])
    begun = {"status": Status.ACTIVE, "watermark": None, "subscribed_at": how.now}
    store.change(session, theirs, begun, now=how.now)
    mailboxes = map(mailbox, vouched)
    throttle.reset(session, signup.UNCONFIRMED, *mailboxes, keyring=how.keyring)
    origin = Origin(how.source, wording=_WORDING[Status.ACTIVE])
    said = {e.address: e.evidence for e in entries if any(e.evidence)}
    return consent.record_all(
        session, theirs, Action.CONFIRMED, origin=origin, now=how.now, evidence=said
    )


def _status(entry: Entry, how: Import) -> Status:
    """Return what a reader becomes: without the sheet's or the operator's word nobody is mailed."""
    if entry.status is None:
        return Status.ACTIVE if how.confirmed else Status.PENDING
    return entry.status
