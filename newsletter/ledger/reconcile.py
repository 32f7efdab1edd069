"""Settles unknown deliveries as accepted by a relay's log, without another try.

Idempotent, and safe while workers run: only rows in state unknown change. Each batch is one
transaction; a batch without an unknown delivery writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import BinaryIO

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit
from newsletter.db import session as sessions
from newsletter.ledger import books, relaylog
from newsletter.ledger.relaylog import Entry
from newsletter.models import State

#: Maximum number of entries looked up in one statement.
BATCH = 5_000
#: Maximum octets of a line; Postfix writes at most 2,000. Longer lines are ignored.
_LONGEST_LINE = 8_192


@dataclass
class ReconcileTally:
    """Counts of a run over a list or a log."""

    #: Unknown deliveries before the run.
    unknown_before: int = 0
    #: Unknown deliveries that the run has settled as accepted.
    accepted: int = 0
    #: Entries whose delivery was not unknown, or no longer is.
    already_settled: int = 0
    #: Entries that match no delivery.
    not_ours: int = 0
    lines: int = 0

    @property
    def still_unknown(self) -> int:
        """Unknown deliveries after the run."""
        return self.unknown_before - self.accepted

    @property
    def entries(self) -> int:
        """Messages in the list or the log."""
        return self.accepted + self.already_settled + self.not_ours


def run(
    engine: Engine,
    stream: BinaryIO,
    *,
    now: datetime,
    actor: str,
    is_rehearsal: bool = False,
    progress: Callable[[ReconcileTally], None] = lambda _: None,
) -> ReconcileTally:
    """Settle the deliveries listed in a stream; a rehearsal only counts them."""
    tally = ReconcileTally()
    with sessions.reading(engine) as session:
        tally.unknown_before = books.count_in(session, State.UNKNOWN)
    lookup = _Lookup()
    entries = relaylog.read(_lines(stream, tally))
    while batch := list(islice(entries, BATCH)):
        with sessions.reading(engine) as session:
            replies = lookup.unknown_among(session, batch, tally)
        if replies and not is_rehearsal:
            with sessions.writing(engine) as session:
                settled = books.reconcile(session, replies=replies, now=now)
            # The difference was settled by another process since the look-up.
            tally.already_settled += len(replies) - len(settled)
            tally.accepted += len(settled)
        else:
            tally.accepted += len(replies)
        progress(tally)
    if tally.accepted and not is_rehearsal:
        with sessions.writing(engine) as session:
            settled_now = {"deliveries": f"{tally.accepted:,} accepted"}
            audit.record(session, "delivery.reconcile", settled_now, actor=actor, at=now)
    return tally


class _Lookup:
    """Finds the delivery of each entry, and returns each delivery once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._by_queue_id: dict[str, tuple[int, State] | None] | None = None

    def unknown_among(
        self, session: Session, batch: list[Entry], tally: ReconcileTally
    ) -> dict[int, str]:
        """Return the new replies of a batch's unknown deliveries, by id; count the rest."""
        named = {entry.message_id for entry in batch if entry.message_id}
        by_message_id = books.find(session, sorted(named)) if named else {}
        replies = {}
        for entry in batch:
            if entry.message_id:
                found = by_message_id.get(entry.message_id)
            else:
                found = self._by_reply(session, entry.queue_id) if entry.queue_id else None
            if found is None:
                tally.not_ours += 1
            elif found[1] is not State.UNKNOWN or found[0] in self._seen:
                tally.already_settled += 1
            else:
                self._seen.add(found[0])
                replies[found[0]] = _reply(entry)
        return replies

    def _by_reply(self, session: Session, queue_id: str) -> tuple[int, State] | None:
        """Return the one delivery whose reply has this queue id.

        None if there are several: queue ids are reused, so the match would be ambiguous.
        """
        if self._by_queue_id is None:
            self._by_queue_id = {}
            for one, state, reply in books.replies(session):
                for each in relaylog.queue_ids(reply):
                    before = self._by_queue_id.setdefault(each, (one, state))
                    if before is not None and before[0] != one:
                        self._by_queue_id[each] = None
        return self._by_queue_id.get(queue_id)


def _reply(entry: Entry) -> str:
    queued = f", queued as {entry.queue_id}" if entry.queue_id else ""
    return f"reconciled with the mail server's log{queued}"


def _lines(stream: BinaryIO, tally: ReconcileTally) -> Iterator[bytes]:
    """Yield the lines of a stream of any content, without those that are too long."""
    is_begun = True
    while octets := stream.readline(_LONGEST_LINE):
        is_ended = octets.endswith(b"\n")
        if is_begun:
            tally.lines += 1
            if is_ended or len(octets) < _LONGEST_LINE:
                yield octets
        is_begun = is_ended
