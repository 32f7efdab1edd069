"""The readers of a publication in a database, and their rows in all tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import claimants
import counts
from sqlalchemy import Engine
from sqlmodel import Session, select

from newsletter import tokens
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.models import Attempt, Consent, Delivery, Mailing, State, Subscriber
from newsletter.subscribers import locking, signup, store
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Keyring

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


class Readers:
    """One database with readers in it."""

    now = NOW
    origin = Origin("box on https://miasfeed.example", wording="Yes, weekly.", remote="192.0.2.7")
    keyring = Keyring(["0123456789abcdef0123456789abcdef-for-tests"])

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(
        self,
        address: str,
        cadence: Cadence | None = None,
        *,
        again: bool = False,
        **changes: Any,
    ) -> signup.Signup:
        """Add a reader; other keywords are columns to set."""
        with sessions.writing(self.engine) as session:
            reader, came_to = signup.add(
                session,
                address,
                cadence=cadence,
                origin=self.origin,
                now=changes.pop("now", NOW),
                keyring=self.keyring,
                again=again,
            )
            for name, value in changes.items():
                setattr(reader, name, value)
            if "status" in changes:
                counts.recount(session)
        return came_to

    def change(self, address: str, act: Callable[[Session, Subscriber], bool]) -> bool:
        """Run a use case on one reader."""
        with sessions.writing(self.engine) as session:
            reader = locking.locked_subscriber(session, store.with_address(address), ends=False)
            assert reader is not None
            return act(session, reader)

    def get(self, address: str) -> Subscriber:
        with sessions.reading(self.engine) as session:
            reader = store.find(session, address)
            assert reader is not None
            return reader

    def all(self) -> list[Subscriber]:
        with sessions.reading(self.engine) as session:
            return store.listing(session)

    def consents(self, address: str) -> list[Consent]:
        with sessions.reading(self.engine) as session:
            reader = store.find(session, address)
            return store.consents(session, reader) if reader else []

    def actions(self, address: str) -> list[tuple[str, str, str, int]]:
        return [
            (row.action, row.cadence, row.status, row.generation) for row in self.consents(address)
        ]

    def deliver(self, address: str, states: Sequence[State], *, reply: str | None = None) -> None:
        """Give a reader one delivery in each state, each of a mailing of its own.

        Claimed deliveries and those in flight are held by a worker that does not run.
        """
        reader = self.get(address)
        held: dict[State, list[int]] = {State.CLAIMED: [], State.IN_FLIGHT: []}
        with sessions.writing(self.engine) as session:
            for state in states:
                mailing = _mailing()
                session.add(mailing)
                session.flush()
                row = _delivery(reader, mailing, state, reply)
                session.add(row)
                session.flush()
                assert row.id is not None
                if state in held:
                    held[state].append(row.id)
                session.add(
                    Attempt(
                        delivery_id=row.id,
                        number=1,
                        at=NOW,
                        outcome="deferred",
                        phase="rcpt",
                        code=450,
                        reply=reply,
                    )
                )
            counts.recount(session)
        if any(held.values()):
            hold = claimants.hold_of(self.engine, 1)
            with claimants.working(self.engine, hold, marked=held[State.IN_FLIGHT]):
                hold.take([*held[State.CLAIMED], *held[State.IN_FLIGHT]])

    def deliveries(self) -> list[Delivery]:
        with sessions.reading(self.engine) as session:
            return list(session.exec(select(Delivery).order_by("id")))

    def attempts(self) -> list[Attempt]:
        with sessions.reading(self.engine) as session:
            return list(session.exec(select(Attempt).order_by("id")))


def _mailing() -> Mailing:
    return Mailing(
        public_id=tokens.new_public_id(),
        kind="digest",
        subject="Today",
        body=b"",
        fields="[]",
        domain="example.com",
        timezone="UTC",
        language="en",
        signing_key="",
        html="",
        created_at=NOW,
    )


def _delivery(reader: Subscriber, mailing: Mailing, state: State, reply: str | None) -> Delivery:
    return Delivery(
        mailing_id=mailing.id or 0,
        address=reader.address,
        reference=reader.public_id,
        generation=reader.generation,
        since_at=reader.subscribed_at,
        state=State.QUEUED if state in {State.CLAIMED, State.IN_FLIGHT} else state,
        priority=1,
        due_at=NOW,
        state_at=NOW,
        reply=reply,
        created_at=NOW,
    )
