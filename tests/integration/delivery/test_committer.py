"""When the committer commits."""

from __future__ import annotations

import asyncio

import ledgers
import pytest
from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.delivery import committer, faults, ledger, roster
from newsletter.delivery.committer import Committer
from newsletter.delivery.ledger import Claim
from newsletter.delivery.limits import Limits
from newsletter.delivery.roster import Presence
from newsletter.tokens import Keyring


def signed_in(engine: Engine) -> tuple[Presence, list[Claim]]:
    """A worker on the roster that has claimed twenty rows."""
    with sessions.writing(engine) as session:
        presence = roster.sign_in(session, name="worker", now=ledgers.NOW)
        return presence, ledger.claim(session, worker_id=presence.id, limit=20, now=ledgers.NOW)


def committing(engine: Engine, presence: Presence) -> Committer:
    return Committer(
        engine,
        presence,
        policy="hold",
        faults=faults.Rules(Keyring([ledgers.SECRET]), 5),
        rules=Limits(),
        connections=50,
        clock=lambda: ledgers.NOW,
    )


def test_marks_of_enough_connections_wait_for_no_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_GATHER_SECONDS", 3600)
    ledgers.fill(engine, 20)
    presence, claims = signed_in(engine)

    async def mark() -> list[bool]:
        writer = committing(engine, presence)
        async with asyncio.timeout(60):
            marked = await asyncio.gather(*(writer.mark(claim.id) for claim in claims))
            await writer.close()
        return marked

    assert asyncio.run(mark()) == [True] * 20
    assert ledgers.states(engine) == {"in_flight": 20}
