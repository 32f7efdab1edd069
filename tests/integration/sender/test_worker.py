"""The worker, against a real mail server on loopback: what arrives, and what the books say."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import claimants
import counts
import ledgers
import pytest
from journey import until
from scripted_smtp import DROP, STALL, Act, ScriptedServer, Turn, running
from sqlalchemy import Engine, func, select, update

from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import lockfile
from newsletter.db import session as sessions
from newsletter.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    NewsletterError,
    RenderError,
    TransportUnavailable,
)
from newsletter.ledger import cancellation, holding, queue, recovery, registry
from newsletter.ledger.holding import LeaseLost
from newsletter.ledger.reasons import Reason
from newsletter.models import Attempt, Delivery, Mailing, Worker
from newsletter.sender import committer, worker
from newsletter.sender.committer import Committer
from newsletter.smtp import session as smtp_session


def everybody(count: int) -> list[str]:
    return sorted(f"reader{n}@example.com" for n in range(1, count + 1))


def rule(phase: str, answer: str | Act, *, when: Callable[[Turn], bool] = lambda _: True):  # noqa: ANN201
    """Answer one phase in one way, when that is true."""
    return lambda turn: answer if turn.phase == phase and when(turn) else None


def attempts(engine: Engine) -> Counter[tuple[str, str, int | None]]:
    with sessions.reading(engine) as session:
        found = session.execute(select(Attempt.outcome, Attempt.phase, Attempt.code))
        return Counter((each.outcome, each.phase, each.code) for each in found)


def left_behind(engine: Engine) -> int:
    """Registered workers, and rows that a worker holds."""
    with sessions.reading(engine) as session:
        held = select(func.count()).where(holding.is_held())
        signed_in = select(func.count()).select_from(Worker)
        return session.execute(held).scalar_one() + session.execute(signed_in).scalar_one()


# All goes well


def test_every_reader_gets_one_message_and_the_books_say_so(engine: Engine) -> None:
    ledgers.fill(engine, 100)

    with running(ScriptedServer()) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=4))

    assert sorted(server.recipients()) == everybody(100)
    assert len({arrival.message_id for arrival in server.arrivals}) == 100
    assert ledgers.states(engine) == {"accepted": 100}
    assert tally.counts == {"accepted": 100}
    assert server.connections <= 4
    assert left_behind(engine) == 0


def test_the_bytes_that_arrive_are_those_that_were_compiled(sqlite_engine: Engine) -> None:
    long = ledgers.compiled(size=200_000)
    ledgers.fill(sqlite_engine, 5, message=long)

    with running(ScriptedServer()) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port))

    with sessions.writing(sqlite_engine) as session:
        session.execute(update(Delivery).values(state="queued"))
        counts.recount(session)
    claims = claimants.claim(sqlite_engine, limit=9, now=ledgers.NOW)
    for claim in claims:
        wire = ledgers.filler().fill(long, slot_values=ledgers.STAMP, claim=claim)
        (arrived,) = [a.content for a in server.arrivals if a.recipient == claim.address]
        assert arrived == wire.replace(b"\r\n..", b"\r\n.")


def test_a_second_run_sends_nothing(engine: Engine) -> None:
    ledgers.fill(engine, 10)

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))
        again = worker.run(engine, ledgers.plan(server.port))

    assert again.counts == {}
    assert len(server.arrivals) == 10


def test_workers_at_the_same_time_send_each_message_once(engine: Engine) -> None:
    ledgers.fill(engine, 200)

    def work(port: int) -> None:
        own = engines.open(engine.url.render_as_string(hide_password=False))
        worker.run(own, ledgers.plan(port, connections=3))
        own.dispose()

    with running(ScriptedServer()) as server:
        threads = [threading.Thread(target=work, args=(server.port,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(server.recipients()) == everybody(200)
    assert ledgers.states(engine) == {"accepted": 200}
    assert left_behind(engine) == 0


def test_only_the_mailings_that_were_asked_for_leave(sqlite_engine: Engine) -> None:
    one = ledgers.fill(sqlite_engine, 5)
    paused = ledgers.fill(sqlite_engine, 5, public_id="mailing000000002")

    with running(ScriptedServer()) as server:
        worker.run(
            sqlite_engine,
            ledgers.plan(server.port),
            excluded=select(Mailing.id).where(Mailing.id == paused),
        )

    assert ledgers.states(sqlite_engine) == {"accepted": 5, "queued": 5}
    assert {a.message_id.partition(".")[0] for a in server.arrivals} == {"mailing000000001"}
    assert one != paused


# Refusals


def test_refusals_and_deferrals_concern_one_reader_each(engine: Engine) -> None:
    ledgers.fill(engine, 20)

    def choosy(turn: Turn) -> str | None:
        if turn.phase == "rcpt" and "<reader7@" in turn.line:
            return "550 5.1.1 no such user"
        if turn.phase == "rcpt" and "<reader8@" in turn.line:
            return "451 4.7.1 greylisted"
        if turn.phase == "body" and turn.recipient.startswith("reader9@"):
            return "552 5.3.4 too large"
        return None

    with running(ScriptedServer(choosy)) as server:
        tally = worker.run(engine, ledgers.plan(server.port))

    assert len(server.arrivals) == 17
    assert ledgers.states(engine) == {"accepted": 17, "refused": 2, "deferred": 1}
    assert tally.counts == {"accepted": 17, "refused": 2, "deferred": 1}
    assert attempts(engine) == {
        ("refused", "rcpt", 550): 1,
        ("deferred", "rcpt", 451): 1,
        ("refused", "body", 552): 1,
    }


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("mail", "530 5.7.0 authentication required"),
        ("mail", "550 5.7.1 sender rejected"),
        ("rcpt", "550 5.4.5 daily user sending limit exceeded"),
        ("data", "503 5.5.1 bad sequence"),
        ("body", "554 5.6.0 malformed message"),
    ],
)
def test_what_is_ours_to_mend_stops_the_run_and_charges_nobody(
    sqlite_engine: Engine, phase: str, answer: str
) -> None:
    ledgers.fill(sqlite_engine, 200)

    scripted = ScriptedServer(rule(phase, answer))
    with running(scripted) as server, pytest.raises(ConfigurationError, match=answer[:3]):
        worker.run(sqlite_engine, ledgers.plan(server.port))

    assert server.phases[phase] <= 4, "no more than one message per connection"
    assert ledgers.states(sqlite_engine) == {"queued": 200}
    with sessions.reading(sqlite_engine) as session:
        assert session.execute(select(func.max(Delivery.attempts))).scalar() == 0
    assert left_behind(sqlite_engine) == 0


def test_bad_credentials_stop_the_run_and_charge_nobody(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 50)
    scripted = ScriptedServer(rule("auth", "535 5.7.8 bad credentials"), extensions=("AUTH PLAIN",))

    with running(scripted) as server:
        plan = ledgers.plan(server.port)
        login = replace(plan.servers[0], username="mia", password="open sesame")
        plan = replace(plan, servers=[login])
        with pytest.raises(ConfigurationError, match="let us in"):
            worker.run(sqlite_engine, plan)

    assert ledgers.states(sqlite_engine) == {"queued": 50}
    assert attempts(sqlite_engine) == {}


# Connections that end


def test_a_server_that_takes_so_many_messages_per_connection_is_called_again_at_once(
    engine: Engine,
) -> None:
    """Yahoo closes without a word; others say 421."""
    ledgers.fill(engine, 60)

    def limited(turn: Turn) -> str | Act | None:
        if turn.phase == "mail":
            said[turn.connection] += 1
            if said[turn.connection] > 3:
                return DROP if turn.connection % 2 else "421 4.7.0 enough for one connection"
        return None

    said: Counter[int] = Counter()
    with running(ScriptedServer(limited)) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=2))

    assert sorted(server.recipients()) == everybody(60)
    assert tally.counts == {"accepted": 60}
    assert attempts(engine) == {}
    assert server.connections >= 20


def test_a_server_with_fewer_connections_than_we_want_is_used_with_those(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BACKOFF_SECONDS", 0.05)
    ledgers.fill(sqlite_engine, 100)
    limited = rule("connect", "421 4.7.0 too many", when=lambda turn: turn.open > 2)

    with running(ScriptedServer(limited)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=10))

    assert sorted(server.recipients()) == everybody(100)
    assert ledgers.states(sqlite_engine) == {"accepted": 100}


def test_a_server_that_greets_late_and_refuses_the_rest_at_once_is_waited_for(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postfix looks names up before it greets, and counts connections before it does that."""
    monkeypatch.setattr(worker, "BACKOFF_SECONDS", 0.05)
    ledgers.fill(sqlite_engine, 100)
    # More refusals than end a run: five for each connection.
    numbers, enough = itertools.count(1), asyncio.Event()

    async def late() -> None:
        await enough.wait()

    def answer(turn: Turn) -> str | Awaitable[None] | None:
        if turn.phase != "connect":
            return None
        if turn.open <= 2:
            return late()
        if next(numbers) == 60:
            enough.set()
        return "421 4.7.0 too many"

    with running(ScriptedServer(answer)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=10))

    assert sorted(server.recipients()) == everybody(100)
    assert ledgers.states(sqlite_engine) == {"accepted": 100}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("phase", ["connect", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("answer", [DROP, "421 4.3.2 closing"], ids=["drop", "421"])
@pytest.mark.parametrize("stays", [False, True])
def test_a_server_that_always_leaves_before_the_message_ends_the_run_not_the_readers(
    sqlite_engine: Engine, phase: str, answer: str | Act, stays: bool
) -> None:
    ledgers.fill(sqlite_engine, 300)

    scripted = ScriptedServer(rule(phase, answer))
    with running(scripted) as server, pytest.raises(TransportUnavailable):
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=2), stays=stays)

    assert server.arrivals == []
    assert server.connections <= 40
    assert ledgers.states(sqlite_engine) == {"queued": 300}
    with sessions.reading(sqlite_engine) as session:
        assert session.execute(select(func.max(Delivery.attempts))).scalar() == 0
    assert left_behind(sqlite_engine) == 0


@pytest.mark.usefixtures("impatient")
def test_a_server_that_always_leaves_after_the_message_is_not_given_the_whole_list(
    sqlite_engine: Engine,
) -> None:
    ledgers.fill(sqlite_engine, 300)

    scripted = ScriptedServer(rule("body", DROP))
    with running(scripted) as server, pytest.raises(TransportUnavailable, match="keeps ending"):
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=2))

    assert 10 <= len(server.arrivals) <= 12
    states = ledgers.states(sqlite_engine)
    assert states == {"deferred": len(server.arrivals), "queued": 300 - len(server.arrivals)}
    assert attempts(sqlite_engine) == {("unknown", "body", None): len(server.arrivals)}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [DROP, STALL, "hello", "250"], ids=str)
def test_a_message_whose_end_nobody_heard_is_unknown_and_held_or_sent_again(
    sqlite_engine: Engine, answer: str | Act
) -> None:
    ledgers.fill(sqlite_engine, 6)
    odd = rule("body", answer, when=lambda turn: turn.recipient.startswith("reader3@"))

    with running(ScriptedServer(odd)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=2, policy="hold"))

    # "250" alone is a whole reply (RFC 5321 4.2), if a terse one.
    unknown = 0 if answer == "250" else 1
    assert ledgers.states(sqlite_engine)["unknown"] == unknown
    assert ledgers.states(sqlite_engine)["accepted"] == 6 - unknown


@pytest.mark.usefixtures("impatient")
def test_a_late_answer_never_marks_another_reader_trap_7(sqlite_engine: Engine) -> None:
    """The answer to one reader's message comes when the next is already under way.

    To a server that pipelines the next is announced before: there it is in order.
    """
    ledgers.fill(sqlite_engine, 10)

    def late(turn: Turn) -> str | None:
        if turn.phase == "body" and turn.recipient.startswith("reader2@"):
            return ""
        if turn.phase == "mail" and turn.earlier == 2:
            return "250 2.0.0 queued, at last\r\n250 2.1.0 ok"
        return None

    with running(ScriptedServer(late, extensions=())) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=1, policy="hold"))

    with sessions.reading(sqlite_engine) as session:
        accepted = select(Delivery.address).where(Delivery.state == "accepted")
        believed = set(session.execute(accepted).scalars())
    assert believed <= set(server.recipients())
    assert max(Counter(server.recipients()).values()) == 1


# Pipelining


def believed(engine: Engine) -> set[str]:
    with sessions.reading(engine) as session:
        accepted = select(Delivery.address).where(Delivery.state == "accepted")
        return set(session.execute(accepted).scalars())


@pytest.mark.usefixtures("impatient")
def test_a_reply_left_out_before_a_refusal_makes_nobody_accepted(sqlite_engine: Engine) -> None:
    """Each answer moves one place, and every code would fit but the last, which never comes."""
    ledgers.fill(sqlite_engine, 6)

    def silent(turn: Turn) -> str | None:
        if turn.phase == "body" and turn.recipient.startswith("reader2@"):
            return ""
        return "550 5.1.1 no such user" if turn.line.startswith("RCPT TO:<reader3@") else None

    with running(ScriptedServer(silent)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=1, policy="hold"))

    assert believed(sqlite_engine) <= set(server.recipients())
    assert ledgers.states(sqlite_engine)["unknown"] == 1


def test_what_was_said_to_a_message_is_not_kept_waiting_for_a_slow_server(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp_session, "STEP_SECONDS", 0.1)
    ledgers.fill(sqlite_engine, 2)
    seen: list[set[str]] = []

    def slow(turn: Turn) -> None:
        if turn.phase == "mail" and turn.earlier == 1:
            for _ in range(100):
                seen.append(believed(sqlite_engine))
                if seen[-1]:
                    return
                time.sleep(0.05)

    with running(ScriptedServer(slow)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=1))

    assert seen[-1] == {"reader1@example.com"}


@pytest.mark.parametrize("answer", ["502 5.5.1 not here", "554 5.7.0 too many errors"])
def test_a_refused_reset_costs_a_connection_and_blames_nobody(
    sqlite_engine: Engine, answer: str
) -> None:
    ledgers.fill(sqlite_engine, 12)

    def strict(turn: Turn) -> str | None:
        if turn.line.startswith("RCPT TO:<reader3@"):
            return "550 5.1.1 no such user"
        return answer if turn.phase == "rset" else None

    with running(ScriptedServer(strict)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=1))

    assert ledgers.states(sqlite_engine) == {"accepted": 11, "refused": 1}


def test_goodbyes_that_come_together_cost_a_connection_each_at_most(
    sqlite_engine: Engine,
) -> None:
    ledgers.fill(sqlite_engine, 64)

    def cancel(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 3:
            with sessions.writing(sqlite_engine) as session:
                session.execute(
                    update(Delivery).where(holding.state() == "claimed").values(state="cancelled")
                )
                counts.recount(session)

    with running(ScriptedServer(cancel)) as server:
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=4))

    assert server.connections <= 8
    assert set(ledgers.states(sqlite_engine)) == {"accepted", "cancelled"}


def test_a_hand_full_of_an_edition_that_is_paused_is_given_back_at_once(engine: Engine) -> None:
    """A slow server would be minutes with what a worker has claimed already."""
    ledgers.fill(engine, 200)

    def slow(turn: Turn) -> None:
        if turn.phase == "body":
            time.sleep(0.06)
            if turn.earlier == 3:
                with sessions.writing(engine) as session:
                    session.execute(update(Mailing).values(kind="paused"))

    with running(ScriptedServer(slow)) as server:
        paused = select(Mailing.id).where(Mailing.kind == "paused")  # type: ignore[arg-type]
        worker.run(engine, ledgers.plan(server.port), excluded=paused)

    # Two of sixteen for each connection: it was not waited for until the hand was empty.
    states = ledgers.states(engine)
    assert set(states) == {"accepted", "queued"}
    assert states["accepted"] == len(server.arrivals) < 4 * 16
    assert left_behind(engine) == 0


# Being stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_under_way_and_gives_back_the_rest(
    engine: Engine, number: signal.Signals
) -> None:
    ledgers.fill(engine, 300)

    def interrupt(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 20:
            os.kill(os.getpid(), number)

    with running(ScriptedServer(interrupt)) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=4))

        assert tally.was_stopped
        arrived = len(server.arrivals)
        assert 20 < arrived < 40
        assert ledgers.states(engine) == {"accepted": arrived, "queued": 300 - arrived}
        assert left_behind(engine) == 0

        worker.run(engine, ledgers.plan(server.port, connections=4))
    assert sorted(server.recipients()) == everybody(300)


def test_a_signal_while_connecting_does_not_wait_for_the_server(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 3)

    def silent(turn: Turn) -> Act | None:
        if turn.phase != "connect":
            return None
        os.kill(os.getpid(), signal.SIGTERM)
        return STALL

    with running(ScriptedServer(silent)) as server:
        tally = worker.run(sqlite_engine, ledgers.plan(server.port, connections=1))

    assert tally.was_stopped
    assert ledgers.states(sqlite_engine) == {"queued": 3}


def test_a_second_interrupt_waits_for_no_answer_and_says_what_is_uncertain(
    sqlite_engine: Engine,
) -> None:
    ledgers.fill(sqlite_engine, 50)

    def silent(turn: Turn) -> Act | None:
        if turn.phase != "body":
            return None
        os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return STALL

    with running(ScriptedServer(silent)) as server:
        tally = worker.run(sqlite_engine, ledgers.plan(server.port, connections=1))

    assert tally.was_stopped
    assert ledgers.states(sqlite_engine) == {"deferred": 1, "queued": 49}
    assert attempts(sqlite_engine) == {("unknown", "body", None): 1}
    assert left_behind(sqlite_engine) == 0


def test_a_signal_between_the_last_answer_and_the_goodbye_leaves_nothing_behind(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any thread that does not block it may be given it, as one of the test's server's is here."""
    ledgers.fill(engine, 300)

    original = asyncio.Runner.close

    def close(runner: asyncio.Runner) -> None:
        if threading.current_thread() is threading.main_thread():
            os.kill(os.getpid(), signal.SIGTERM)
        original(runner)

    struck: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: struck.append(number))
    monkeypatch.setattr(asyncio.Runner, "close", close)
    said: list[str] = []
    try:
        with running(ScriptedServer()) as server:
            tally = worker.run(
                engine,
                ledgers.plan(server.port, connections=2),
                on_trouble=lambda sentence, _: said.append(sentence),
            )
    finally:
        signal.signal(signal.SIGTERM, before)

    assert (struck, tally.was_stopped, said) == ([], True, [worker.TOLD_TO_STOP])
    assert ledgers.states(engine) == {"accepted": 300}
    assert left_behind(engine) == 0


def test_a_worker_that_stays_sends_what_comes_later(engine: Engine) -> None:
    ledgers.fill(engine, 5)

    def publish() -> None:
        until(lambda: ledgers.states(engine)["accepted"] == 5)
        ledgers.fill(engine, 3, public_id="letter0000000001")
        until(lambda: ledgers.states(engine)["accepted"] == 8)
        os.kill(os.getpid(), signal.SIGTERM)

    publisher = threading.Thread(target=publish)
    with running(ScriptedServer()) as server:
        publisher.start()
        worker.run(engine, ledgers.plan(server.port, connections=2), stays=True)
    publisher.join()

    assert len(server.arrivals) == 8
    assert ledgers.states(engine) == {"accepted": 8}


# A goodbye


def test_a_goodbye_during_the_run_wins_until_the_body_leaves(engine: Engine) -> None:
    ledgers.fill(engine, 60)
    gone = {f"reader{n}@example.com": f"reader{1_000_000_000 + n}" for n in range(41, 61)}
    had_it: set[str] = set()

    def goodbye(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 10:
            had_it.update(server.recipients())
            with sessions.writing(engine) as session:
                for reference in gone.values():
                    cancellation.cancel(
                        session, references=[reference], reason=Reason.UNSUBSCRIBED, now=ledgers.NOW
                    )

    with running(ScriptedServer(goodbye)) as server:
        # All sixty are in hand when the goodbyes come.
        worker.run(engine, ledgers.plan(server.port, connections=4))

    states = ledgers.states(engine)
    assert states["accepted"] == len(server.arrivals)
    assert states["accepted"] + states["cancelled"] == 60
    late = set(server.recipients()) & set(gone) - had_it
    assert len(late) <= 4, "what was leaving on each connection, and nothing else"


# What must not stop the others


def test_a_message_that_cannot_be_composed_keeps_nobody_else_waiting(
    sqlite_engine: Engine,
) -> None:
    ledgers.fill(sqlite_engine, 30)
    with sessions.writing(sqlite_engine) as session:
        session.execute(
            update(Delivery)
            .where(Delivery.reference == "reader1000000003")
            .values(address="=?utf-8?q?x?=@example.com")
        )

    with running(ScriptedServer()) as server, pytest.raises(RenderError, match="reader1000000003"):
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=2))

    assert len(server.arrivals) == 29
    assert ledgers.states(sqlite_engine) == {"accepted": 29, "queued": 1}


# Databases that go away


def test_a_database_that_is_away_for_a_moment_is_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers.fill(engine, 40)
    calls = Counter[str]()
    monkeypatch.setattr(committer, "_PAUSE_SECONDS", 0.01)
    for name in ("claim", "mark", "record"):
        _fail_sometimes(monkeypatch, name, calls)

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))

    assert sorted(server.recipients()) == everybody(40)
    assert ledgers.states(engine) == {"accepted": 40}
    assert left_behind(engine) == 0


def _fail_sometimes(monkeypatch: pytest.MonkeyPatch, name: str, calls: Counter[str]) -> None:
    original = getattr(queue, name)

    def failing(*args: object, **named: object) -> object:
        result = original(*args, **named)
        calls[name] += 1
        if calls[name] % 2:
            raise DatabaseUnavailable
        return result

    monkeypatch.setattr(queue, name, failing)


def test_a_commit_whose_answer_was_lost_loses_and_doubles_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims that were committed and never told must not stay claimed."""
    ledgers.fill(engine, 100)
    monkeypatch.setattr(committer, "_PAUSE_SECONDS", 0.01)
    original = sessions.Writer.transaction
    commits = Counter[sessions.Writer]()

    def ambiguous(writer: sessions.Writer):  # noqa: ANN202
        # A committer's: others make one transaction each.
        commits[writer] += 1
        return _answer_lost(original(writer)) if commits[writer] % 3 == 0 else original(writer)

    monkeypatch.setattr(sessions.Writer, "transaction", ambiguous)
    with running(ScriptedServer()) as server:
        tally = worker.run(engine, ledgers.plan(server.port, connections=2))
    monkeypatch.undo()

    assert sorted(server.recipients()) == everybody(100)
    assert tally.counts == {"accepted": 100}
    assert attempts(engine) == {}


class _answer_lost:  # noqa: N801 - used as the context manager that it wraps
    """Commits, and says that the database is away."""

    def __init__(self, real) -> None:  # noqa: ANN001
        self.real = real

    def __enter__(self):  # noqa: ANN204
        return self.real.__enter__()

    def __exit__(self, *exc: object) -> None:
        self.real.__exit__(*exc)
        if exc[0] is None:
            raise DatabaseUnavailable


def test_a_database_that_stays_away_ends_the_worker(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers.fill(sqlite_engine, 40)
    monkeypatch.setattr(committer, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(committer, "PATIENCE_SECONDS", 0.05)

    def failing(*_args: object, **_named: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(queue, "record", failing)
    with running(ScriptedServer()) as server, pytest.raises(DatabaseUnavailable):
        worker.run(sqlite_engine, ledgers.plan(server.port, connections=3))

    # What the server has and nobody could write down: one per connection.
    assert len(server.arrivals) <= 3
    assert attempts(sqlite_engine) == {("unknown", "body", None): len(server.arrivals)}
    assert left_behind(sqlite_engine) == 0


# Crashed workers, and workers that were taken for crashed


def sign_in_and_claim(engine: Engine, name: str, *, now: datetime) -> None:
    """Register a worker that holds five rows."""
    with sessions.writing(engine) as session:
        registration = registry.sign_in(session, name=name, now=now)
    claimants.claim(engine, registration.id, limit=5, now=ledgers.NOW)


def test_a_dead_worker_of_this_machine_is_known_at_once(engine: Engine) -> None:
    ledgers.fill(engine, 10)
    name = registry.new_name()
    with registry.liveness_lock(engine, name):
        sign_in_and_claim(engine, name, now=utc_now())

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))

    assert sorted(server.recipients()) == everybody(10)
    assert lockfile.is_held(engine, f"worker-{name}") is None
    assert left_behind(engine) == 0


def test_a_living_worker_of_this_machine_is_believed_past_its_lease(engine: Engine) -> None:
    """A laptop that was asleep for an hour."""
    ledgers.fill(engine, 10)
    name = registry.new_name()
    with registry.liveness_lock(engine, name):
        sign_in_and_claim(engine, name, now=utc_now() - timedelta(hours=1))

        with running(ScriptedServer()) as server:
            worker.run(engine, ledgers.plan(server.port))

    assert ledgers.states(engine) == {"accepted": 5, "claimed": 5}


@pytest.mark.parametrize(("late", "taken"), [(-1, 5), (1, 10)])
def test_a_worker_of_another_machine_is_dead_once_its_lease_has_run_out(
    engine: Engine, late: int, taken: int
) -> None:
    ledgers.fill(engine, 10)
    signed_in_at = utc_now() - registry.LEASE - timedelta(minutes=late)
    sign_in_and_claim(engine, registry.new_name(), now=signed_in_at)

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port))

    assert len(server.arrivals) == taken


@pytest.mark.parametrize(("late", "taken"), [(-1, 5), (1, 10)])
def test_without_a_place_for_lock_files_the_lease_decides_and_it_is_said_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, late: int, taken: int
) -> None:
    def nowhere(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "/var/lib/news")

    monkeypatch.setattr(lockfile, "_path", nowhere)
    monkeypatch.setattr(registry, "_told", set())
    ledgers.fill(engine, 10)
    told: list[str] = []
    name = registry.new_name()
    with registry.liveness_lock(engine, name):
        sign_in_and_claim(engine, name, now=utc_now() - registry.LEASE - timedelta(minutes=late))
        registry._told.clear()

        with running(ScriptedServer()) as server:
            for _ in range(3):
                worker.run(
                    engine,
                    ledgers.plan(server.port),
                    on_trouble=lambda sentence, _: told.append(sentence),
                )

    assert len(server.arrivals) == taken
    (sentence,) = told
    assert sentence.startswith("No lock file can be kept in /var/lib/news (Permission denied). ")


def test_a_worker_that_was_suspended_past_its_lease_sends_nothing_that_was_marked_before(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows may have been settled meanwhile, and their edition cancelled."""
    original, away = queue.mark, timedelta(0)

    def suspended(*args: Any, **options: Any) -> set[int]:
        nonlocal away
        marked = original(*args, **options)
        away += (registry.LEASE + timedelta(minutes=1)) * (not away)
        return marked

    monkeypatch.setattr(queue, "mark", suspended)
    ledgers.fill(engine, 40)

    with running(ScriptedServer()) as server:
        worker.run(engine, ledgers.plan(server.port), clock=lambda: utc_now() + away)

    states = ledgers.states(engine)
    assert 1 <= states["queued"] <= 4
    assert states["accepted"] == len(server.arrivals) == 40 - states["queued"]
    with sessions.reading(engine) as session:
        tries = session.execute(select(Attempt.outcome, Attempt.phase, Attempt.reply)).all()
    said = ("deferred", "data", "the worker's lease lapsed before it left")
    assert tries == [said] * states["queued"]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", ["claim", "mark", "body", "record"])
def test_a_worker_that_wakes_after_its_take_over_leaves_nobody_without_mail(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, place: str, times: int
) -> None:
    """Suspended past its lease after each transition: its claim, mark, body and outcome."""
    away, passed = timedelta(0), Counter[str]()

    def pass_by(here: str) -> None:
        nonlocal away
        passed[here] += 1
        if here == place and passed[here] == times:
            away += registry.LEASE + timedelta(minutes=1)
            with sessions.writing(engine) as session:
                # Lock order: worker row before delivery rows.
                dead = session.execute(select(Worker.id).with_for_update()).scalars().all()
                recovery.take_over(session, dead=dead, policy="resend", now=ledgers.NOW)

    _note_transitions(monkeypatch, pass_by)
    ledgers.fill(engine, 300)

    with running(ScriptedServer()) as server:
        with pytest.raises(LeaseLost):
            worker.run(engine, ledgers.plan(server.port), clock=lambda: utc_now() + away)
        monkeypatch.undo()
        worker.run(engine, ledgers.plan(server.port))

    arrived = Counter(server.recipients())
    assert sorted(arrived) == everybody(300)
    assert arrived.total() - 300 <= attempts(engine)["unknown", "body", None] <= 4
    assert ledgers.states(engine) == {"accepted": 300}
    assert left_behind(engine) == 0


def _note_transitions(monkeypatch: pytest.MonkeyPatch, pass_by: Callable[[str], None]) -> None:
    """Call `pass_by` after each claim, mark and outcome that is committed, and after each body."""
    done: set[str] = set()

    def noted(of: Callable[..., Any], *args: Any, **how: Any) -> Any:
        done.add(of.__name__)
        return of(*args, **how)

    for name in ("claim", "mark", "record"):
        monkeypatch.setattr(queue, name, partial(noted, getattr(queue, name)))
    commit, body = Committer._transact, smtp_session.Session._body

    def committed(self: Committer, *args: Any) -> Any:
        done.clear()
        answers = commit(self, *args)
        for name in sorted(done):
            pass_by(name)
        return answers

    async def sent(self: smtp_session.Session, *args: Any) -> Any:
        asyncio.get_running_loop().call_soon(pass_by, "body")
        return await body(self, *args)

    monkeypatch.setattr(Committer, "_transact", committed)
    monkeypatch.setattr(smtp_session.Session, "_body", sent)


def test_a_worker_that_was_taken_for_dead_stops_and_changes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RENEWAL", timedelta(0))
    ledgers.fill(engine, 200)

    def strike_off(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 10:
            with sessions.writing(engine) as session:
                # Lock order: worker row before delivery rows, or it deadlocks.
                dead = session.execute(select(Worker.id).with_for_update()).scalars().all()
                recovery.take_over(session, dead=dead, policy="resend", now=ledgers.NOW)

    with running(ScriptedServer(strike_off)) as server:
        with pytest.raises(NewsletterError, match="taken this one for dead"):
            worker.run(engine, ledgers.plan(server.port, connections=4))

        monkeypatch.undo()
        worker.run(engine, ledgers.plan(server.port))

    arrived = Counter(server.recipients())
    assert sorted(arrived) == everybody(200)
    assert arrived.total() - 200 <= attempts(engine)["unknown", "body", None] <= 4
    assert ledgers.states(engine) == {"accepted": 200}
