"""Imports subscribers from a CSV file of any size, in constant memory, one transaction per batch.

Nothing is written before all states of the file are understood. Idempotent, also after a kill:
known subscribers stay as they are. An import never reactivates subscribers who left, were
suppressed or erased, and never changes a cadence. If files have several states of one subscriber,
the strictest counts, unless the subscriber has chosen another one here.
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
from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import Status
from newsletter.subscribers import (
    consent,
    csv_rows,
    preferences,
    signup,
    store,
    suppress,
)
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.csv_rows import Choice, Entry, Rejection, Survey
from newsletter.subscribers.csv_rows.states import Standing
from newsletter.subscribers.locking import locked_subscribers
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

#: Subscribers per transaction, since a durable commit costs as much as some hundred inserts.
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
#: The states that each state in a file replaces, for subscribers known only by imports.
_LESS_STRICT = {
    Status.UNSUBSCRIBED: [Status.ACTIVE, Status.PAUSED, Status.PENDING],
    Status.PENDING: [Status.ACTIVE, Status.PAUSED],
    Status.PAUSED: [Status.ACTIVE],
}
#: States of a line that no other line of the file may make active.
_INACTIVE = (Status.PENDING, Status.UNSUBSCRIBED)


@dataclass
class ImportTally:
    """The lines of a file by result; `read` is the sum of all others except `unstated`."""

    read: int = 0
    added: int = 0
    #: Known subscribers with a new state: active because of `confirmed`, or stricter because the
    #: file has a stricter state than an earlier import.
    updated: int = 0
    #: Known subscribers without a change, and lines that repeat an address.
    unchanged: int = 0
    #: Addresses that must not be mailed.
    suppressed: int = 0
    rejected: int = 0
    #: The part of `added` that is pending because the file has no state for them.
    unstated: int = 0


@dataclass(frozen=True, kw_only=True)
class Import:
    """The options of an import."""

    #: The source in the record of consent: `import readers.csv`.
    source: str
    now: datetime
    keyring: Keyring
    #: The cadence for lines without one.
    cadence: Cadence = Cadence.WEEKLY
    #: The operator confirms that subscribers without a state in the file have agreed; those of
    #: them who are pending here become active. Lines whose state is pending stay pending.
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
    """Import the subscribers of a CSV file from a seekable stream.

    Calls `surveyed` before anything is written, `reject` for each line that cannot be used, and
    `progress` after each committed batch. Raises InvalidInput, and writes nothing, if a state in
    the file is not understood.
    """
    tally = ImportTally()
    start = stream.tell()
    survey = csv_rows.survey(stream, how.choice)
    surveyed(survey)
    inactive: set[int] = set()
    with lines(stream, start, survey, how) as read:
        for batch in batches(read, how, tally, reject):
            inactive.update(hash(e.address) for e in batch.values() if e.status in _INACTIVE)
            with sessions.writing(engine) as session:
                found = _import(session, batch, how)
            _count(tally, found, len(batch))
            progress(tally)
    if how.confirmed and tally.unchanged:
        with lines(stream, start, survey, how) as read:
            for batch in batches(read, how, ImportTally(), lambda _: None):
                with sessions.writing(engine) as session:
                    confirmed = _confirm(session, batch, how, inactive)
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
    """Count, without writing, the states that an import into an empty database would give.

    Keeps the hash of each address in memory, to count one that the file repeats only once.
    """
    counts: Counter[str] = Counter()
    found: dict[int, tuple[Standing, Status]] = {}
    start = stream.tell()
    survey = csv_rows.survey(stream, how.choice)
    surveyed(survey)
    with lines(stream, start, survey, how) as read:
        for line in read:
            if isinstance(line, Rejection):
                counts["rejected"] += 1
                reject(line)
            else:
                became = line.standing, status_of(line, how)
                found[hash(line.address)] = max(found.get(hash(line.address), became), became)
    counts.update(status for _, status in found.values())
    return counts


@contextmanager
def lines(
    stream: BinaryIO, start: int, survey: Survey, how: Import
) -> Iterator[Iterator[Entry | Rejection]]:
    """Yield an iterator over the lines of a file, from its start."""
    stream.seek(start)
    text = csv_rows.decode(stream, survey.encoding)
    try:
        yield csv_rows.read(text, survey, now=how.now)
    finally:
        text.detach()


#: The lines of one transaction, by address.
_Batch = dict[str, Entry]


@dataclass(frozen=True)
class _Found:
    """The counts of one batch."""

    added: int
    updated: int
    suppressed: int
    unstated: int


def batches(
    read: Iterator[Entry | Rejection],
    how: Import,
    tally: ImportTally,
    reject: Callable[[Rejection], None],
) -> Iterator[_Batch]:
    """Yield batches; if an address is repeated in a batch, the strictest state counts."""
    batch: _Batch = {}
    for line in read:
        tally.read += 1
        if isinstance(line, Rejection):
            tally.rejected += 1
            reject(line)
            continue
        before = batch.get(line.address)
        if before is not None:
            tally.unchanged += 1
            if line.standing > before.standing:
                batch[line.address] = line
            continue
        if len(batch) >= how.batch:
            yield batch
            batch = {}
        batch[line.address] = line
    if batch:
        yield batch


def _count(tally: ImportTally, found: _Found, size: int) -> None:
    tally.added += found.added
    tally.updated += found.updated
    tally.suppressed += found.suppressed
    tally.unstated += found.unstated
    tally.unchanged += size - found.added - found.updated - found.suppressed


def _import(session: Session, batch: _Batch, how: Import) -> _Found:
    """Write one batch, with one statement per step.

    1. Suppress addresses that the file has as blocked.
    2. Skip suppressed and erased addresses.
    3. Insert unknown subscribers, with their consents.
    4. Give subscribers known by imports alone the stricter state of the file: paused, pending or
       unsubscribed.
    """
    _lock(session, batch, how)
    _suppress(session, [e for e in batch.values() if e.cause is not None], how)
    suppressed = suppression.suppressed_among(session, batch, keyring=how.keyring)
    # Lock order: by address, or two concurrent imports may deadlock.
    mailable = [batch[a] for a in sorted(batch) if a not in suppressed]
    added = updated = unstated = 0
    for (status, is_stated), entries in _grouped(mailable, how):
        new = _add(session, entries, status, how)
        added += new
        if status is Status.PENDING and not is_stated:
            unstated += new
        elif status in _LESS_STRICT and new < len(entries):
            updated += _restrict(session, entries, status, how)
    return _Found(added, updated, suppressed=len(suppressed), unstated=unstated)


def _lock(session: Session, batch: _Batch, how: Import) -> None:
    """Lock every known subscriber of a batch that a later step may change.

    Lock order: by id for all steps together, or a concurrent change of two of these readers may
    deadlock.
    """
    restricted = [e.address for e in batch.values() if status_of(e, how) is not Status.ACTIVE]
    if restricted:
        locked_subscribers(session, store.are_in(restricted, list(Status)), ends=True)


def _grouped(
    entries: list[Entry], how: Import
) -> Iterable[tuple[tuple[Status, bool], list[Entry]]]:
    groups: defaultdict[tuple[Status, bool], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[status_of(entry, how), entry.status is not None].append(entry)
    return groups.items()


def _suppress(session: Session, blocked: list[Entry], how: Import) -> None:
    """Suppress addresses; those of our own export also become suppressed subscribers."""
    if not blocked:
        return
    addresses = [entry.address for entry in blocked]
    before = suppression.suppressed_among(session, addresses, keyring=how.keyring)
    grounds = {entry.address: _grounds(entry, how) for entry in blocked}
    suppress.suppress_each(session, grounds, now=how.now, keyring=how.keyring)
    # An address that was erased here must not be stored again.
    ours = [entry for entry in blocked if entry.ours and entry.address not in before]
    if ours:
        _add(session, ours, Status.SUPPRESSED, how)


def _grounds(entry: Entry, how: Import) -> Grounds:
    assert entry.cause is not None
    return Grounds(entry.cause, _REASON.get(entry.cause, "imported as blocked"), how.source)


def _add(session: Session, entries: list[Entry], status: Status, how: Import) -> int:
    """Insert the unknown subscribers of one status, and return how many."""
    inserted = store.insert_missing(
        session, _columns(entries, status, how), status=status, now=how.now
    )
    # While the rows are locked, those are deleted whose address another transaction has
    # suppressed since the check. On SQLite with its single writer this cannot happen.
    if status is not Status.SUPPRESSED and not is_sqlite(session.connection()):
        addresses = [entry.address for entry in entries]
        late = suppression.suppressed_among(session, addresses, keyring=how.keyring)
        store.remove(session, inserted, late, now=how.now)
    origin = Origin(how.source, wording=_WORDING[status])
    said = {e.address: e.evidence for e in entries if any(e.evidence)}
    return consent.record_all(
        session, inserted, Action.IMPORTED, origin=origin, now=how.now, evidence=said
    )


def _columns(entries: list[Entry], status: Status, how: Import) -> dict[str, Sequence[Any]]:
    """Return the values of each column of new subscribers."""
    cadences = [entry.cadence or how.cadence for entry in entries]
    columns: dict[str, Sequence[Any]] = {
        "public_id": tokens.new_public_ids(len(entries)),
        "address": [entry.address for entry in entries],
        # Plain strings: sqlite3 binds members of an enumeration more slowly.
        "cadence": list(map(str.__str__, cadences)),
        "language": [entry.language for entry in entries],
        "timezone": [entry.timezone for entry in entries],
    }
    if any(entry.ours or entry.evidence.since for entry in entries):
        begun = how.now if status in {Status.ACTIVE, Status.PAUSED} else None
        columns["subscribed_at"] = [_subscribed_at(entry, begun) for entry in entries]
    if any(entry.ours for entry in entries):
        columns["created_at"] = [e.ours.created_at if e.ours else how.now for e in entries]
    if status is Status.PAUSED:
        columns["paused_until"] = [entry.paused_until for entry in entries]
        # The watermark that a reader who pauses here would get, to catch up from.
        columns["watermark"] = [preferences.initial_watermark(one, how.now) for one in cadences]
    return columns


def _subscribed_at(entry: Entry, begun: datetime | None) -> datetime | None:
    """Return when a consent began: its confirmation, or else the sign-up.

    `begun` is the time at which it begins without evidence; None if there is no consent then.
    """
    if entry.ours:
        return entry.ours.subscribed_at
    return begun and (entry.evidence.since or begun)


def _restrict(session: Session, entries: list[Entry], status: Status, how: Import) -> int:
    """Give subscribers known only by imports the stricter `status`; return how many."""
    addresses = [entry.address for entry in entries]
    known = store.are_in(addresses, _LESS_STRICT[status]) & store.are_imported()
    readers = locked_subscribers(session, known, ends=True)
    if not readers:
        return 0
    theirs = store.with_ids([reader.id for reader in readers])
    reason = Reason.UNSUBSCRIBED
    if status is Status.PAUSED:
        until = {entry.address: entry.paused_until for entry in entries}
        _pause(session, until, readers, how.now)
        reason = Reason.PAUSED
    else:
        store.change(session, theirs, {"status": status, "paused_until": None}, now=how.now)
    action = Action.UNSUBSCRIBED if status is Status.UNSUBSCRIBED else Action.IMPORTED
    origin = Origin(how.source, wording=_WORDING[status])
    consent.record_all(session, theirs, action, origin=origin, now=how.now)
    gone = [reader.public_id for reader in readers]
    cancellation.cancel(session, references=gone, reason=reason, now=how.now)
    return len(readers)


def _pause(
    session: Session,
    until: Mapping[str, datetime | None],
    readers: Sequence[Row[Any]],
    now: datetime,
) -> None:
    """Pause readers one at a time, because each has a watermark of their own to catch up from."""
    for reader in readers:
        subscriber = store.find(session, reader.address)
        assert subscriber is not None
        preferences.settle_watermark(session, subscriber)
        store.move(session, subscriber, status=Status.PAUSED, now=now)
        subscriber.paused_until = until[reader.address]
    session.flush()


def _confirm(session: Session, batch: _Batch, how: Import, inactive: set[int]) -> int:
    """Make the pending subscribers of a batch active, and return how many.

    A second pass, because `inactive` has the hashes of all addresses that any line keeps from
    becoming active. A hash collision only leaves a subscriber pending.
    """
    suppressed = suppression.suppressed_among(session, batch, keyring=how.keyring)
    entries = [e for a, e in sorted(batch.items()) if a not in suppressed]
    vouched = [
        e.address
        for e in entries
        if status_of(e, how) is Status.ACTIVE and hash(e.address) not in inactive
    ]
    waiting = store.are_in(vouched, [Status.PENDING])
    pending = locked_subscribers(session, waiting, ends=False)
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


def status_of(entry: Entry, how: Import) -> Status:
    """Return the status of a line; without one in the file or from the operator, pending."""
    if entry.status is None:
        return Status.ACTIVE if how.confirmed else Status.PENDING
    return entry.status
