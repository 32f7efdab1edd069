"""Settles unknown deliveries by what a relay says it has accepted: no try, and nobody to blame.

Safe to run twice, and beside workers: only what is unknown changes. A batch is a transaction, and
a batch that names nothing unknown is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import BinaryIO

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter.db import session as sessions
from newsletter.ledger import queue, relaylog
from newsletter.ledger.relaylog import Entry
from newsletter.models import State

#: What is looked up at once.
BATCH = 5_000
#: Postfix writes lines of 2,000 octets at most. A longer one is no line of a log or a list.
_LONGEST_LINE = 8_192


@dataclass
class ReconcileTally:
    """What became of the entries of a list or a log."""

    #: How many deliveries were unknown before.
    unknown_before: int = 0
    #: How many of them are accepted now.
    accepted: int = 0
    #: Entries whose delivery was not, or is not any more, unknown.
    already_settled: int = 0
    #: Entries that name no delivery here.
    not_ours: int = 0
    lines: int = 0

    @property
    def still_unknown(self) -> int:
        """How many are unknown after it."""
        return self.unknown_before - self.accepted

    @property
    def entries(self) -> int:
        """How many messages the list or the log has spoken of."""
        return self.accepted + self.already_settled + self.not_ours


def run(
    engine: Engine,
    stream: BinaryIO,
    *,
    now: datetime,
    is_rehearsal: bool = False,
    progress: Callable[[ReconcileTally], None] = lambda _: None,
) -> ReconcileTally:
    """Settle what a stream names; in a rehearsal only count it."""
    tally = ReconcileTally()
    with sessions.reading(engine) as session:
        tally.unknown_before = queue.count_in(session, State.UNKNOWN)
    known = _Known()
    entries = relaylog.read(_lines(stream, tally))
    while batch := list(islice(entries, BATCH)):
        with sessions.reading(engine) as session:
            replies = known.unknown_among(session, batch, tally)
        if replies and not is_rehearsal:
            with sessions.writing(engine) as session:
                settled = queue.reconcile(session, replies=replies, now=now)
            # Somebody else was a moment before us.
            tally.already_settled += len(replies) - len(settled)
            tally.accepted += len(settled)
        else:
            tally.accepted += len(replies)
        progress(tally)
    return tally


class _Known:
    """Which deliveries the entries name, each of them once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._by_queue_id: dict[str, tuple[int, State] | None] | None = None

    def unknown_among(
        self, session: Session, batch: list[Entry], tally: ReconcileTally
    ) -> dict[int, str]:
        """Return the unknown deliveries of a batch with their new replies; count the others."""
        named = {entry.message_id for entry in batch if entry.message_id}
        by_message_id = queue.find(session, sorted(named)) if named else {}
        replies = {}
        for entry in batch:
            if entry.message_id:
                found = by_message_id.get(entry.message_id)
            else:
                found = self._named_by(session, entry.queue_id) if entry.queue_id else None
            if found is None:
                tally.not_ours += 1
            elif found[1] is not State.UNKNOWN or found[0] in self._seen:
                tally.already_settled += 1
            else:
                self._seen.add(found[0])
                replies[found[0]] = _reply(entry)
        return replies

    def _named_by(self, session: Session, queue_id: str) -> tuple[int, State] | None:
        """Return the delivery of which a reply names this queue id, if it is one alone.

        Queue ids come again: of two deliveries nobody can say which was meant.
        """
        if self._by_queue_id is None:
            self._by_queue_id = {}
            for one, state, reply in queue.replies(session):
                for each in relaylog.queue_ids(reply):
                    before = self._by_queue_id.setdefault(each, (one, state))
                    if before is not None and before[0] != one:
                        self._by_queue_id[each] = None
        return self._by_queue_id.get(queue_id)


def _reply(entry: Entry) -> str:
    queued = f", queued as {entry.queue_id}" if entry.queue_id else ""
    return f"reconciled with the mail server's log{queued}"


def _lines(stream: BinaryIO, tally: ReconcileTally) -> Iterator[bytes]:
    """Give the lines of a stream, whatever it is; what is longer than any line is left out."""
    is_begun = True
    while octets := stream.readline(_LONGEST_LINE):
        is_ended = octets.endswith(b"\n")
        if is_begun:
            tally.lines += 1
            if is_ended or len(octets) < _LONGEST_LINE:
                yield octets
        is_begun = is_ended
