"""Whatever goes wrong around a worker, nobody is lost and nobody gets a mail twice unrecorded: a
mail server that fails at every phase, a full disk, a database that goes away, a clock that jumps.
`make torture` has the long runs of the same.
"""

from __future__ import annotations

import random
from pathlib import Path

import killing
import ledgers
import pytest
from sqlalchemy import Engine

from newsletter.delivery.retry import Policy

_AUDIENCE = 150


@pytest.mark.parametrize(
    ("policy", "pipelines", "chance"), [("resend", True, 0.1), ("hold", False, 0.1)]
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
