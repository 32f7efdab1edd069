"""Several processes of one newsletter: liveness, leader election of the fetch, upgrades."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import feed_server
import ledgers
import pytest
import scripted_smtp
from alembic import command
from commands import Running
from feed_server import FeedServer
from journey import (
    Mailbox,
    Newsletter,
    due_an_hour_ago,
    free_port,
    is_ready,
    stories,
    until,
)
from readers import Readers
from scripted_smtp import ScriptedServer, Turn
from sqlalchemy import Engine, select, update

from newsletter.articles import store
from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.models import Edition, Worker
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.subscribers import signup
from newsletter.subscribers.consent import Origin

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
READERS = [f"reader{number}@readers.example" for number in range(60)]


@pytest.fixture
def published(newsletter: Newsletter) -> Newsletter:
    """Readers, and an article that they have not had yet."""
    rows = "\n".join(READERS)
    newsletter.run("subscribers", "import", "-", "--confirmed", "--cadence", "weekly", stdin=rows)
    newsletter.run(
        "articles", "add", "--title", "Sleep", "--link", "https://miasfeed.example/sleep"
    )
    return newsletter


def outlive_the_lease(engine: Engine) -> None:
    """Have every worker's lease be over, as after an hour in which the machine was asleep."""
    with sessions.writing(engine) as session:
        session.execute(update(Worker).values(lease_until=utc_now() - timedelta(hours=1)))


def test_a_session_and_cron_agree_on_who_lives_and_nobody_is_mailed_twice(
    published: Newsletter, engine: Engine, tmp_path: Path
) -> None:
    """A session has XDG_RUNTIME_DIR and often TMPDIR; cron has neither."""
    for name in ("runtime", "temporary"):
        (tmp_path / name).mkdir(mode=0o700)
    is_suspended = threading.Event()

    def wait(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier >= 10:
            is_suspended.wait(300)

    server = ScriptedServer(wait)
    with scripted_smtp.running(server):
        published.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        plain = dict(published.env)
        published.env |= {
            "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
            "TMPDIR": str(tmp_path / "temporary"),
        }
        first = published.start("send", "weekly")
        published.env = plain
        try:
            # With all answers in the books it holds no lock of the database.
            until(lambda: ledgers.states(engine)["accepted"] == 10)
            time.sleep(0.5)
            first.send_signal(signal.SIGSTOP)
            until(lambda: is_stopped(first.pid))
            is_suspended.set()
            outlive_the_lease(engine)
            held = ledgers.states(engine)["claimed"]
            assert held

            published.run("cron")
            assert ledgers.states(engine)["claimed"] == held
        finally:
            is_suspended.set()
            first.send_signal(signal.SIGCONT)
            first.communicate(timeout=300)

    assert Counter(server.recipients()) == Counter(READERS)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.mainly_on("postgresql")
@as_root
def test_a_folder_that_a_stranger_made_first_in_the_temporary_folder_stops_no_sending(
    published: Newsletter, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    made = shared / f"newsletter-{os.geteuid()}"
    made.mkdir(mode=0o777)
    os.chown(made, NOBODY, NOBODY)
    published.env["TMPDIR"] = str(shared)

    server = ScriptedServer()
    with scripted_smtp.running(server):
        published.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        done = published.start("send", "weekly")
        _, err = done.communicate(timeout=300)

    assert (done.returncode, err) == (0, "")
    assert Counter(server.recipients()) == Counter(READERS)
    assert list(made.iterdir()) == []


def spoil(newsletter: Newsletter, engine: Engine) -> str:
    """Leave no place for lock files; return the folder that is to be named."""
    if engine.dialect.name == "postgresql":
        home = newsletter.folder / "home"
        home.touch()
        newsletter.env["HOME"] = str(home)
        return f"{home}/.local/state"
    # What a database's folder has no room for: its name is too long for a longer one.
    path = Path(engine.url.database or "")
    longer = path.with_name("n" * 240)
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(f"{longer}{suffix}")
    newsletter.env["NEWSLETTER_DATABASE_URL"] = f"sqlite:///{longer}"
    return str(path.parent)


def test_without_a_place_for_lock_files_sending_goes_on_and_that_is_said_once(
    published: Newsletter, engine: Engine
) -> None:
    engine.dispose()
    place = spoil(published, engine)
    server = ScriptedServer()
    with scripted_smtp.running(server):
        published.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        done = published.start("send", "weekly", "--workers", "2")
        _, err = done.communicate(timeout=300)

    assert done.returncode == 0
    assert err.count("No lock file can be kept") == 1, err
    assert f"in {place}" in err
    assert len(err.splitlines()) == 1
    assert Counter(server.recipients()) == Counter(READERS)


# One fetches


@pytest.fixture
def feeds() -> Iterator[FeedServer]:
    with feed_server.running() as server:
        yield server


@pytest.fixture
def morning(
    newsletter: Newsletter, engine: Engine, feeds: FeedServer, caught: tuple[int, Mailbox]
) -> Mailbox:
    """An edition is due, its articles are still on their way, and one reader waits for it."""
    due_an_hour_ago(newsletter, engine, weekly_in=timedelta(days=10))
    newsletter.env["NEWSLETTER_FEED_PRIVATE_NETWORKS"] = "true"
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{caught[0]}"
    with sessions.writing(engine) as session:
        for name in ("alpha", "beta", "gamma"):
            store.add_feed(session, url=feeds.url(name), title=name, now=utc_now())
    Readers(engine).add("ann@readers.example", Cadence.DAILY, now=utc_now())
    return caught[1]


def ask_to_confirm(engine: Engine, name: str, settings: Callable[..., Settings]) -> None:
    """Queue a letter, which is open mail."""
    with sessions.writing(engine) as session:
        signup.ask(
            session,
            f"{name}@readers.example",
            cadence=Cadence.WEEKLY,
            origin=Origin("a test"),
            publication=Publication.of(settings()),
            now=utc_now(),
        )


def editions(engine: Engine) -> list[str]:
    with sessions.reading(engine) as session:
        return list(session.execute(select(Edition.state)).scalars())


@pytest.mark.mainly_on("postgresql")
def test_of_two_crons_one_fetches_and_the_other_sends_what_is_open_and_waits(
    newsletter: Newsletter,
    engine: Engine,
    feeds: FeedServer,
    morning: Mailbox,
    settings: Callable[..., Settings],
) -> None:
    first = newsletter.start("cron")
    until(lambda: feeds.requests.total() == 3)
    ask_to_confirm(engine, "bob", settings)
    second = newsletter.start("cron")
    until(lambda: morning.to("bob"))
    assert editions(engine) == []

    feeds.answers.set()
    said = [one.communicate(timeout=300) for one in (first, second)]

    assert [one.returncode for one in (first, second)] == [0, 0], said
    assert feeds.requests == {"alpha": 1, "beta": 1, "gamma": 1}
    assert stories(morning.to("ann")) == ["alpha", "beta", "gamma"]
    assert editions(engine) == ["finished"]
    assert [err for _, err in said] == ["", ""]
    assert {line.partition("-")[0] for out, _ in said for line in out.splitlines()} == {"daily"}


def test_of_many_crons_at_once_one_fetches_each_feed_once(
    newsletter: Newsletter, feeds: FeedServer, morning: Mailbox
) -> None:
    feeds.answers.set()
    with newsletter.crowd(4, "cron") as crowd:
        codes, said = crowd.end()

    assert codes == [0] * 4
    assert {line.partition("-")[0] for line in said.splitlines()} == {"daily"}
    assert feeds.requests == {"alpha": 1, "beta": 1, "gamma": 1}
    assert stories(morning.to("ann")) == ["alpha", "beta", "gamma"]


@pytest.mark.mainly_on("sqlite")
def test_a_fetch_whose_process_is_killed_is_made_by_who_waits(
    newsletter: Newsletter,
    engine: Engine,
    feeds: FeedServer,
    morning: Mailbox,
    settings: Callable[..., Settings],
) -> None:
    first = newsletter.start("cron")
    until(lambda: feeds.requests.total() == 3)
    ask_to_confirm(engine, "bob", settings)
    second = newsletter.start("cron")
    until(lambda: morning.to("bob"))
    first.kill()
    first.communicate(timeout=300)

    until(lambda: feeds.requests.total() == 6)
    feeds.answers.set()
    _, err = second.communicate(timeout=300)

    assert (second.returncode, err) == (0, "")
    assert stories(morning.to("ann")) == ["alpha", "beta", "gamma"]


@pytest.mark.mainly_on("postgresql")
@pytest.mark.usefixtures("morning")
@pytest.mark.parametrize("words", [("cron",), ("worker", "--schedule"), ("feeds", "fetch")])
def test_sigterm_ends_who_waits_for_a_fetch(
    newsletter: Newsletter, engine: Engine, feeds: FeedServer, words: tuple[str, ...]
) -> None:
    first = newsletter.start("feeds", "fetch")
    until(lambda: feeds.requests.total() == 3)
    second = newsletter.start(*words)
    until(lambda: handles_sigterm(second.pid))
    second.terminate()
    second.communicate(timeout=300)

    assert second.returncode == (0 if words[0] == "worker" else 75)
    assert editions(engine) == []
    feeds.answers.set()
    out, _ = first.communicate(timeout=300)
    assert out.startswith("3 feeds: 3 new")
    assert feeds.requests.total() == 3


def handles_sigterm(pid: int) -> bool:
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.mainly_on("sqlite")
def test_a_fetch_by_hand_waits_for_the_one_that_is_under_way(
    newsletter: Newsletter, feeds: FeedServer, morning: Mailbox
) -> None:
    first = newsletter.start("cron")
    until(lambda: feeds.requests.total() == 3)
    second = newsletter.start("feeds", "fetch")
    until(lambda: handles_sigterm(second.pid))
    feeds.answers.set()

    out, err = second.communicate(timeout=300)
    first.communicate(timeout=300)
    assert (second.returncode, err) == (0, "")
    assert out == "Another process has just fetched the feeds: `newsletter feeds list`.\n"
    assert feeds.requests.total() == 3
    assert newsletter.json("feeds", "fetch")["elsewhere"] is False
    assert feeds.requests.total() == 6


# An upgrade


@contextmanager
def serving_the_old_version(newsletter: Newsletter, engine: Engine) -> Iterator[Running]:
    """Run a web server without letters, suspended so that it does not see its schema go back."""
    port = free_port()
    running = newsletter.start("serve", "--no-letters", "--port", port)
    try:
        # It listens before it signs in, and answers after that.
        until(lambda: is_ready(f"http://127.0.0.1:{port}"), seconds=300)
        running.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(running.pid))
        with engine.connect() as connection, connection.begin():
            config = schema._config()
            config.attributes["connection"] = connection
            command.downgrade(config, "-1")
        yield running
    finally:
        running.kill()
        running.communicate(timeout=300)


@pytest.mark.mainly_on("postgresql")
def test_an_upgrade_names_the_web_server_that_must_stop_and_not_one_that_was_killed(
    newsletter: Newsletter, engine: Engine
) -> None:
    with serving_the_old_version(newsletter, engine) as running:
        before = schema.current(engine)
        said = newsletter.run("database", "upgrade", exit_code=1)
        assert f" {running.pid} on {socket.gethostname()} (" in said
        assert "Stop " in said
        assert schema.current(engine) == before

        running.kill()
        running.wait(timeout=300)
        assert f"to {schema.newest()}." in newsletter.run("database", "upgrade")


@pytest.mark.mainly_on("sqlite")
def test_an_upgrade_that_waits_is_quiet_and_begins_when_the_last_process_has_ended(
    newsletter: Newsletter, engine: Engine
) -> None:
    with serving_the_old_version(newsletter, engine) as running:
        before = schema.current(engine)
        stopped = newsletter.start("database", "upgrade", "--wait")
        waiting = newsletter.start("database", "upgrade", "--wait")
        until(lambda: handles_sigterm(stopped.pid) and handles_sigterm(waiting.pid))
        stopped.terminate()
        assert stopped.communicate(timeout=300) == ("", "Told to stop: nothing was upgraded.\n")
        assert (stopped.returncode, schema.current(engine)) == (75, before)
        assert waiting.poll() is None

        running.send_signal(signal.SIGCONT)
        running.terminate()
        out, err = waiting.communicate(timeout=300)

    assert (waiting.returncode, err) == (0, "")
    assert out == f"The database went from schema {before} to {schema.newest()}.\n"
