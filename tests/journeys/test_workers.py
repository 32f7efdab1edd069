"""Many processes send one edition: each reader gets it once, and a stop is clean."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import claimants
import killing
import ledgers
import pytest
import scripted_smtp
from commands import Running
from journey import Newsletter, at_noon, due_an_hour_ago, until
from scripted_smtp import ScriptedServer, Turn
from sqlalchemy import Engine, func, select

from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.editions import publish
from newsletter.ledger import registry
from newsletter.models import Edition, Holding, Worker
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.subscribers import signup
from newsletter.subscribers.consent import Origin

_AUDIENCE = 400

on_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


def addresses(count: int = _AUDIENCE) -> list[str]:
    return [f"reader{number}@readers.example" for number in range(count)]


def everyone_once(count: int = _AUDIENCE) -> Counter[str]:
    return Counter(addresses(count))


@pytest.fixture
def published(newsletter: Newsletter) -> Newsletter:
    """Readers, and an article that they have not had yet."""
    rows = "\n".join(addresses())
    newsletter.run("subscribers", "import", "-", "--confirmed", "--cadence", "weekly", stdin=rows)
    newsletter.run(
        "articles", "add", "--title", "Sleep", "--link", "https://miasfeed.example/sleep"
    )
    return newsletter


def signed_in(engine: Engine) -> int:
    with sessions.reading(engine) as session:
        return session.execute(select(func.count()).select_from(Worker)).scalar_one()


def holders(engine: Engine) -> int:
    """Number of processes that hold rows."""
    with sessions.reading(engine) as session:
        held = session.execute(select(Holding.ids)).scalars()
        return sum(bool(ids) for ids in held)


@contextmanager
def sent_to(newsletter: Newsletter, server: ScriptedServer) -> Iterator[None]:
    with scripted_smtp.running(server):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        yield


def once_sending(
    engine: Engine, *, processes: int, then: Callable[[], object] = lambda: None
) -> Callable[[Turn], None]:
    """Make a rule that keeps the server waiting, in the middle, until so many processes send."""

    def rule(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 20:
            until(lambda: holders(engine) == processes)
            then()

    return rule


#: What a worker says when it is to end.
TOLD = "Told to stop: what is under way is finished, the rest goes back.\n"


@contextmanager
def working(newsletter: Newsletter, *options: str) -> Iterator[Running]:
    """Run `newsletter worker`, and see that SIGTERM ends it well."""
    running = newsletter.start("worker", *options)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert not err or TOLD.strip() in err


@on_postgresql
@pytest.mark.parametrize("many", [12, pytest.param(50, marks=pytest.mark.torture)])
def test_many_triggers_on_eight_workers_make_one_edition_and_one_mail_per_reader(
    published: Newsletter, engine: Engine, tmp_path: Path, many: int
) -> None:
    log = tmp_path / "arrived"
    published.env["NEWSLETTER_SMTP_CONNECTIONS"] = "1"
    with killing.counting(log, delay=0.01) as port:
        published.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        with published.crowd(8, "worker") as workers:
            until(lambda: signed_in(engine) == 8)
            with published.crowd(many, "send", "weekly") as triggers:
                sent = triggers.end()
            workers.stop()
            worked = workers.end()

    assert sent[0] == [0] * many, sent[1]
    assert (worked[0], worked[1].count(TOLD.strip())) == ([0] * 8, 8)
    assert Counter(line.split()[0] for line in log.read_text().splitlines()) == everyone_once()
    (edition,) = published.json("editions", "list")["editions"]
    assert (edition["audience"], edition["accepted"]) == (_AUDIENCE, _AUDIENCE)
    assert edition["state"] == "finished"
    assert signed_in(engine) == 0


@pytest.mark.mainly_on("postgresql")
def test_four_processes_share_one_edition(published: Newsletter, engine: Engine) -> None:
    server = ScriptedServer(once_sending(engine, processes=4))
    with sent_to(published, server):
        summary = published.json("send", "weekly", "--workers", "4")

    assert Counter(server.recipients()) == everyone_once()
    assert (summary["state"], summary["audience"]) == ("finished", _AUDIENCE)
    assert (summary["accepted"], summary["queued"], summary["claimed"]) == (_AUDIENCE, 0, 0)
    (edition,) = published.json("editions", "list")["editions"]
    assert edition["edition"] == summary["edition"]
    assert signed_in(engine) == 0


def terminate(command: int) -> None:
    os.kill(command, signal.SIGTERM)


def interrupt(command: int) -> None:
    """Do what Ctrl-C does: everybody in the group hears it."""
    os.killpg(command, signal.SIGINT)


@on_postgresql
@pytest.mark.parametrize("stop", [terminate, interrupt])
def test_a_stop_drains_every_process_and_the_same_command_goes_on(
    published: Newsletter, engine: Engine, stop: Callable[[int], None]
) -> None:
    started: list[Running] = []
    server = ScriptedServer(
        once_sending(engine, processes=2, then=lambda: stop(started[0].pid)),
    )
    with sent_to(published, server):
        started.append(published.start("send", "weekly", "--workers", "2", is_group=True))
        out, err = started[0].communicate(timeout=120)

        arrived = len(server.arrivals)
        assert (started[0].returncode, err) == (75, TOLD)
        assert 20 < arrived < _AUDIENCE
        assert f"{_AUDIENCE - arrived} still to go" in out
        assert ledgers.states(engine) == {"accepted": arrived, "queued": _AUDIENCE - arrived}
        assert signed_in(engine) == 0

        summary = published.json("send", "weekly", "--workers", "2")

    assert (summary["state"], summary["accepted"]) == ("finished", _AUDIENCE)
    assert Counter(server.recipients()) == everyone_once()


@on_postgresql
def test_an_interrupt_before_every_process_has_begun_is_quiet(
    published: Newsletter, engine: Engine
) -> None:
    started: list[Running] = []

    def at_once(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 0:
            interrupt(started[0].pid)

    server = ScriptedServer(at_once)
    with sent_to(published, server):
        started.append(published.start("send", "weekly", "--workers", "3", is_group=True))
        _, err = started[0].communicate(timeout=120)

    assert (started[0].returncode, err) == (75, TOLD)
    assert set(ledgers.states(engine)) == {"accepted", "queued"}
    assert signed_in(engine) == 0


def is_over(group: int) -> bool:
    """Tell whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def is_starting(command: int) -> bool:
    """Tell whether there is a process in which Python runs already, and hardly anything else."""
    for child in Path(f"/proc/{command}/task/{command}/children").read_text().split():
        with suppress(OSError):
            found = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{child}/status").read_text())
            if found and int(found[1], 16) >> (signal.SIGINT - 1) & 1:
                return True
    return False


@on_postgresql
@pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
    reason="no list of a process's children here",
)
@pytest.mark.parametrize("stop", [terminate, interrupt])
def test_a_stop_before_any_process_has_begun_leaves_none_behind(
    published: Newsletter, engine: Engine, stop: Callable[[int], None]
) -> None:
    server = ScriptedServer()
    with sent_to(published, server):
        command = published.start("send", "weekly", "--workers", "3", is_group=True)
        until(lambda: is_starting(command.pid))
        stop(command.pid)
        _, err = command.communicate(timeout=120)
        until(lambda: is_over(command.pid))

    assert (command.returncode, err) == (75, TOLD)
    assert ledgers.states(engine)["accepted"] == len(server.arrivals) < _AUDIENCE
    assert signed_in(engine) == 0


@on_postgresql
def test_a_stop_while_every_process_watches_the_rows_of_another_ends_them_all(
    published: Newsletter, engine: Engine, settings: Callable[..., Settings]
) -> None:
    publish.freeze(
        engine, Cadence.WEEKLY, now=utc_now(), publication=Publication.of(settings()), force=True
    )
    name = registry.new_name()
    with registry.liveness_lock(engine, name):
        with sessions.writing(engine) as session:
            another = registry.sign_in(session, name=name, now=utc_now())
        claimants.claim(engine, another.id, limit=5, now=utc_now())
        server = ScriptedServer()
        with sent_to(published, server):
            command = published.start("send", "weekly", "--workers", "2", is_group=True)
            until(lambda: len(server.arrivals) == _AUDIENCE - 5 and signed_in(engine) == 1)
            terminate(command.pid)
            _, err = command.communicate(timeout=120)
            until(lambda: is_over(command.pid))

    assert (command.returncode, err) == (75, TOLD)
    assert ledgers.states(engine) == {"accepted": _AUDIENCE - 5, "claimed": 5}


@on_sqlite
@pytest.mark.parametrize("words", [["send", "weekly"], ["worker"]])
def test_a_stop_whose_words_nobody_reads_any_more_sends_nothing_twice(
    published: Newsletter,
    engine: Engine,
    settings: Callable[..., Settings],
    words: list[str],
) -> None:
    """Ctrl-C ends the `tee` behind a command before the command."""
    publish.freeze(
        engine, Cadence.WEEKLY, now=utc_now(), publication=Publication.of(settings()), force=True
    )
    started: list[Running] = []

    def stop(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 20:
            assert started[0].stderr
            started[0].stderr.close()
            interrupt(started[0].pid)

    server = ScriptedServer(stop)
    with sent_to(published, server):
        started.append(published.start(*words, is_group=True))
        code = started[0].wait(timeout=60)
        assert started[0].stdout
        with started[0].stdout as out:
            said = out.read()

    assert (code, "still to go" in said) == ((75, True) if words[0] == "send" else (0, False))
    arrived = len(server.arrivals)
    assert 20 < arrived < _AUDIENCE
    assert ledgers.states(engine) == {"accepted": arrived, "queued": _AUDIENCE - arrived}


@on_sqlite
def test_cron_that_is_told_to_stop_begins_nothing_more(
    published: Newsletter, engine: Engine
) -> None:
    due_an_hour_ago(published, engine, weekly_in=timedelta(0))
    for address in addresses(2):
        published.run("subscribers", "change", address, "--cadence", "daily")
    started: list[Running] = []

    def stop(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 0:
            terminate(started[0].pid)

    server = ScriptedServer(stop)
    with sent_to(published, server):
        started.append(published.start("cron"))
        _, err = started[0].communicate(timeout=60)
        assert (started[0].returncode, err) == (75, TOLD)
        assert set(server.recipients()) <= set(addresses(2))
        published.run("cron")

    assert Counter(server.recipients()) == everyone_once()


@on_sqlite
def test_a_worker_sends_what_comes_later_and_a_stop_finishes_what_is_in_flight(
    published: Newsletter, engine: Engine, settings: Callable[..., Settings]
) -> None:
    started: list[Running] = []

    def stop_at_the_last(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 100:
            started[0].terminate()

    server = ScriptedServer(stop_at_the_last)
    with sent_to(published, server), working(published) as running:
        started.append(running)
        until(lambda: signed_in(engine) == 1)
        with sessions.writing(engine) as session:
            signup.ask(
                session,
                "ann@readers.example",
                cadence=Cadence.WEEKLY,
                origin=Origin("a test"),
                publication=Publication.of(settings()),
                now=utc_now(),
            )
        until(lambda: server.recipients() == ["ann@readers.example"])
        publish.freeze(
            engine, Cadence.WEEKLY, now=utc_now(), publication=Publication.of(settings())
        )
        running.wait(timeout=60)

    arrived = Counter(server.recipients())
    assert 101 <= arrived.total() < _AUDIENCE
    assert set(arrived.values()) == {1}
    assert ledgers.states(engine) == {
        "accepted": arrived.total(),
        "queued": 1 + _AUDIENCE - arrived.total(),
    }
    assert signed_in(engine) == 0


@pytest.mark.mainly_on("postgresql")
@pytest.mark.parametrize("options", [[], ["--schedule"]])
def test_a_worker_that_waits_for_its_mail_server_ends_when_it_is_told(
    published: Newsletter,
    engine: Engine,
    settings: Callable[..., Settings],
    options: list[str],
) -> None:
    # Else the daily edition falls due on whoever runs this at seven.
    at_noon(published)
    # On a Monday, another zone's edition would be the one of the week before.
    here = settings(timezone=published.env["NEWSLETTER_TIMEZONE"])
    publish.freeze(
        engine, Cadence.WEEKLY, now=utc_now(), publication=Publication.of(here), force=True
    )
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        published.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{nobody.getsockname()[1]}"
        running = published.start("worker", *options)
        assert running.stderr
        trouble = next(line for line in running.stderr if " ERROR failure: " in line)
        until(lambda: signed_in(engine) == 0)
        running.terminate()
        out, err = running.communicate(timeout=20)

    assert "Connection refused" in trouble
    assert (running.returncode, out, "Told" in err) == (0, "", False)
    assert ledgers.states(engine) == {"queued": _AUDIENCE}


@on_postgresql
def test_workers_that_keep_the_calendar_make_one_edition_and_finish_it(
    published: Newsletter, engine: Engine
) -> None:
    # Whatever day it is, no other edition falls due on it.
    due_an_hour_ago(published, engine, weekly_in=timedelta(days=10))
    published.run("subscribers", "change", addresses(1)[0], "--cadence", "daily")

    server = ScriptedServer()
    with sent_to(published, server):
        with published.crowd(2, "worker", "--schedule") as both:
            until(server.recipients)
            until(lambda: ledgers.states(engine) == {"accepted": 1})
            both.stop()
            codes, said = both.end()
        assert (codes, said.count("edition.frozen daily-")) == ([0, 0], 1)
        (edition,) = published.json("editions", "list")["editions"]
        assert edition["state"] == "open"

        with working(published, "--schedule"):
            until(lambda: is_finished(engine))

    assert server.recipients() == addresses(1)
    assert signed_in(engine) == 0


def is_finished(engine: Engine) -> bool:
    with sessions.reading(engine) as session:
        return session.execute(select(Edition.state)).scalar_one() == "finished"
