"""A hundred kills and more, each at a place and an instant that chance picks: `make torture`.

KILLS says how many for each combination (default 25, of 14 combinations); SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import killing
import ledgers
import pytest
from killable import PLACES
from killing import Fate
from sqlalchemy import Engine

from newsletter.delivery.retry import Policy

pytestmark = pytest.mark.torture

_KILLS = int(os.environ.get("KILLS", "25"))
_SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
#: Enough that the ledger is not empty before the last kill.
_AUDIENCE_PER_KILL = 150


@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("connections", [1, 4, 16])
def test_killed_again_and_again_nobody_is_lost(
    engine: Engine, tmp_path: Path, connections: int, policy: Policy
) -> None:
    print(f"SEED={_SEED}")
    rng = random.Random(_SEED)
    audience = _AUDIENCE_PER_KILL * _KILLS
    ledgers.fill(engine, audience)

    with killing.scene(engine, tmp_path, connections=connections, policy=policy) as scene:
        while scene.kills < _KILLS - 1 and ledgers.states(engine)["queued"] > 0:
            scene.run_together([Fate.chance(rng)], at_once=1)
            scene.check_after_a_kill(audience)
        # The one place that is reached only with nothing left to send.
        scene.run(fuse=(PLACES[-1], 1))
        scene.check_after_a_kill(audience)
        scene.run()

        scene.check_at_the_end(audience)
        assert scene.kills == _KILLS


@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_of_four_at_once_killed_again_and_again_nobody_is_lost(
    engine: Engine, tmp_path: Path, policy: Policy
) -> None:
    print(f"SEED={_SEED}")
    rng = random.Random(_SEED)
    # While one is dying the others send.
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
        # Those who came last were there when nobody was dead: one more sees what they left.
        scene.run()

        scene.check_at_the_end(audience)
