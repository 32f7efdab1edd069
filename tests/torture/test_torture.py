"""A hundred kills and more, each at a place and an instant that chance picks: `make torture`.

KILLS says how many for each combination (default 25, of 12 combinations); SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import killing
import ledgers
import pytest
from killable import OFTEN, PLACES
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
            if rng.random() < 0.5:
                place = rng.choice(PLACES[:-1])
                scene.run(fuse=(place, rng.randint(1, 12) if place in OFTEN else 1))
            else:
                scene.run(after_ms=rng.uniform(5, 120))
            scene.check_after_a_kill(audience)
        # The one place that is reached only with nothing left to send.
        scene.run(fuse=(PLACES[-1], 1))
        scene.check_after_a_kill(audience)
        scene.run()

        scene.check_at_the_end(audience)
        assert scene.kills == _KILLS
