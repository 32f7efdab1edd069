"""Freezes concurrent with other freezes, sign-ups, unsubscribes and sending."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import claimants
import pytest
from commands import Running
from freezing import meanwhile

from newsletter.cadences import Cadence
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import publish, store
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

WEEKLY = "weekly-2026-06-01"
PROGRAM = """
import sys
from datetime import datetime
from newsletter.cadences import Cadence
from newsletter.db import engine
from newsletter.editions import publish
from newsletter.publication import Publication
from newsletter.settings import Settings

settings = Settings(secret_keys=[sys.argv[3]])
print("ready", flush=True)
sys.stdin.read()
frozen = publish.freeze(
    engine.open(sys.argv[1]), Cadence.WEEKLY,
    now=datetime.fromisoformat(sys.argv[2]), publication=Publication.of(settings),
)
print(frozen.edition, frozen.audience)
"""


def test_fifty_triggers_make_one_edition_and_one_mail_per_reader(world: World) -> None:
    readers = world.readers(5)
    world.article()
    together = threading.Barrier(12)

    def trigger(number: int) -> str:
        if number < 12:
            together.wait()
        return publish.freeze(
            world.engine, Cadence.WEEKLY, now=world.now, publication=world.publication
        ).edition

    with ThreadPoolExecutor(12) as pool:
        editions = list(pool.map(trigger, range(50)))

    assert editions == [WEEKLY] * 50
    assert len(world.mailings(WEEKLY)) == 1
    assert sorted(world.states(WEEKLY)) == sorted(readers)


def test_processes_started_at_once_make_one_edition(world: World, tmp_path: Path) -> None:
    world.readers(3)
    world.article()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    url = world.engine.url.render_as_string(hide_password=False)
    arguments = [url, world.now.isoformat(), world.settings.secret_keys[0]]
    started = [
        Running(arguments, env=os.environ, script=program, has_input=True, stderr=2)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.close()

    said = [process.communicate(timeout=120)[0].strip() for process in started]

    assert said == [f"{WEEKLY} 3"] * 3
    assert len(world.mailings(WEEKLY)) == 1


def test_a_goodbye_during_the_freeze_takes_back_what_the_freeze_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, other = world.readers(2)
    world.article()

    with meanwhile(monkeypatch, lambda: world.leave(reader)):
        publish.freeze(world.engine, Cadence.WEEKLY, now=world.now, publication=world.publication)

    assert world.states(WEEKLY) == {reader: "cancelled", other: "queued"}


def test_a_reader_who_comes_during_the_freeze_is_in_it_or_waits_and_the_books_balance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.reader()
    article = world.article()
    late: list[str] = []

    with meanwhile(monkeypatch, lambda: late.append(world.reader())):
        frozen = world.freeze()
    world.deliver()

    assert len(world.states(WEEKLY)) == world.summary(WEEKLY).audience == frozen.audience
    assert world.mails(late[0]) in ([], [[article]])


@pytest.mark.parametrize("kind", [Kind.ACCEPTED, Kind.DEFERRED, Kind.UNKNOWN, None])
def test_a_mail_whose_fate_is_learnt_during_the_freeze_does_not_come_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Kind | None
) -> None:
    world.readers(2)
    world.article()
    world.freeze()
    held = world.take(limit=1)
    world.tick(days=7)
    world.article()

    def learn() -> None:
        if kind:
            world.record(held, {held[0].reference: kind})

    with meanwhile(monkeypatch, learn):
        world.freeze()

    assert held[0].reference not in world.states("weekly-2026-06-08")
    assert len(world.states("weekly-2026-06-08")) == 1


def test_a_row_that_a_worker_had_claimed_is_superseded_and_not_marked(world: World) -> None:
    reader = world.reader()
    world.article()
    world.freeze()
    claims = claimants.claim(world.engine, limit=10, now=world.now)
    world.tick(days=7)
    world.article()

    world.freeze()

    assert world.mark(claims) == []
    assert world.states(WEEKLY) == {reader: "skipped"}
    assert world.states("weekly-2026-06-08") == {reader: "queued"}


def test_an_article_that_comes_during_the_freeze_is_in_the_next_edition(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = world.reader()
    first = world.article()
    late: list[int] = []

    with meanwhile(monkeypatch, lambda: late.append(world.article())):
        world.freeze()
    world.deliver()
    world.tick(days=7)
    world.send()

    assert world.mails(reader) == [[first], late]


def test_the_clock_of_another_machine_that_runs_ahead_delays_no_mail(world: World) -> None:
    reader = world.reader()
    world.tick(hours=1)
    world.article()
    world.tick(hours=-1)

    world.send()

    assert world.states(WEEKLY) == {reader: "accepted"}


def test_engines_agree_on_what_an_instant_is(world: World) -> None:
    """Watermarks are compared in the database: stored instants must be read back equal."""
    world.reader()
    world.article()
    frozen = world.freeze()
    opened = engines.open(world.engine.url.render_as_string(hide_password=False))

    with sessions.reading(opened) as session:
        edition = store.by_slug(session, frozen.edition)
    opened.dispose()

    assert isinstance(edition.coverage_end, datetime)
    assert edition.coverage_end.utcoffset() is not None
