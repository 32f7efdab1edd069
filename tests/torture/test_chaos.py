"""A mail server that fails at every phase, and workers that are killed meanwhile: `make torture`.

READERS says how many there are in a combination, of 72 (default 500 where a phase fails once in a
hundred times, 200 for ten, 50 for forty: it then takes a dozen tries for a message); SEED repeats
a run.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import killing
import ledgers
import pytest
from sqlalchemy import Engine

from newsletter.ledger.retry import Policy

pytestmark = pytest.mark.torture

_READERS = {0.01: 500, 0.1: 200, 0.4: 50}
_SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))


@pytest.mark.parametrize("policy", ["resend", "hold"])
@pytest.mark.parametrize("pipelines", [True, False])
@pytest.mark.parametrize("connections", [1, 4, 16])
@pytest.mark.parametrize("chance", [0.01, 0.1, 0.4])
def test_at_a_mail_server_that_fails_at_every_phase_nobody_is_lost(
    engine: Engine,
    tmp_path: Path,
    *,
    policy: Policy,
    pipelines: bool,
    connections: int,
    chance: float,
) -> None:
    rng = random.Random(_SEED)
    readers = int(os.environ.get("READERS", _READERS[chance]))
    ledgers.fill(engine, readers)

    with killing.storm(
        engine,
        tmp_path,
        chance=chance,
        connections=connections,
        policy=policy,
        pipelines=pipelines,
        seed=_SEED,
    ) as storm:
        storm.rage(readers, rng, killing=0.3)
        storm.check_at_the_end(readers)
        print(f"SEED={_SEED}: {storm.figures()}")
