"""Processes of one newsletter side by side: who lives, who fetches, and what must be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import ledgers
import pytest
import scripted_smtp
from journey import Newsletter, until
from scripted_smtp import ScriptedServer, Turn
from sqlalchemy import Engine, update

from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.models import Worker

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
    started: list[subprocess.Popen[str]] = []

    def suspend(turn: Turn) -> None:
        if turn.phase == "body" and turn.earlier == 10:
            os.kill(started[0].pid, signal.SIGSTOP)

    server = ScriptedServer(suspend)
    with scripted_smtp.running(server):
        published.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        plain = dict(published.env)
        published.env |= {
            "XDG_RUNTIME_DIR": str(tmp_path / "runtime"),
            "TMPDIR": str(tmp_path / "temporary"),
        }
        started.append(published.start("send", "weekly"))
        published.env = plain
        try:
            until(lambda: is_stopped(started[0].pid))
            outlive_the_lease(engine)
            held = ledgers.states(engine)["claimed"]
            assert held

            published.run("cron")
            assert ledgers.states(engine)["claimed"] == held
        finally:
            started[0].send_signal(signal.SIGCONT)
            started[0].communicate(timeout=60)

    assert Counter(server.recipients()) == Counter(READERS)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


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
        _, err = done.communicate(timeout=60)

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
        _, err = done.communicate(timeout=60)

    assert done.returncode == 0
    assert err.count("No lock file can be kept") == 1, err
    assert f"in {place}" in err
    assert len(err.splitlines()) == 1
    assert Counter(server.recipients()) == Counter(READERS)
