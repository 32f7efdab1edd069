"""Limits: never more than that in any window, nearly all of it used, over restarts and workers.

Clocks are virtual: an hour's limit is tried for hours, in a second, and a database that takes half
a second for each commit takes none.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import claimants
import ledgers
import pytest
import virtual_time
from scripted_smtp import DROP, Act, ScriptedServer, Turn, running
from sqlalchemy import Engine, event, func, select, update
from sqlmodel import Session

from newsletter import suppression
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.ledger import retry
from newsletter.ledger.queue import Claim, Verdict
from newsletter.models import Attempt, Delivery, Pace, RateWindow, State, Worker
from newsletter.sender import budget, claiming, domain_limits, limits, worker
from newsletter.sender.budget import Budget, Unused
from newsletter.sender.domain_limits import Allowance
from newsletter.sender.limits import Limits, Reservation, SendSlots
from newsletter.settings.values import DomainLimit
from newsletter.smtp import reply
from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

#: Hours of a virtual clock that show the same as others do: for `make torture`.
LONG = pytest.mark.torture
NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
TOO_MUCH = Reply(450, "4.7.28 unusual rate")
CONNECTIONS = 20


class Sender:
    """The connections of a worker that always has something to send; its clock is the loop's."""

    def __init__(
        self, engine: Engine, rules: Limits, *, sent: list[float], slow: Callable[[], float]
    ) -> None:
        self._engine, self._rules, self._sent, self._slow = engine, rules, sent, slow
        self._stopping = asyncio.Event()
        self._budget = Budget(
            rules,
            connections=CONNECTIONS,
            reserve=self._lease,
            send_times=self._instants,
            stopping=self._stopping,
            clock=self._now,
            on_exhausted=lambda _: None,
        )
        self._tasks = [asyncio.create_task(self._connection()) for _ in range(CONNECTIONS)]

    async def drain(self) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await self._lease(0, self._budget.unused())

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self) -> None:
        while (permit := await self._budget.permit()) is not None:
            await asyncio.sleep(self._slow())
            turn = await self._budget.wait_for_slot(permit)
            if turn is None:
                continue
            await asyncio.sleep(self._slow())
            if await self._budget.go(turn):
                self._sent.append(_time())
            await asyncio.sleep(self._slow())

    async def _lease(self, wanted: int, unused: Unused) -> Reservation:
        await asyncio.sleep(self._slow())
        with sessions.writing(self._engine) as session:
            found = limits.reserve(
                session, self._rules, wanted=wanted, unused=unused, now=self._now()
            )
        await asyncio.sleep(self._slow())
        return found

    async def _instants(self, lead: timedelta) -> SendSlots:
        await asyncio.sleep(self._slow())
        with sessions.writing(self._engine) as session:
            found = limits.send_times(session, self._rules, lead=lead, now=self._now())
        await asyncio.sleep(self._slow())
        return found

    def _now(self) -> datetime:
        return NOW + timedelta(seconds=_time())


def _time() -> float:
    return asyncio.get_running_loop().time()


def simulate(
    engine: Engine, rules: Limits, *, seconds: float, workers: int = 4, slow: float = 0.01
) -> list[float]:
    """Have workers send for so long, with ten restarts; return when each body went.

    Whatever a server or a database does takes `slow` seconds, more or less.
    """
    rng = random.Random(5)
    sent: list[float] = []

    def sender() -> Sender:
        return Sender(engine, rules, sent=sent, slow=lambda: rng.uniform(0.2, 1.8) * slow)

    async def run() -> None:
        senders = [sender() for _ in range(workers)]
        restarts = sorted(rng.uniform(0, seconds) for _ in range(10))
        for number, at in enumerate(restarts):
            await asyncio.sleep(at - _time())
            one = senders.pop(rng.randrange(workers))
            await (one.kill() if number % 2 else one.drain())
            senders.append(sender())
        await asyncio.sleep(seconds - _time())
        for one in senders:
            await one.kill()

    virtual_time.run(run())
    return [at for at in sent if at <= seconds]


def most_in_a_window(sent: list[float], window: float) -> int:
    return max(i - bisect_left(sent, at - window + 1e-9) + 1 for i, at in enumerate(sent))


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked once a minute, a day takes long."""
    monkeypatch.setattr(budget, "PATIENCE_SECONDS", 3_600)


@pytest.mark.mainly_on("sqlite")
@pytest.mark.parametrize(
    ("rules", "window", "limit"),
    [
        (Limits(per_hour=120), 3_600, 120),
        pytest.param(Limits(per_day=150), 86_400, 150, marks=LONG),
        (Limits(per_hour=80, per_day=2_000), 3_600, 80),
        pytest.param(Limits(per_hour=200, per_second=4), 3_600, 200, marks=LONG),
    ],
)
@pytest.mark.parametrize("slow", [0.01, 1])
@pytest.mark.usefixtures("unhurried")
def test_an_hours_and_a_days_limit_hold_in_every_window_and_are_used(
    engine: Engine,
    rules: Limits,
    window: float,
    limit: int,
    slow: float,
) -> None:
    windows = 3

    sent = simulate(engine, rules, seconds=windows * window * 1.02, slow=slow)

    assert most_in_a_window(sent, window) <= limit
    assert len(sent) >= 0.95 * limit * windows


@pytest.mark.mainly_on("sqlite")
@pytest.mark.parametrize(
    ("limit", "workers", "slow", "seconds"),
    [
        (7, 1, 0.01, 200),
        pytest.param(7, 4, 0.3, 300, marks=LONG),
        pytest.param(40, 4, 0.01, 100, marks=LONG),
        pytest.param(10, 1, 0.1, 300, marks=LONG),
        (6, 4, 0.5, 300),
    ],
)
def test_a_seconds_limit_holds_in_every_second_and_is_used(
    engine: Engine, limit: int, workers: int, slow: float, seconds: float
) -> None:
    sent = simulate(engine, Limits(per_second=limit), seconds=seconds, workers=workers, slow=slow)

    assert most_in_a_window(sent, 1.0) <= limit
    # Who is killed takes along what it was given, and that is for a few commits.
    assert len(sent) >= 0.95 * limit * (seconds - 10 * 8 * slow)


@pytest.mark.parametrize("seconds", [200, pytest.param(600, marks=LONG)])
def test_a_second_is_kept_to_by_more_workers_than_it_has_messages(
    engine: Engine, seconds: float
) -> None:
    sent = simulate(engine, Limits(per_second=0.5), seconds=seconds)

    assert most_in_a_window(sent, 2.0) <= 1
    assert len(sent) >= 0.93 * 0.5 * seconds


def test_a_new_sender_is_warmed_up_day_by_day() -> None:
    rules = Limits(warm_up=[50, 100], warm_up_from=NOW.date(), per_day=80)

    of_day = [rules.windows(NOW + timedelta(days=day)) for day in range(4)]

    assert [[most for _, _, most in windows] for windows in of_day] == [[50], [80], [80], [80]]
    free = Limits(warm_up=[50, 100], warm_up_from=NOW.date())
    assert free.windows(NOW + timedelta(days=2)) == []


def test_a_clock_that_was_set_back_does_not_stop_a_limit_by_the_second(engine: Engine) -> None:
    rules = Limits(per_second=10)

    def taken(now: datetime) -> int:
        with sessions.writing(engine) as session:
            return limits.send_times(session, rules, lead=timedelta(), now=now).number

    assert taken(NOW + timedelta(days=3)) > 0
    assert taken(NOW) > 0


def test_what_went_before_a_clock_was_set_back_counts_for_one_window_and_no_longer(
    engine: Engine,
) -> None:
    rules = Limits(per_hour=10)

    def leased(now: datetime) -> int:
        with sessions.writing(engine) as session:
            return limits.reserve(session, rules, wanted=1, now=now).messages

    later = NOW + timedelta(days=3)
    assert sum(leased(later) for _ in range(20)) == 10
    assert leased(NOW) == 0
    assert leased(NOW + timedelta(minutes=55)) == 0
    assert leased(NOW + timedelta(minutes=63)) == 1


def test_all_who_take_leave_ask_for_the_same_lock_first(engine: Engine) -> None:
    changed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith(("UPDATE", "INSERT", "DELETE")):
            changed.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    with sessions.writing(engine) as session:
        rules = Limits(per_hour=10)
        limits.reserve(session, rules, wanted=1, unused=[(NOW, 1)], now=NOW)

    assert "INTO pace" in changed[0]
    assert len(changed) > 2


# The worker


class SlowServer(ScriptedServer):
    """It takes a moment for each message, and notes how many it has at a time."""

    def __init__(self, at_a_time: list[int]) -> None:
        super().__init__()
        self._at_a_time, self._now = at_a_time, 0

    async def work(self) -> None:
        self._now += 1
        self._at_a_time.append(self._now)
        await asyncio.sleep(0.01)
        self._now -= 1


def test_a_slow_database_does_not_stop_a_limit_by_the_second(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 30)
    event.listen(sqlite_engine, "commit", lambda _: time.sleep(0.15))

    with running(ScriptedServer()) as server:
        tally = worker.run(sqlite_engine, ledgers.plan(server.port, rules=Limits(per_second=40)))

    assert tally.counts == {"accepted": 30}


def test_leave_is_not_lost_while_a_relay_is_away(engine: Engine) -> None:
    ledgers.fill(engine, 30)

    def away(turn: Turn) -> Act | None:
        return DROP if turn.phase == "connect" and turn.earlier < 10 else None

    with running(ScriptedServer(away)) as server:
        tally = worker.run(
            engine, ledgers.plan(server.port, connections=8, rules=Limits(per_day=30))
        )

    assert tally.counts == {"accepted": 30}


def test_a_worker_stops_at_a_limit_and_goes_on_when_there_is_leave_again(engine: Engine) -> None:
    ledgers.fill(engine, 100)

    def run(port: int) -> worker.SendTally:
        return worker.run(engine, ledgers.plan(port, rules=Limits(per_hour=30)))

    with running(ScriptedServer()) as server:
        first, second = run(server.port), run(server.port)
        assert (first.counts, second.counts) == ({"accepted": 30}, {})
        assert first.limited_until is not None
        with sessions.writing(engine) as session:
            long_ago = utc_now() - timedelta(hours=1, minutes=2)
            session.execute(update(RateWindow).values(began_at=long_ago))
        third = run(server.port)

    assert third.counts == {"accepted": 30}
    assert ledgers.states(engine) == {"accepted": 60, "queued": 40}


def test_what_was_not_used_of_a_lease_is_given_back_at_the_end(engine: Engine) -> None:
    ledgers.fill(engine, 3)

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port, rules=Limits(per_hour=10_000)))

    with sessions.reading(engine) as session:
        assert session.execute(select(func.sum(RateWindow.count))).scalar() == 3


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
        waiting = session.execute(
            select(func.count()).where(Delivery.blocked_domain == "example.com")
        )
        assert waiting.scalar_one() >= 200 - tally.counts["returned"]
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
                until = utc_now() + domain_limits.PAUSE
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
    return claimants.claim(engine, worker_id, limit=count, now=NOW)


def learn(
    engine: Engine, answer: Reply, claimed: list[Claim], *, now: datetime, rules: Limits
) -> None:
    outcome = reply.classify(Phase.BODY, answer)
    decided = retry.decide(
        outcome,
        attempts=0,
        rules=retry.RetryRules("resend", ledgers.WAITS),
        give_up_at=None,
        now=now,
        rng=random.Random(1),
    )
    verdicts = [Verdict(each.id, each.address, outcome, decided) for each in claimed]
    with sessions.writing(engine) as session:
        domain_limits.learn(session, verdicts, rules, slow={"example.com"}, now=now)


def allow(
    engine: Engine, *, now: datetime, rules: Limits, worker_id: int = 1, holding: int = 0
) -> Allowance | None:
    with sessions.writing(engine) as session:
        return domain_limits.allowances(
            session,
            ["example.com"],
            rules,
            holding={"example.com": holding},
            worker_id=worker_id,
            now=now,
        ).get("example.com")


def move(engine: Engine, mailing_id: int, domain: str) -> None:
    """Have all readers of a mailing at one domain."""
    with sessions.writing(engine) as session:
        session.execute(
            update(Delivery)
            .where(Delivery.mailing_id == mailing_id)
            .values(address=func.replace(Delivery.address, "example.com", domain))
        )


def sign_in(engine: Engine, *numbers: int) -> None:
    with sessions.writing(engine) as session:
        for number in numbers:
            session.add(
                Worker(
                    id=number, name=f"w{number}", host="h", pid=1, started_at=NOW, lease_until=NOW
                )
            )


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
    allowed = allow(engine, now=NOW + domain_limits.PAUSE / 2, rules=rules)
    assert allowed is not None
    assert (allowed.share, allowed.messages) == (1, 0)
    assert allowed.again_at == NOW + domain_limits.PAUSE

    later = NOW + domain_limits.PAUSE
    allowed = allow(engine, now=later, rules=rules)
    assert allowed is not None
    assert allowed.share == 1
    assert 1 <= allowed.messages <= 12
    steps = []
    for _ in range(8):
        learn(engine, Reply(250, "ok"), claimed[:10], now=later, rules=rules)
        steps.append(connections(engine))
    assert steps == [2, 2, 3, 3, 3, None, None, None]
    allowed = allow(engine, now=later, rules=rules)
    assert allowed is not None
    assert (allowed.share, allowed.spacing) == (3, timedelta())


def test_trouble_halves_a_domains_connections_once_and_not_for_every_reply(engine: Engine) -> None:
    rules, busy = Limits(), Reply(421, "4.4.2 timeout")
    ledgers.fill(engine, 20)
    claimed = claims(engine, 20)

    learn(engine, busy, claimed, now=NOW, rules=rules)
    learn(engine, busy, claimed, now=NOW + timedelta(seconds=5), rules=rules)
    assert connections(engine) == 8

    learn(engine, busy, claimed, now=NOW + timedelta(minutes=2), rules=rules)
    assert connections(engine) == 4


def test_successes_do_not_hide_the_next_trouble(engine: Engine) -> None:
    busy, fine = Reply(421, "4.4.2 timeout"), Reply(250, "ok")
    ledgers.fill(engine, 20)
    claimed = claims(engine, 20)

    for minute in range(0, 6, 2):
        now = NOW + timedelta(minutes=minute)
        learn(engine, busy, claimed[:1], now=now, rules=Limits())
        learn(engine, fine, claimed[:1], now=now + timedelta(seconds=110), rules=Limits())

    assert connections(engine) == 2


def test_who_has_had_enough_is_heard_over_who_is_only_busy(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    of = {
        each.id: reply.classify(Phase.BODY, said)
        for each, said in zip(
            claims(engine, 2), (TOO_MUCH, Reply(451, "4.3.0 trouble")), strict=True
        )
    }
    with sessions.writing(engine) as session:
        decision = retry.Decision(State.QUEUED, NOW, is_charged=False)
        verdicts = [Verdict(one, "r@example.com", said, decision) for one, said in of.items()]
        domain_limits.learn(session, verdicts, Limits(), slow=(), now=NOW)
        assert domain_limits.paused(session, NOW) == {"example.com": NOW + domain_limits.PAUSE}


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=2)])
def test_a_clock_that_was_set_back_makes_no_pause_longer(engine: Engine, back: timedelta) -> None:
    ledgers.fill(engine, 5)
    claimed = claims(engine, 5)
    learn(engine, TOO_MUCH, claimed[:1], now=NOW, rules=Limits())

    earlier = NOW - back
    allowed = allow(engine, now=earlier, rules=Limits())

    assert allowed is not None
    assert allowed.messages >= 1
    with sessions.reading(engine) as session:
        assert domain_limits.paused(session, earlier) == {}
    learn(engine, TOO_MUCH, claimed[:1], now=earlier, rules=Limits())
    with sessions.reading(engine) as session:
        assert domain_limits.paused(session, earlier) == {
            "example.com": earlier + domain_limits.PAUSE
        }


@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_the_workers_shares_of_a_domain_are_its_connections(engine: Engine, most: int) -> None:
    rules = Limits(domains={"*": DomainLimit(connections=most)})
    sign_in(engine, 1, 2, 3, 4)
    had = Counter[int]()

    for turn in range(4):
        now = NOW + turn * timedelta(seconds=30)
        found = [allow(engine, now=now, rules=rules, worker_id=n) for n in range(1, 5)]
        shares = [one.share for one in found if one is not None]
        assert sum(shares) == most
        # Who has no share claims nothing: it is another's turn, but not for good.
        assert all((one.messages > 0) == (one.share > 0) for one in found if one is not None)
        had.update(dict(enumerate(shares)))

    assert set(had.values()) == {most}


def test_no_more_is_claimed_of_a_domain_than_a_worker_can_use_soon(engine: Engine) -> None:
    rules = Limits(domains={"*": DomainLimit(connections=2)})

    counts = []
    for holding in (0, 30, 40):
        allowed = allow(engine, now=NOW, rules=rules, holding=holding)
        assert allowed is not None
        counts.append((allowed.messages, allowed.again_at))

    assert counts == [(32, None), (2, None), (0, None)]


@pytest.mark.parametrize("per_minute", [0.05, 60, 600])
def test_a_rate_that_was_set_for_a_domain_holds_for_all_workers_together(
    engine: Engine, per_minute: float
) -> None:
    rules = Limits(domains={"example.com": DomainLimit(per_minute=per_minute)})
    minutes, step = (60, 20) if per_minute < 1 else (1, 1)

    claimed = 0
    for second in range(0, 60 * minutes, step):
        now = NOW + timedelta(seconds=second)
        with sessions.writing(engine) as session:
            allowed = domain_limits.allowances(
                session, ["example.com"], rules, holding={}, worker_id=second % 2, now=now
            )
            allowed["example.com"].take(allowed["example.com"].messages)
            claimed += allowed["example.com"].claimed
            domain_limits.spend(session, allowed, now)

    # Two seconds ahead, and the first at once.
    assert per_minute * minutes <= claimed + 0.1
    assert claimed <= per_minute * minutes + per_minute / 30 + 1


@pytest.mark.mainly_on("sqlite")
def test_what_a_domain_does_not_take_holds_nobody_else_up(engine: Engine) -> None:
    """A queue of one slow domain, and behind it readers of others."""
    rules = Limits(domains={"example.com": DomainLimit(connections=1)})
    ledgers.fill(engine, 400)
    last = ledgers.fill(engine, 20, public_id="mailing000000002")
    move(engine, last, "elsewhere.example")
    others: list[int] = []

    def rule(turn: Turn) -> None:
        if turn.phase == "body" and "elsewhere" in turn.recipient:
            others.append(turn.earlier)

    with running(ScriptedServer(rule)) as server:
        tally = worker.run(engine, ledgers.plan(server.port, rules=rules))

    assert tally.counts == {"accepted": 420}
    # Not behind the four hundred.
    assert max(others) < 200


def test_a_domains_messages_go_no_more_at_a_time_than_it_takes_to_the_last_one(
    engine: Engine,
) -> None:
    rules = Limits(domains={"example.com": DomainLimit(connections=2)})
    ledgers.fill(engine, 200)
    at_a_time: list[int] = []

    with running(SlowServer(at_a_time)) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=12, rules=rules))

    assert tally.counts == {"accepted": 200}
    assert max(at_a_time) == 2


def test_a_worker_waits_for_a_domain_whose_turn_comes_soon_and_leaves_a_paused_one(
    engine: Engine,
) -> None:
    rules = Limits(domains={"example.com": DomainLimit(per_minute=600)})
    ledgers.fill(engine, 40)
    paused = ledgers.fill(engine, 8_000, public_id="mailing000000002")
    move(engine, paused, "full.example")
    with sessions.writing(engine) as session:
        until = utc_now() + domain_limits.PAUSE
        session.add(Pace(key="full.example", next_at=until, paused_until=until, changed_at=NOW))

    with running(ScriptedServer()) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=1, rules=rules))

    assert tally.counts == {"accepted": 40}
    assert ledgers.states(engine) == {"accepted": 40, "queued": 8_000}
    with sessions.reading(engine) as session:
        blocked_domains = session.execute(
            select(Delivery.blocked_domain, func.count()).group_by(Delivery.blocked_domain)
        ).all()
        assert set(map(tuple, blocked_domains)) == {(None, 40), ("full.example", 8_000)}


def test_other_domains_are_not_limited(engine: Engine) -> None:
    ledgers.fill(engine, 1)
    learn(engine, TOO_MUCH, claims(engine, 1), now=NOW, rules=Limits())

    with sessions.writing(engine) as session:
        found = domain_limits.allowances(
            session, ["elsewhere.example"], Limits(), holding={}, worker_id=1, now=NOW
        )

    assert found == {}


def test_of_many_lanes_a_claim_looks_in_a_few_and_none_is_passed_over(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "_BLOCKED_DOMAINS_AT_MOST", 7)
    asked: list[int] = []
    allowances = domain_limits.allowances

    def counting(session: Session, domains: list[str], *rest: Any, **more: Any) -> Any:
        asked.append(len(domains))
        return allowances(session, domains, *rest, **more)

    monkeypatch.setattr(domain_limits, "allowances", counting)
    # Some of them paused, some free again.
    until = utc_now() + domain_limits.PAUSE
    for public_id in ("mailing000000001", "mailing000000002"):
        ledgers.fill(engine, 120, public_id=public_id)
    with sessions.writing(engine) as session:
        for number in range(30):
            domain = f"d{number}.example"
            session.execute(
                update(Delivery)
                .where(Delivery.id % 30 == number)
                .values(
                    address=func.replace(Delivery.address, "example.com", domain),
                    blocked_domain=domain,
                )
            )
            if number % 3 == 0:
                session.add(Pace(key=domain, next_at=until, paused_until=until, changed_at=NOW))

    with running(ScriptedServer()) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=2))

    assert tally.counts == {"accepted": 160}
    assert ledgers.states(engine) == {"accepted": 160, "queued": 80}
    # What is in hand comes on top of those.
    assert max(asked) <= 7 + 2 * 16 + 2


def test_suppressed_readers_at_the_front_of_a_lane_end_no_run(engine: Engine) -> None:
    ledgers.fill(engine, 60)
    with sessions.writing(engine) as session:
        session.execute(update(Delivery).values(blocked_domain="example.com"))
        suppression.suppress_all(
            session,
            [f"reader{number}@example.com" for number in range(1, 41)],
            grounds=Grounds(Cause.DEAD, "dead", "test"),
            now=NOW,
            keyring=Keyring([ledgers.SECRET]),
        )

    with running(ScriptedServer()) as server:
        worker.run(
            engine,
            ledgers.plan(
                server.port,
                connections=1,
                rules=Limits(domains={"example.com": DomainLimit(connections=1)}),
            ),
        )

    assert ledgers.states(engine) == {"accepted": 20, "skipped": 40}
