"""Five hundred kills and more, at every transition and at random: `make torture`.

KILLS says how many for each combination (default 40, the least is 20); SEED repeats a run. There
are 12 combinations of one worker after the other (SQLite and PostgreSQL; 1, 4 and 16 connections;
the policies resend and hold), in each of which 19 kills are at the 19 places where a worker can
die and the rest where and when chance picks; and 2 of four workers at once (PostgreSQL; both
policies), all by chance: 14 combinations of 40 are 560 kills.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import killing
import ledgers
import pytest
from killable import OFTEN, PLACES
from killing import Fate
from sqlalchemy import Engine

from newsletter.ledger.retry import Policy

pytestmark = pytest.mark.torture

_KILLS = int(os.environ.get("KILLS", "40"))
_SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
#: Enough that the ledger is not empty before the last kill.
_AUDIENCE_PER_KILL = 150


@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("connections", [1, 4, 16])
def test_killed_again_and_again_nobody_is_lost(
    engine: Engine, tmp_path: Path, connections: int, policy: Policy
) -> None:
    rng = random.Random(_SEED)
    audience = _AUDIENCE_PER_KILL * _KILLS
    ledgers.fill(engine, audience)

    with killing.scene(engine, tmp_path, connections=connections, policy=policy) as scene:
        # The last place is reached only with nothing left to send.
        for place in PLACES[:-1]:
            scene.run(fuse=(place, rng.randint(1, 8) if place in OFTEN else 1))
            scene.check_after_a_kill(audience)
        assert scene.kills == len(PLACES) - 1
        while scene.kills < _KILLS - 1 and ledgers.states(engine)["queued"] > 0:
            scene.run_together([Fate.chance(rng)], at_once=1)
            scene.check_after_a_kill(audience)
        scene.run(fuse=(PLACES[-1], 1))
        scene.check_after_a_kill(audience)
        scene.run()

        scene.check_at_the_end(audience)
        assert scene.kills == _KILLS
        print(f"SEED={_SEED}: {scene.figures()}")


@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_of_four_at_once_killed_again_and_again_nobody_is_lost(
    engine: Engine, tmp_path: Path, policy: Policy
) -> None:
    rng = random.Random(_SEED)
    # While one is killed, the others send.
    audience = 4 * _AUDIENCE_PER_KILL * _KILLS
    ledgers.fill(engine, audience)

    with killing.scene(engine, tmp_path, connections=4, policy=policy) as scene:
        while scene.kills < _KILLS and ledgers.states(engine)["queued"] > 0:
            wanted = min(_KILLS - scene.kills, rng.randint(4, 12))
            fates = [Fate.chance(rng, longer=8) for _ in range(wanted)]
            scene.run_together(fates, at_once=4)
            scene.check_after_a_kill(audience)
        assert scene.kills == _KILLS
        scene.run_together([Fate()] * 4, at_once=4)
        # The last workers started before the last crash: one more takes over what is left.
        scene.run()

        scene.check_at_the_end(audience)
        print(f"SEED={_SEED}: {scene.figures()}")
