"""A worker that is killed at any instant loses nobody, and at most one message per connection is
in doubt: killed at every transition and at random, on both databases, over 1, 4 and 50 connections,
and with four workers at once.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import killing
import ledgers
import pytest
from commands import Running
from journey import Newsletter
from killable import OFTEN, PLACES
from killing import Fate
from scripted_smtp import ScriptedServer, running
from sqlalchemy import Engine

from newsletter.ledger.retry import Policy

_AUDIENCE = 250
EACH_POLICY = pytest.mark.parametrize(
    "policy",
    [
        pytest.param("resend", marks=pytest.mark.mainly_on("sqlite")),
        pytest.param("hold", marks=pytest.mark.mainly_on("postgresql")),
    ],
)


@pytest.mark.parametrize(
    "connections",
    [
        pytest.param(1, marks=pytest.mark.mainly_on("sqlite")),
        pytest.param(4, marks=pytest.mark.mainly_on("postgresql")),
        pytest.param(50, marks=pytest.mark.torture),
    ],
)
def test_killed_at_every_transition_nobody_is_lost(
    engine: Engine, tmp_path: Path, connections: int
) -> None:
    # Enough for eight full cycles before each of the fuses that count cycles.
    audience = max(_AUDIENCE, 100 * connections)
    ledgers.fill(engine, audience)
    rng = random.Random(connections)

    with killing.scene(engine, tmp_path, connections=connections) as scene:
        for place in PLACES:
            scene.run(fuse=(place, rng.randint(1, 8) if place in OFTEN else 1))
            scene.check_after_a_kill(audience)
        scene.run()

        assert scene.kills == len(PLACES)
        scene.check_at_the_end(audience)


@EACH_POLICY
def test_killed_at_random_nobody_is_lost_and_held_ones_do_not_come_twice(
    engine: Engine, tmp_path: Path, policy: Policy
) -> None:
    ledgers.fill(engine, _AUDIENCE)
    rng = random.Random(4711)

    with killing.scene(engine, tmp_path, connections=4, policy=policy) as scene:
        for _ in range(5):
            scene.run(after_ms=rng.uniform(10, 90))
            scene.check_after_a_kill(_AUDIENCE)
        scene.run()

        scene.check_at_the_end(_AUDIENCE)


@pytest.mark.mainly_on("postgresql")
def test_killed_while_one_of_two_relays_refuses_us_nobody_is_lost(
    engine: Engine, tmp_path: Path
) -> None:
    ledgers.fill(engine, _AUDIENCE)
    rng = random.Random(587)
    refusing = ScriptedServer(
        lambda turn: "550 5.7.1 sender rejected" if turn.phase == "mail" else None
    )

    with (
        running(refusing) as other,
        killing.scene(engine, tmp_path, connections=4, beside=[other.port]) as scene,
    ):
        for place in OFTEN:
            scene.run(fuse=(place, rng.randint(1, 4)))
            scene.check_after_a_kill(_AUDIENCE)
        scene.run()

        assert scene.kills == len(OFTEN)
        assert refusing.phases["mail"] > len(OFTEN)
        scene.check_at_the_end(_AUDIENCE)


@pytest.mark.parametrize("policy", [pytest.param("resend", marks=pytest.mark.torture), "hold"])
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_of_four_workers_some_are_killed_and_the_others_go_on(
    engine: Engine, tmp_path: Path, policy: Policy
) -> None:
    audience = 6 * _AUDIENCE
    ledgers.fill(engine, audience)
    rng = random.Random(1848)

    with killing.scene(engine, tmp_path, connections=4, policy=policy) as scene:
        scene.run_together([Fate.chance(rng, longer=8) for _ in range(6)], at_once=4)
        scene.check_after_a_kill(audience)
        # Two live until nothing is left, and beside them one dies after the other.
        dying = [Fate.chance(rng, longer=8) for _ in range(6)]
        scene.run_together([Fate(), Fate(), *dying], at_once=4)
        scene.check_after_a_kill(audience)
        assert scene.kills >= 6
        # It sees to what the last of the dead held.
        scene.run()

        scene.check_at_the_end(audience)


@pytest.mark.mainly_on("sqlite")
def test_the_command_that_is_killed_and_typed_again_goes_on_where_it_stopped(
    newsletter: Newsletter, tmp_path: Path
) -> None:
    readers = "".join(f"reader{n}@readers.example,weekly\n" for n in range(_AUDIENCE))
    newsletter.run(
        "articles", "add", "--title", "Sleep", "--link", "https://miasfeed.example/sleep"
    )
    listed = tmp_path / "readers.csv"
    listed.write_text("address,cadence\n" + readers)
    newsletter.run("subscribers", "import", listed, "--confirmed")
    log, rng = tmp_path / "arrived", random.Random(2026)

    with killing.counting(log, delay=0.004) as port:
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        for least in (0, _AUDIENCE // 2):
            sending = newsletter.start("send", "weekly", "--force")
            _kill_when(sending, log, at_least=least + rng.randint(0, 20))
        last = newsletter.json("send", "weekly", "--force")

    arrived = Counter(line.partition(" ")[0] for line in log.read_text().splitlines())
    assert (last["state"], last["accepted"], last["audience"]) == ("finished", _AUDIENCE, _AUDIENCE)
    assert len(arrived) == _AUDIENCE
    assert arrived.total() <= _AUDIENCE + 2 * 4, "two kills, four connections"


def _kill_when(sending: Running, log: Path, *, at_least: int) -> None:
    """Kill a command once the server has so many messages."""
    for _ in range(3000):
        if log.exists() and log.read_text().count("\n") >= at_least:
            break
        assert sending.poll() is None, sending.communicate()
        time.sleep(0.01)
    sending.kill()
    sending.communicate()
