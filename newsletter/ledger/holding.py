"""The rows that each worker holds: those claimed, and those whose bodies may be leaving.

A row changes once for each try, when its outcome is known. Until then its state is part of the
worker's registration: `holding.ids` has the ids of all rows that the worker has claimed, and
`worker.in_flight` those that are marked, at most one for each connection. Both arrays are replaced
whole, so a transaction that is repeated because the reply to its commit was lost changes nothing.

Invariants:

1. An id is held by at most one worker: claims are serialised (`lock_claims`), and skip ids that any
   worker holds.
2. An id that is in flight is also held.
3. Each transaction of a worker begins by locking its own registration (`Hold.begin`). A worker that
   was taken for crashed has no registration any more, and cannot write anything.

The views `held` and `in_flight` have one row for each id of all workers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, case, column, delete, select, table, text, update
from sqlmodel import Session, col

from newsletter import tally
from newsletter.db.dialects import Statement
from newsletter.db.engine import is_sqlite
from newsletter.errors import NewsletterError
from newsletter.ledger import statements
from newsletter.models import Delivery, Holding, State, Worker
from newsletter.models.delivery import OPEN

_held = table("held", column("delivery_id"))
_in_flight = table("in_flight", column("delivery_id"))
_state = col(Delivery.state)

#: Key of the advisory lock that serialises claims on PostgreSQL; an arbitrary number.
_CLAIMS = 0x6E6C_636C_6169_6D73


class LeaseLost(NewsletterError):
    """Another worker has taken this one for dead and taken over its rows."""


class _Arrays(NamedTuple):
    """The committed state of a worker."""

    claimed: frozenset[int] = frozenset()
    in_flight: frozenset[int] = frozenset()
    #: The column `holding.ids`: claimed rows, and rows that have ended since it was written.
    stored: frozenset[int] = frozenset()


class Hold:
    """The rows of one worker: the last committed state, and the state after the next commit.

    A transaction calls `begin`, then any of the other methods, then `store`; after its commit
    `keep` is called. A transaction that failed begins again from the state last kept.
    """

    def __init__(self, worker_id: int) -> None:
        self.worker_id = worker_id
        self._kept = _Arrays()
        #: Ids that are claimed, including those in flight.
        self.claimed: set[int] = set()
        self.in_flight: set[int] = set()
        #: Ids that claims of this transaction have found, which later claims in it skip.
        self.seen: set[int] = set()
        self._stored: frozenset[int] = frozenset()
        self._is_to_store = False

    def begin(
        self,
        session: Session,
        *,
        ended: Iterable[int] = (),
        marked: Collection[int] = (),
        is_repeated: bool = False,
    ) -> None:
        """Begin a transaction that ends rows and marks others; raises LeaseLost.

        It locks the worker's own registration, before any delivery row. With `is_repeated`, an
        earlier commit may have succeeded although its reply was lost: its claims never reached the
        worker, and are given back.
        """
        self.claimed, self.in_flight = set(self._kept.claimed), set(self._kept.in_flight)
        self.seen, self._stored, self._is_to_store = set(), self._kept.stored, False
        self._drop(ended)
        self.in_flight.update(marked)
        self._put_in_flight(session)
        if is_repeated:
            ((found,),) = statements.HOLDING.run(session, worker=self.worker_id)
            self._put_holding(session, self._kept.claimed.intersection(json.loads(found)))

    def deny(self, session: Session, ids: Collection[int]) -> None:
        """Remove the marks of rows that must not be sent, and stop holding these rows."""
        self.give_back(ids)
        self._put_in_flight(session)

    def take(self, ids: Iterable[int]) -> None:
        """Start to hold these rows."""
        self.claimed.update(ids)
        self._is_to_store = True

    def give_back(self, ids: Iterable[int]) -> None:
        """Stop to hold these rows, which may be claimed again."""
        self._drop(ids)
        self._is_to_store = True

    def store(self, session: Session) -> None:
        """Write the claimed ids after rows were taken or given back.

        Rows that have ended stay in the array until then, which saves a write, and does no harm as
        nothing claims them. They must not stay longer, because SQLite reuses the ids of pruned
        rows.
        """
        if self._is_to_store and self.claimed != self._stored:
            self._put_holding(session, self.claimed)

    def keep(self) -> None:
        """Record the current state as committed."""
        self._kept = _Arrays(frozenset(self.claimed), frozenset(self.in_flight), self._stored)

    def _drop(self, ids: Iterable[int]) -> None:
        for one in ids:
            self.claimed.discard(one)
            self.in_flight.discard(one)

    def _put_in_flight(self, session: Session) -> None:
        if not _put(session, statements.STORE_IN_FLIGHT, self.worker_id, self.in_flight):
            raise LeaseLost(
                hint="Nobody is lost: another worker has what this one held. Run the same "
                "command again; if it comes back, look at this machine's clock, and whether it "
                "was suspended."
            )

    def _put_holding(self, session: Session, ids: Collection[int]) -> None:
        _put(session, statements.STORE_HOLDING, self.worker_id, ids)
        self._stored = frozenset(ids)


def lock_claims(session: Session) -> None:
    """Take the lock that serialises claims, until the end of the transaction.

    It is needed because claiming changes no row. It must be taken before the statement that reads
    rows, which then sees the claims of the previous transaction. Lock order: after the pace row
    `*`.
    """
    if not is_sqlite(session.connection()):
        session.execute(text(f"SELECT pg_advisory_xact_lock({_CLAIMS})"))


def is_held() -> ColumnElement[bool]:
    """Return the SQL condition that a worker has claimed a delivery, and that it has not ended."""
    return col(Delivery.id).in_(select(_held.c.delivery_id)) & _state.in_(OPEN)


def is_in_flight() -> ColumnElement[bool]:
    """Return the SQL condition that a delivery's body may be leaving."""
    return col(Delivery.id).in_(select(_in_flight.c.delivery_id)) & _state.in_(OPEN)


def state() -> ColumnElement[str]:
    """Return the SQL expression for the state of a delivery, including claimed and in flight."""
    return case(
        (is_in_flight(), State.IN_FLIGHT.value), (is_held(), State.CLAIMED.value), else_=_state
    )


def in_flight(session: Session, workers: Collection[int] | None = None) -> set[int]:
    """Return the ids of the deliveries whose bodies may be leaving, of some workers or of all.

    If the worker has crashed, these messages may have left.
    """
    found = select(col(Worker.in_flight))
    return _union(session, found if workers is None else found.where(col(Worker.id).in_(workers)))


def claimed(session: Session, workers: Collection[int]) -> set[int]:
    """Return the ids of deliveries that workers have claimed; some of them may have ended."""
    found = select(col(Holding.ids)).where(col(Holding.worker_id).in_(workers))
    return _union(session, found)


def clear(session: Session) -> None:
    """Remove all holdings; running workers find their rows closed."""
    session.execute(update(Holding).values(ids=[]))
    session.execute(update(Worker).values(in_flight=[]))


def delete_workers(session: Session, workers: Collection[int]) -> None:
    """Delete registrations with their holdings."""
    tally.release(session, workers)
    session.execute(delete(Holding).where(col(Holding.worker_id).in_(workers)))
    session.execute(delete(Worker).where(col(Worker.id).in_(workers)))


def _union(session: Session, arrays: Select[Any]) -> set[int]:
    return {one for ids in session.execute(arrays).scalars() for one in ids}


def _put(session: Session, statement: Statement, worker_id: int, ids: Collection[int]) -> bool:
    return bool(statement.change(session, worker=worker_id, ids=json.dumps(sorted(ids))))
