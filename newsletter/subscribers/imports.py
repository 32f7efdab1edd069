"""Takes readers over from a sheet of any size, in constant memory, a batch a transaction.

Safe to run twice, and to run again after a kill: who is known stays as they are. An import never
brings back those who left, were suppressed or forgotten, and never changes a reader's cadence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import suppression, throttle, tokens
from newsletter.address import mailbox
from newsletter.cadence import Cadence
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.models import Status
from newsletter.subscribers import consent, preferences, sheet, signup, store, suppress
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.sheet import Entry, Rejection
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

#: Readers in one transaction: a durable commit costs as much as some hundred inserts.
BATCH = 5_000

_WORDING = {
    Status.ACTIVE: "Imported: the operator says that these readers have asked for the newsletter.",
    Status.PAUSED: "Imported as paused.",
    Status.PENDING: "Imported, not confirmed yet.",
    Status.UNSUBSCRIBED: "Imported as unsubscribed.",
}


@dataclass
class Tally:
    """What became of the lines of a sheet; `read` is the sum of all others."""

    read: int = 0
    added: int = 0
    #: Those who were pending, and are active now on the operator's word.
    updated: int = 0
    #: Those who were known, or stand in the sheet twice.
    unchanged: int = 0
    #: Those who must never be mailed, and are not.
    suppressed: int = 0
    rejected: int = 0


@dataclass(frozen=True, kw_only=True)
class Import:
    """How to take a sheet over."""

    #: What the record of consent says: `import readers.csv`.
    source: str
    now: datetime
    keyring: Keyring
    #: For readers of whom the sheet says none.
    cadence: Cadence = Cadence.WEEKLY
    #: The operator knows that those who are pending, in the sheet or here, have agreed too.
    confirmed: bool = False
    batch: int = BATCH


def run(
    engine: Engine,
    stream: BinaryIO,
    how: Import,
    *,
    reject: Callable[[Rejection], None],
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Take over the readers of a sheet; `reject` is told of each line that cannot be used.

    `progress` is told after each batch, when it is safely in the database.
    """
    tally = Tally()
    text = sheet.decode(stream)
    try:
        for batch in _batches(sheet.read(text), how, tally, reject):
            with sessions.writing(engine) as session:
                found = _take_over(session, batch, how)
            _count(tally, found, len(batch))
            progress(tally)
    finally:
        text.detach()
    return tally


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


def _batches(
    lines: Iterator[Entry | Rejection],
    how: Import,
    tally: Tally,
    reject: Callable[[Rejection], None],
) -> Iterator[_Batch]:
    """Yield batches; an address that comes again with another status waits for the next one."""
    batch = _Batch()
    for line in lines:
        tally.read += 1
        if isinstance(line, Rejection):
            tally.rejected += 1
            reject(line)
            continue
        before = batch.entries.get(line.address)
        if before is not None and before.status == line.status:
            tally.unchanged += 1
            continue
        if before is not None or len(batch) >= how.batch:
            yield batch
            batch = _Batch()
        batch.entries[line.address] = line
    if batch.entries:
        yield batch


def _count(tally: Tally, found: _Found, size: int) -> None:
    tally.added += found.added
    tally.updated += found.updated
    tally.suppressed += found.suppressed
    tally.unchanged += size - found.added - found.updated - found.suppressed


def _take_over(session: Session, batch: _Batch, how: Import) -> _Found:
    """Write one batch, each step in one statement, whatever its size.

    1. Suppress whom the sheet has as blocked. 2. Leave out all who are suppressed or were
    forgotten. 3. Add who is not known, with their consents. 4. Confirm who was pending.
    """
    blocked = [e.address for e in batch.entries.values() if e.status is Status.SUPPRESSED]
    grounds = Grounds(Cause.IMPORTED, "imported as blocked", how.source)
    suppress.suppress_all(session, blocked, grounds=grounds, now=how.now, keyring=how.keyring)
    kept_out = suppression.suppressed_among(session, batch.entries, keyring=how.keyring)
    # In one order, so that two imports at once do not wait for each other.
    welcome = [batch.entries[a] for a in sorted(batch.entries) if a not in kept_out]
    added = sum(_add(session, of_one, status, how) for status, of_one in _grouped(welcome, how))
    updated = _confirm(session, welcome, how) if how.confirmed and added < len(welcome) else 0
    return _Found(added=added, updated=updated, suppressed=len(kept_out))


def _grouped(entries: list[Entry], how: Import) -> Iterable[tuple[Status, list[Entry]]]:
    groups: defaultdict[Status, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[_status(entry, how)].append(entry)
    return groups.items()


def _add(session: Session, entries: list[Entry], status: Status, how: Import) -> int:
    """Add those of one status who are not known, and return how many they are."""
    rows: list[dict[str, Any]] = [
        {
            "public_id": public_id,
            "address": entry.address,
            "cadence": entry.cadence or how.cadence,
        }
        for public_id, entry in zip(tokens.new_public_ids(len(entries)), entries, strict=True)
    ]
    if status is Status.PAUSED:
        for row, entry in zip(rows, entries, strict=True):
            row["paused_until"] = entry.paused_until
            # They catch up like those who pause here.
            row["watermark"] = preferences.first_place(row["cadence"], how.now)
    inserted = store.insert_missing(session, rows, status=status, now=how.now)
    # With the rows in hand: who was suppressed or forgotten meanwhile is taken out again. SQLite
    # has one writer, so there nobody can have been.
    if not is_sqlite(session.connection()):
        addresses = [entry.address for entry in entries]
        late = suppression.suppressed_among(session, addresses, keyring=how.keyring)
        store.remove(session, inserted, late)
    origin = Origin(how.source, wording=_WORDING[status])
    return consent.record_all(session, inserted, Action.IMPORTED, origin=origin, now=how.now)


def _confirm(session: Session, entries: list[Entry], how: Import) -> int:
    """Make those active who were pending, and return how many they are."""
    vouched = [e.address for e in entries if _status(e, how) is Status.ACTIVE]
    pending = store.lock(session, vouched, statuses=[Status.PENDING])
    if not pending:
        return 0
    theirs = store.with_ids([reader.id for reader in pending])
    begun = {"status": Status.ACTIVE, "watermark": None, "subscribed_at": how.now}
    store.change(session, theirs, begun, now=how.now)
    mailboxes = map(mailbox, vouched)
    throttle.reset(session, signup.UNCONFIRMED, *mailboxes, keyring=how.keyring)
    origin = Origin(how.source, wording=_WORDING[Status.ACTIVE])
    return consent.record_all(session, theirs, Action.CONFIRMED, origin=origin, now=how.now)


def _status(entry: Entry, how: Import) -> Status:
    """Return what a reader becomes: without the sheet's or the operator's word nobody is mailed."""
    if entry.status in {None, Status.PENDING}:
        return Status.ACTIVE if how.confirmed else Status.PENDING
    assert entry.status is not None
    return entry.status
