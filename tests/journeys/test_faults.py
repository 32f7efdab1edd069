"""Whatever goes wrong around a worker, nobody is lost and nobody gets a mail twice unrecorded: a
mail server that fails at every phase, a full disk, a database that goes away, a clock that jumps.
`make torture` has the long runs of the same.
"""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import killing
import ledgers
import pytest
from killable import STOPPED
from killing import Fate
from sqlalchemy import Engine

from newsletter.ledger.retry import Policy

#: Runs that a database may cut short before they have sent everything.
_MOST_RUNS = 200
_AUDIENCE = 150


@pytest.mark.parametrize(
    ("policy", "pipelines", "chance"),
    [
        pytest.param("resend", True, 0.1, marks=pytest.mark.mainly_on("postgresql")),
        pytest.param("hold", False, 0.1, marks=pytest.mark.mainly_on("sqlite")),
    ],
)
def test_at_a_mail_server_that_fails_at_every_phase_nobody_is_lost(
    engine: Engine, tmp_path: Path, policy: Policy, pipelines: bool, chance: float
) -> None:
    ledgers.fill(engine, _AUDIENCE)
    rng = random.Random(1912)

    with killing.storm(
        engine,
        tmp_path,
        chance=chance,
        connections=4,
        policy=policy,
        pipelines=pipelines,
        seed=rng.randrange(10**6),
    ) as storm:
        storm.rage(_AUDIENCE, rng, killing=0.3)
        storm.check_at_the_end(_AUDIENCE)


@pytest.mark.parametrize("by", ["pages", "files"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_on_a_full_disk_nothing_leaves_and_with_room_again_nobody_is_lost(
    engine: Engine, tmp_path: Path, by: str
) -> None:
    audience = 1000
    ledgers.fill(engine, audience)

    with killing.scene(engine, tmp_path, connections=4) as scene:
        # No room any more, until it gives up.
        scene.faults = killing.hurry(database=0.3) | killing.full(by, seconds=60)
        assert scene.run() == STOPPED
        scene.check_after_a_kill(audience)
        # No room, and it is killed while it waits.
        scene.faults = killing.hurry() | killing.full(by, seconds=60)
        scene.run(after_ms=500)
        assert scene.kills == 1
        scene.check_after_a_kill(audience)
        # No room for a moment: it waits, and goes on.
        scene.faults = killing.hurry() | killing.full(by, seconds=0.3)
        assert scene.run() == 0

        scene.check_at_the_end(audience)


def test_a_database_that_cuts_its_connections_again_and_again_loses_nobody(
    engine: Engine, tmp_path: Path
) -> None:
    audience = 500
    ledgers.fill(engine, audience)
    rng = random.Random(1989)

    with killing.scene(engine, tmp_path, connections=4) as scene:
        scene.faults = killing.hurry(busy=0.05)
        with killing.disturbed(engine, rng) as disturbances:
            for _ in range(_MOST_RUNS):
                if not scene.is_open():
                    break
                scene.run()
                scene.check_after_a_kill(audience)
        assert disturbances.total() > 0
        # It sees to what the last one held, if it could not write that down.
        scene.run()

        scene.check_at_the_end(audience)


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param("resend", marks=pytest.mark.mainly_on("sqlite")),
        pytest.param("hold", marks=pytest.mark.mainly_on("postgresql")),
    ],
)
def test_a_clock_that_jumps_to_and_fro_loses_nobody_and_kills_no_living_worker(
    engine: Engine, tmp_path: Path, policy: Policy
) -> None:
    ledgers.fill(engine, _AUDIENCE)
    rng = random.Random(1582)

    with killing.scene(engine, tmp_path, connections=4, policy=policy) as scene:
        for _ in range(3):
            scene.faults = killing.jumping(rng)
            scene.run_together([Fate(), Fate(), Fate.chance(rng)], at_once=3)
            scene.check_after_a_kill(_AUDIENCE)
        assert scene.time_span() > timedelta(hours=1)
        # What is due was put off by days at most.
        scene.faults = killing.jumping(rng, ahead_days=1000)
        scene.run()

        scene.check_at_the_end(_AUDIENCE)
