"""Limits: never more than that in any window, nearly all of it used, over restarts and workers.

Clocks are virtual: an hour's limit is tried for hours, in a second.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from datetime import UTC, datetime, timedelta

import ledgers
import pytest
from scripted_smtp import ScriptedServer, Turn, running
from sqlalchemy import Engine, func, select, update

from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.delivery import ledger, limits, retry, worker
from newsletter.delivery.budget import Budget
from newsletter.delivery.ledger import Claim, Verdict
from newsletter.delivery.limits import Lease, Limits
from newsletter.models import Attempt, Delivery, Pace, Spending, Worker
from newsletter.settings import DomainLimit
from newsletter.smtp import reply
from newsletter.smtp.reply import Phase, Reply

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
TOO_MUCH = Reply(450, "4.7.28 unusual rate")


class Sender:
    """A worker that always has something to send, on a virtual clock (seconds since NOW)."""

    def __init__(self, engine: Engine, rules: Limits, *, late: float, rng: random.Random) -> None:
        self._engine, self._rules, self._late, self._rng = engine, rules, late, rng
        self._budget = Budget()
        self.free_at = 0.0

    def look(self, at: float) -> bool:
        """Send one message at this moment, if there is leave; say when to look again."""
        seconds = self._budget.wait(at)
        if seconds is None:
            now = NOW + timedelta(seconds=at)
            found = self._lease(now, wanted=10)
            self._budget.add(found, at=at, now=now)
            retry_in = (found.retry_at - now).total_seconds()
            seconds = 0.0 if found.messages else max(retry_in, 0.001)
        if seconds > 0:
            # Nobody wakes exactly when they wanted to.
            self.free_at = at + seconds + self._rng.uniform(0, self._late)
            return False
        return self._budget.spend(at)

    def restart(self, at: float, *, is_killed: bool) -> None:
        now = NOW + timedelta(seconds=at)
        if not is_killed:
            with sessions.writing(self._engine) as session:
                unused = self._budget.unused(whole=True)
                limits.give_back(session, self._rules, unused=unused, now=now)
        self._budget = Budget()

    def _lease(self, now: datetime, *, wanted: int) -> Lease:
        with sessions.writing(self._engine) as session:
            unused = self._budget.unused()
            limits.give_back(session, self._rules, unused=unused, now=now)
            return limits.lease(session, self._rules, wanted=wanted, now=now)


def simulate(engine: Engine, rules: Limits, *, seconds: float, late: float = 0.0) -> list[float]:
    """Have four workers send for so long, with ten restarts; return when each message went."""
    rng = random.Random(5)
    senders = [Sender(engine, rules, late=late, rng=rng) for _ in range(4)]
    restarts = sorted(rng.uniform(0, seconds) for _ in range(10))
    sent: list[float] = []
    at = 0.0
    while at < seconds:
        while restarts and restarts[0] <= at:
            rng.choice(senders).restart(restarts.pop(0), is_killed=len(restarts) % 2 == 0)
        for sender in senders:
            if sender.free_at <= at and sender.look(at):
                sent.append(at)
                sender.free_at = at + rng.uniform(0, late / 4)
        soonest = min(sender.free_at for sender in senders)
        at = max(soonest, at) if soonest > at else at + 1e-6
    return sent


def most_in_a_window(sent: list[float], window: float) -> int:
    return max(i - bisect_left(sent, at - window + 1e-9) + 1 for i, at in enumerate(sent))


@pytest.mark.parametrize(
    ("rules", "window", "limit"),
    [
        (Limits(per_hour=120), 3_600, 120),
        (Limits(per_day=150), 86_400, 150),
        (Limits(per_hour=80, per_day=2_000), 3_600, 80),
    ],
)
def test_an_hours_and_a_days_limit_hold_in_every_window_and_are_used(
    engine: Engine, rules: Limits, window: float, limit: int
) -> None:
    windows = 3

    sent = simulate(engine, rules, seconds=windows * window * 1.02)

    assert most_in_a_window(sent, window) <= limit
    assert len(sent) >= 0.95 * limit * windows


@pytest.mark.parametrize("limit", [7, 40])
def test_a_seconds_limit_holds_in_every_second_and_is_used(engine: Engine, limit: int) -> None:
    seconds = 20

    sent = simulate(engine, Limits(per_second=limit), seconds=seconds, late=0.02)

    assert most_in_a_window(sent, 1.0) <= limit
    # Of ten restarts five lose what they were given, a quarter of a second at most.
    assert len(sent) >= 0.95 * limit * (seconds - 5 * 0.25)


def test_a_new_sender_is_warmed_up_day_by_day() -> None:
    rules = Limits(warm_up=[50, 100], warm_up_from=NOW.date(), per_day=80)

    of_day = [rules.windows(NOW + timedelta(days=day)) for day in range(4)]

    assert [[most for _, _, most in windows] for windows in of_day] == [[50], [80], [80], [80]]
    free = Limits(warm_up=[50, 100], warm_up_from=NOW.date())
    assert free.windows(NOW + timedelta(days=2)) == []


def test_a_clock_that_was_set_back_does_not_stop_a_limit_by_the_second(engine: Engine) -> None:
    rules = Limits(per_second=10)

    def leased(now: datetime) -> int:
        with sessions.writing(engine) as session:
            return limits.lease(session, rules, wanted=5, now=now).messages

    assert leased(NOW + timedelta(days=3)) > 0
    assert leased(NOW) > 0


# The worker


def test_a_worker_stops_at_a_limit_and_goes_on_when_there_is_leave_again(engine: Engine) -> None:
    ledgers.fill(engine, 100)

    def run(port: int) -> worker.Tally:
        return worker.run(engine, ledgers.plan(port, rules=Limits(per_hour=30)))

    with running(ScriptedServer()) as server:
        first, second = run(server.port), run(server.port)
        assert (first.counts, second.counts) == ({"accepted": 30}, {})
        assert first.limited_until is not None
        with sessions.writing(engine) as session:
            long_ago = utc_now() - timedelta(hours=1, minutes=2)
            session.execute(update(Spending).values(began_at=long_ago))
        third = run(server.port)

    assert third.counts == {"accepted": 30}
    assert ledgers.states(engine) == {"accepted": 60, "queued": 40}


def test_what_was_not_used_of_a_lease_is_given_back_at_the_end(engine: Engine) -> None:
    ledgers.fill(engine, 3)

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port, rules=Limits(per_hour=10_000)))

    with sessions.reading(engine) as session:
        assert session.execute(select(func.sum(Spending.count))).scalar() == 3


def test_a_domain_that_has_had_enough_is_left_alone_for_ten_minutes(engine: Engine) -> None:
    ledgers.fill(engine, 200)
    told: list[str] = []

    def script(turn: Turn) -> str | None:
        return "450 4.7.28 unusual rate" if turn.phase == "rcpt" else None

    with running(ScriptedServer(script)) as server:
        tally = worker.run(
            engine,
            ledgers.plan(server.port, connections=4),
            on_trouble=lambda sentence, _: told.append(sentence),
        )

    assert tally.settled == 0
    # Each connection may have asked once before the first answer was there, and once behind it.
    assert tally.counts["returned"] <= 8
    assert ledgers.states(engine) == {"queued": 200}
    assert told == ["example.com has had enough of us: 450 unusual rate."]
    with sessions.reading(engine) as session:
        pace = session.get(Pace, "example.com")
        assert pace is not None
        assert pace.connections == 1
        assert pace.paused_until is not None
        due = session.execute(select(func.min(Delivery.due_at))).scalar()
        assert due is not None
        assert due - pace.paused_until > -timedelta(minutes=10)
        assert session.execute(select(func.max(Delivery.attempts))).scalar() == 0
        assert (
            session.execute(select(func.count()).select_from(Attempt)).scalar()
            == (tally.counts["returned"])
        )


def test_what_one_worker_has_in_hand_stops_when_another_finds_a_domain_paused(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 200)

    def slow(turn: Turn) -> None:
        if turn.phase == "body":
            time.sleep(0.06)
            if turn.earlier == 3:
                until = utc_now() + limits.PAUSE
                with sessions.writing(engine) as session:
                    session.add(
                        Pace(key="example.com", next_at=until, paused_until=until, changed_at=NOW)
                    )

    with running(ScriptedServer(slow)) as server:
        worker.run(engine, ledgers.plan(server.port))

    states = ledgers.states(engine)
    assert set(states) == {"accepted", "queued"}
    assert states["accepted"] == len(server.arrivals) < 4 * 16


def test_a_policy_that_refuses_one_after_the_other_stops_the_sending_there(engine: Engine) -> None:
    ledgers.fill(engine, 300)

    def script(turn: Turn) -> str | None:
        return "550 5.7.1 blocked by policy" if turn.phase == "rcpt" else None

    with running(ScriptedServer(script)) as server:
        worker.run(engine, ledgers.plan(server.port, connections=2))

    states = ledgers.states(engine)
    assert 20 <= states["refused"] <= 24
    assert states["queued"] == 300 - states["refused"]


# Domains


def claims(engine: Engine, count: int, *, worker_id: int = 1) -> list[Claim]:
    with sessions.writing(engine) as session:
        return ledger.claim(session, worker_id=worker_id, limit=count, now=NOW)


def learn(
    engine: Engine, answer: Reply, claimed: list[Claim], *, now: datetime, rules: Limits
) -> None:
    outcome = reply.classify(Phase.BODY, answer)
    decided = retry.decide(
        outcome,
        attempts=0,
        rules=retry.Rules("resend", ledgers.WAITS),
        give_up_at=None,
        now=now,
        rng=random.Random(1),
    )
    verdicts = [Verdict(each.id, each.address, outcome, decided) for each in claimed]
    with sessions.writing(engine) as session:
        limits.learn(session, verdicts, rules, slow={"example.com"}, now=now)


def restrain(
    engine: Engine, claimed: list[Claim], *, now: datetime, rules: Limits, worker_id: int = 1
) -> tuple[dict[int, datetime], int | None]:
    with sessions.writing(engine) as session:
        waiting, shares = limits.restrain(session, claimed, rules, worker_id=worker_id, now=now)
    return waiting, shares.get("example.com")


def connections(engine: Engine) -> int | None:
    with sessions.reading(engine) as session:
        pace = session.get(Pace, "example.com")
        return pace.connections if pace else None


def test_after_the_pause_a_domain_gets_one_connection_then_one_more_at_a_time(
    engine: Engine,
) -> None:
    rules = Limits(domains={"example.com": DomainLimit(connections=3)})
    ledgers.fill(engine, 50)
    claimed = claims(engine, 50)

    learn(engine, TOO_MUCH, claimed[:1], now=NOW, rules=rules)
    waiting, share = restrain(engine, claimed, now=NOW, rules=rules)
    assert (len(waiting), share) == (50, 1)
    assert min(waiting.values()) == NOW + limits.PAUSE

    later = NOW + limits.PAUSE
    waiting, share = restrain(engine, claimed, now=later, rules=rules)
    assert share == 1
    assert 1 <= 50 - len(waiting) <= 12
    steps = []
    for _ in range(8):
        learn(engine, Reply(250, "ok"), claimed[:10], now=later, rules=rules)
        steps.append(connections(engine))
    assert steps == [2, 2, 3, 3, 3, None, None, None]
    assert restrain(engine, claimed, now=later, rules=rules) == ({}, 3)


def test_trouble_halves_a_domains_connections_once_and_not_for_every_reply(engine: Engine) -> None:
    rules, busy = Limits(), Reply(421, "4.4.2 timeout")
    ledgers.fill(engine, 20)
    claimed = claims(engine, 20)

    learn(engine, busy, claimed, now=NOW, rules=rules)
    learn(engine, busy, claimed, now=NOW + timedelta(seconds=5), rules=rules)
    assert connections(engine) == 8

    learn(engine, busy, claimed, now=NOW + timedelta(minutes=2), rules=rules)
    assert connections(engine) == 4


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_the_workers_shares_of_a_domain_are_its_connections(engine: Engine, most: int) -> None:
    rules = Limits(domains={"*": DomainLimit(connections=most)})
    ledgers.fill(engine, 10)
    claimed = claims(engine, 10)
    with sessions.writing(engine) as session:
        for number in range(1, 5):
            session.add(
                Worker(
                    id=number, name=f"w{number}", host="h", pid=1, started_at=NOW, lease_until=NOW
                )
            )

    found = [restrain(engine, claimed, now=NOW, rules=rules, worker_id=n) for n in range(1, 5)]

    assert sum(share or 0 for _, share in found) == most
    # Who has no share gives back what it claimed: it is another's turn.
    assert all(len(waiting) == (0 if share else 10) for waiting, share in found)


def test_a_rate_that_was_set_for_a_domain_holds_for_all_workers_together(engine: Engine) -> None:
    rules = Limits(domains={"example.com": DomainLimit(per_minute=60)})
    ledgers.fill(engine, 400)
    claimed = claims(engine, 400)

    let_go = []
    for second in range(60):
        half = claimed[:200] if second % 2 else claimed[200:]
        now = NOW + timedelta(seconds=second)
        waiting, _ = restrain(engine, half, now=now, rules=rules, worker_id=1 + second % 2)
        let_go.append(len(half) - len(waiting))

    assert 57 <= sum(let_go) <= 63


def test_other_domains_are_not_held_up(engine: Engine) -> None:
    ledgers.fill(engine, 10)
    claimed = claims(engine, 10)
    learn(engine, TOO_MUCH, claimed[:1], now=NOW, rules=Limits())
    others = [each._replace(address=f"r{each.id}@elsewhere.example") for each in claimed]

    assert restrain(engine, others, now=NOW, rules=Limits()) == ({}, None)
