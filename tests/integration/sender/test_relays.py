"""Several relays, real servers on loopback: shares, and an edition that goes on without one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import killing
import ledgers
import pytest
from journey import free_port
from scripted_smtp import DROP, Act, ScriptedServer, Turn, running
from sqlalchemy import Engine, func, select, update

from newsletter.db import session as sessions
from newsletter.errors import ConfigurationError, TransportUnavailable
from newsletter.models import Attempt, Delivery, Pace, State, Worker
from newsletter.sender import connections, worker
from newsletter.sender.plan import Plan
from newsletter.smtp import relays
from newsletter.smtp.outcome import Kind

AUDIENCE = 300
EVERYBODY = Counter(f"reader{number}@example.com" for number in range(1, AUDIENCE + 1))


@contextmanager
def both(one: ScriptedServer, other: ScriptedServer) -> Iterator[tuple[int, int]]:
    with running(one), running(other):
        yield one.port, other.port


def always(phase: str, answer: str | Act) -> ScriptedServer:
    """A server that answers one phase in one way."""
    return ScriptedServer(lambda turn: answer if turn.phase == phase else None)


def arrived(*servers: ScriptedServer) -> Counter[str]:
    return Counter(address for server in servers for address in server.recipients())


def blamed(engine: Engine) -> int:
    """Tries that came to something else than accepted, and rows that were tried twice."""
    with sessions.reading(engine) as session:
        again = select(func.count()).where(Delivery.attempts > 1)
        written = select(func.count()).select_from(Attempt)
        signed_in = select(func.count()).select_from(Worker)
        return sum(session.execute(one).scalar_one() for one in (again, written, signed_in))


# Shares


def test_connections_go_to_relays_by_their_weights_and_everybody_gets_one_mail(
    engine: Engine,
) -> None:
    ledgers.fill(engine, AUDIENCE)
    told: list[str] = []
    heavy, light = ScriptedServer(), ScriptedServer()

    with both(heavy, light) as ports:
        servers = [ledgers.relay(ports[0], weight=3), ledgers.relay(ports[1])]
        plan = replace(ledgers.plan(connections=8), servers=servers)
        worker.run(engine, plan, on_trouble=lambda said, _: told.append(said))

    assert (heavy.connections, light.connections) == (6, 2)
    assert arrived(heavy, light) == EVERYBODY
    assert light.arrivals
    assert told == []


def test_a_relay_with_fewer_connections_than_its_share_keeps_those(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    told: list[str] = []
    small = ScriptedServer(
        lambda turn: (
            "421 4.7.0 too many" if turn.phase == "connect" and turn.connection > 2 else None
        )
    )
    big = ScriptedServer()

    with both(small, big) as ports:
        worker.run(
            sqlite_engine,
            ledgers.plan(*ports, connections=8),
            on_trouble=lambda said, _: told.append(said),
        )

    assert (small.connections, big.connections) == (4, 6)
    assert arrived(small, big) == EVERYBODY
    assert small.arrivals
    assert told == []


# One that refuses us


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("connect", "421 4.3.2 not now"),
        ("connect", DROP),
        ("auth", "535 5.7.8 bad credentials"),
        ("mail", "550 5.7.1 sender rejected"),
        ("rcpt", "550 5.4.5 daily user sending limit exceeded"),
    ],
)
def test_one_that_refuses_us_is_put_aside_and_the_other_carries_the_edition(
    engine: Engine, phase: str, answer: str | Act
) -> None:
    ledgers.fill(engine, AUDIENCE)
    told: list[str] = []
    bad, good = always(phase, answer), ScriptedServer()
    bad.extensions = (*bad.extensions, "AUTH PLAIN")

    with both(bad, good) as ports:
        plan = ledgers.plan(*ports)
        first, second = plan.servers
        first = replace(first, username="mia", password="open sesame")
        plan = replace(plan, servers=[first, second])
        tally = worker.run(engine, plan, on_trouble=lambda said, _: told.append(said))

    assert arrived(good) == EVERYBODY
    assert tally.counts == {"accepted": AUDIENCE}
    assert blamed(engine) == 0
    assert bad.connections <= 2, "its share, and nothing more"
    (said,) = told
    assert f"127.0.0.1:{bad.port}" in said
    assert "open sesame" not in said
    assert answer is DROP or str(answer)[:3] in said


def test_one_that_nobody_answers_at_costs_nobody_anything(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    told: list[str] = []

    with running(ScriptedServer()) as good:
        plan = ledgers.plan(free_port(), good.port)
        tally = worker.run(sqlite_engine, plan, on_trouble=lambda said, _: told.append(said))

    assert arrived(good) == EVERYBODY
    assert tally.counts == {"accepted": AUDIENCE}
    assert len(told) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("mail", DROP),
        ("mail", "421 4.3.2 closing"),
        ("mail", "451 4.3.0 not now"),
        ("rcpt", DROP),
        ("rcpt", "421 4.3.2 closing"),
    ],
)
def test_what_one_hangs_up_on_before_the_message_leaves_by_the_other_in_the_same_run(
    sqlite_engine: Engine, phase: str, answer: str | Act
) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    bad, good = always(phase, answer), ScriptedServer()

    with both(bad, good) as ports:
        tally = worker.run(sqlite_engine, ledgers.plan(*ports))

    assert arrived(good) == EVERYBODY
    assert tally.counts == {"accepted": AUDIENCE}
    assert blamed(sqlite_engine) == 0


@pytest.mark.usefixtures("impatient")
def test_one_that_hangs_up_after_each_message_is_given_few_of_them(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    bad, good = always("body", DROP), ScriptedServer()

    with both(bad, good) as ports:
        worker.run(sqlite_engine, ledgers.plan(*ports, policy="hold"))

    unknown = ledgers.states(sqlite_engine)[State.UNKNOWN]
    assert unknown == len(bad.arrivals) <= relays.PATIENCE * 2 + 2
    assert arrived(bad, good) == EVERYBODY
    assert ledgers.states(sqlite_engine)[State.ACCEPTED] == AUDIENCE - unknown


# One that dies


def test_one_that_dies_leaves_one_uncertain_mail_for_each_of_its_connections(
    engine: Engine, tmp_path: Path
) -> None:
    ledgers.fill(engine, AUDIENCE)
    log = tmp_path / "arrived"
    told: list[str] = []

    def kill(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 20:
            # Not before each of its connections has carried something.
            while not log.exists() or log.read_text().count("\n") < 10:
                time.sleep(0.01)
            mortal.kill()
            mortal.wait()

    with killing.mortal(log) as (port, mortal), running(ScriptedServer(kill)) as good:
        plan = ledgers.plan(port, good.port, connections=6, policy="hold")
        worker.run(engine, plan, on_trouble=lambda said, _: told.append(said))
        by_the_dead = Counter(line.partition(" ")[0] for line in log.read_text().splitlines())
        states = ledgers.states(engine)
        # What was marked and had not begun to leave waits half a minute: it goes by the next run.
        assert states[State.UNKNOWN] + states[State.QUEUED] <= 3
        assert states[State.ACCEPTED] >= AUDIENCE - 3
        with sessions.writing(engine) as session:
            session.execute(update(Delivery).values(due_at=ledgers.NOW))
        worker.run(engine, ledgers.plan(good.port, policy="hold"))
        unknown = ledgers.states(engine)[State.UNKNOWN]
        assert ledgers.states(engine) == Counter(accepted=AUDIENCE - unknown, unknown=unknown)
        had = by_the_dead + arrived(good)
        assert max(had.values()) == 1
        assert (EVERYBODY - had).total() <= unknown
    assert [f"127.0.0.1:{port}" in said for said in told] == [True]


# All of them


def test_when_all_refuse_us_each_is_quoted_and_nobody_is_lost(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    told: list[str] = []
    one, other = always("mail", "550 5.7.1 no such sender"), always("connect", "554 go away")

    with both(one, other) as ports, pytest.raises(TransportUnavailable) as caught:
        worker.run(
            sqlite_engine, ledgers.plan(*ports), on_trouble=lambda said, _: told.append(said)
        )

    assert f"127.0.0.1:{one.port} refuses our mail: 550 no such sender" in caught.value.message
    assert f"127.0.0.1:{other.port} cannot be used: 554 go away" in caught.value.message
    assert len(told) == 1
    assert ledgers.states(sqlite_engine) == {State.QUEUED: AUDIENCE}
    with sessions.reading(sqlite_engine) as session:
        assert session.execute(select(func.max(Delivery.attempts))).scalar() == 0


def test_when_all_refuse_us_for_good_it_is_a_setting_to_mend(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    one, other = always("mail", "550 5.7.1 not you"), always("mail", "550 5.7.1 nor you")

    with both(one, other) as ports, pytest.raises(ConfigurationError, match=r"not you.*nor you"):
        worker.run(sqlite_engine, ledgers.plan(*ports))

    assert one.arrivals == other.arrivals == []
    assert ledgers.states(sqlite_engine) == {State.QUEUED: AUDIENCE}


# One that comes back


def test_one_that_comes_back_is_told_of_and_used_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "BACKOFF_SECONDS", 0.05)
    ledgers.fill(engine, AUDIENCE)
    told: list[str] = []
    away = ScriptedServer(
        lambda turn: "421 4.3.2 not now" if turn.phase == "connect" and turn.earlier < 2 else None
    )

    def wait(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 30:
            time.sleep(0.1)

    good = ScriptedServer(wait)
    with both(away, good) as ports:
        tally = worker.run(
            engine, ledgers.plan(*ports), on_trouble=lambda said, _: told.append(said)
        )

    assert arrived(away, good) == EVERYBODY
    assert away.arrivals
    assert tally.counts == {"accepted": AUDIENCE}
    name = f"127.0.0.1:{away.port}"
    assert ["put aside" in said for said in told] == [True, False]
    assert all(name in said for said in told)


def test_a_preview_goes_by_the_relay_that_takes_it() -> None:
    with both(always("connect", "421 4.3.2 not now"), ScriptedServer()) as ports:
        plan: Plan = ledgers.plan(*ports)
        found = [
            connections.post(plan, "mia@example.org", b"Subject: News\r\n\r\nx\r\n") for _ in "abc"
        ]

    assert {outcome.kind for outcome in found} == {Kind.ACCEPTED}


# A relay that refuses everybody


def scatter(engine: Engine, domains: int) -> None:
    """Have readers at so many domains, in turns."""
    with sessions.writing(engine) as session:
        for number in range(domains):
            session.execute(
                update(Delivery)
                .where(Delivery.id % domains == number)
                .values(address=func.replace(Delivery.address, "example.com", f"d{number}.example"))
            )


@pytest.mark.parametrize("phase", ["rcpt", "body"])
def test_one_that_refuses_reader_after_reader_refuses_us(engine: Engine, phase: str) -> None:
    ledgers.fill(engine, AUDIENCE)
    scatter(engine, 10)

    with (
        running(always(phase, "550 no, thanks")) as server,
        pytest.raises(ConfigurationError, match="refuses our mail: 550 no, thanks"),
    ):
        worker.run(engine, ledgers.plan(server.port, connections=2))

    states = ledgers.states(engine)
    # Some on the other connection, at that moment.
    assert states["refused"] <= 19 + 4
    assert states["queued"] == AUDIENCE - states["refused"]


def test_one_of_two_that_refuses_reader_after_reader_is_put_aside(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    scatter(sqlite_engine, 10)
    told: list[str] = []

    with both(always("rcpt", "550 no, thanks"), ScriptedServer()) as ports:
        worker.run(
            sqlite_engine,
            ledgers.plan(*ports, connections=4),
            on_trouble=lambda sentence, _: told.append(sentence),
        )

    states = ledgers.states(sqlite_engine)
    assert states["refused"] <= 19 + 8
    # What it was asked last comes by the other in the next run.
    assert states["accepted"] >= AUDIENCE - states["refused"] - 10
    assert len(told) == 1
    assert "It is put aside, and the others go on." in told[0]


def test_dead_addresses_are_no_refusal_of_us(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 100)
    scatter(sqlite_engine, 10)

    with running(always("rcpt", "550 5.1.1 no such user")) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port))

    assert ledgers.states(sqlite_engine) == {"refused": 100}


def test_a_limit_of_the_relay_is_not_every_domains(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, AUDIENCE)
    scatter(sqlite_engine, 60)

    with (
        running(always("rcpt", "451 4.7.0 rate limit exceeded")) as server,
        pytest.raises(ConfigurationError) as refused,
    ):
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=2))

    assert "NEWSLETTER_LIMIT_PER_DAY" in (refused.value.hint or "")
    with sessions.reading(sqlite_engine) as session:
        paused = session.execute(select(func.count()).select_from(Pace)).scalar_one()
    assert paused < 30
