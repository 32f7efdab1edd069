"""A freeze is one set-based statement per step, however many readers there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import counts
from sqlalchemy import text

from newsletter.db import session as sessions
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

MANY = 100_000


def test_the_number_of_statements_does_not_grow_with_the_readers(
    make_world: Callable[..., World], counting: Callable[..., Any]
) -> None:
    world = make_world()
    world.readers(3)
    world.article()
    world.send()
    world.tick(days=7)
    world.article()
    with counting(world.engine) as few:
        world.freeze()
    world.deliver()
    _crowd(world)
    world.tick(days=7)
    world.article()

    with counting(world.engine) as many:
        frozen = world.freeze()

    assert frozen.audience == MANY + 3
    assert len(many) == len(few)


def test_a_large_audience_never_passes_through_memory(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.reader()
    world.article()
    world.send()
    _crowd(world)
    world.tick(days=7)
    world.article()

    tracemalloc.start()
    frozen = world.freeze()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert frozen.queued == MANY + 1
    assert peak < 30_000_000


def test_the_next_freeze_after_a_large_one_settles_it_in_one_statement(
    make_world: Callable[..., World], counting: Callable[..., Any]
) -> None:
    world = make_world()
    refused = world.reader()
    _crowd(world)
    world.article()
    world.freeze()
    with sessions.writing(world.engine) as session:
        sooner = "UPDATE delivery SET due_at = '2026-01-01 00:00:00' WHERE reference = :refused"
        session.execute(text(sooner), {"refused": refused})
    (claim,) = world.take(limit=1)
    world.record([claim], {refused: Kind.REFUSED})
    with sessions.writing(world.engine) as session:
        session.execute(text("UPDATE delivery SET state = 'accepted' WHERE state = 'queued'"))
        counts.recount(session)
    world.tick(days=7)
    world.article()

    with counting(world.engine) as statements:
        frozen = world.freeze()

    updates = [one for one in statements if one.startswith("UPDATE subscriber SET watermark")]
    assert (frozen.variants, frozen.audience) == (2, MANY + 1)
    assert len(updates) == 3  # settled, remembered, begun


def _crowd(world: World) -> None:
    """Insert 100,000 readers."""
    with sessions.writing(world.engine) as session:
        session.execute(
            text(
                """
                WITH RECURSIVE number(n) AS (
                    SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :many
                )
                INSERT INTO subscriber (
                    public_id, address, cadence, status, generation, created_at, updated_at
                )
                SELECT printf('%016d', n), 'crowd' || n || '@example.org', 'weekly', 'active', 1,
                    created_at, created_at
                FROM number, freeze_lock
                """
            ),
            {"many": MANY},
        )
        counts.recount(session)
