"""When the committer commits."""

from __future__ import annotations

import asyncio
import contextlib

import claimants
import ledgers
import pytest
from sqlalchemy import Engine

from newsletter.db import session as sessions
from newsletter.ledger import dead_addresses, registry
from newsletter.ledger.queue import Claim
from newsletter.ledger.registry import Registration
from newsletter.sender import committer
from newsletter.sender.claiming import Claiming
from newsletter.sender.committer import Committer
from newsletter.sender.limits import Limits
from newsletter.tokens import Keyring


def signed_in(engine: Engine) -> tuple[Registration, list[Claim]]:
    """A registered worker that has claimed twenty rows."""
    with sessions.writing(engine) as session:
        registration = registry.sign_in(session, name="worker", now=ledgers.NOW)
    return registration, claimants.claim(engine, registration.id, limit=20, now=ledgers.NOW)


def committing(engine: Engine, registration: Registration) -> Committer:
    hold = claimants.hold_of(engine, registration.id)
    return Committer(
        engine,
        registration,
        hold=hold,
        claiming=Claiming(hold, Limits()),
        loop=asyncio.get_running_loop(),
        policy="hold",
        suppression=dead_addresses.SuppressionRules(Keyring([ledgers.SECRET]), 5),
        connections=20,
        ended_at=lambda: None,
        on_commit=None,
        clock=lambda: ledgers.NOW,
    )


def test_marks_of_enough_connections_wait_for_no_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "_GATHER_SECONDS", 3600)
    ledgers.fill(engine, 20)
    registration, claims = signed_in(engine)

    async def mark() -> list[bool]:
        writer = committing(engine, registration)
        writer.start()
        async with asyncio.timeout(60):
            marked = await asyncio.gather(*(writer.mark(claim.id) for claim in claims))
            await writer.close()
        return marked

    assert asyncio.run(mark()) == [True] * 20
    assert ledgers.states(engine) == {"in_flight": 20}


def test_the_loop_goes_on_while_another_process_has_the_write_lock(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 20)
    registration, claims = signed_in(sqlite_engine)

    async def mark() -> bool:
        writer = committing(sqlite_engine, registration)
        writer.start()
        # A commit that blocked the loop would wait for what only the loop can end.
        async with asyncio.timeout(30):
            with sessions.writing(sqlite_engine):
                marked = writer.mark(claims[0].id)
                await asyncio.sleep(0.1)
                assert not marked.done()
            is_marked = await marked
            await writer.close()
        return is_marked

    assert asyncio.run(mark())
    with sqlite_engine.connect() as connection:
        # A connection of the pool waits again.
        waits = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert waits == 60_000


def test_whoever_gives_up_waiting_for_the_end_does_not_cancel_it(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 20)
    registration, claims = signed_in(sqlite_engine)

    async def mark() -> bool:
        writer = committing(sqlite_engine, registration)
        writer.start()
        with sessions.writing(sqlite_engine):
            marked = writer.mark(claims[0].id)
            ending = asyncio.create_task(writer.close())
            await asyncio.sleep(0)
            ending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ending
        async with asyncio.timeout(30):
            return await marked

    assert asyncio.run(mark())
