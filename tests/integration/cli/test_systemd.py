"""systemd is notified of a service: ready, at work as far as it commits, stopping."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import journey
import ledgers
import monitor
import pytest
import scripted_smtp
from commands import Running
from scripted_smtp import ScriptedServer
from sqlalchemy import text

from newsletter.cli import systemd
from newsletter.db import engine as engines

#: How long a notification may take, in seconds.
_PATIENCE = 60


class Manager:
    """The socket of a service manager."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(_PATIENCE)

    def receive(self, seconds: float = _PATIENCE) -> list[str]:
        """Return the lines of the next notification."""
        self._socket.settimeout(seconds)
        return self._socket.recv(4096).decode().split("\n")

    def rest(self, seconds: float) -> list[str]:
        """Return the lines that come until none comes for so long."""
        lines: list[str] = []
        with suppress(TimeoutError):
            while True:
                lines += self.receive(seconds)
        return lines

    def wait_for(self, line: str) -> None:
        while line not in self.receive():
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@newsletter-{os.getpid()}"


@pytest.fixture
def manager(place: str) -> Iterator[Manager]:
    with closing(Manager(place.replace("@", "\0"))) as found:
        yield found


def test_a_service_says_that_it_is_ready_works_and_stops(place: str, manager: Manager) -> None:
    service = systemd.Service({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "180000000"})

    service.ready("Serving\nhere.")
    service.status("Sent 1.")
    service.status("Sent 1.")
    service.progressed()
    service.progressed()
    service.stopping()

    assert [manager.receive() for _ in range(4)] == [
        ["READY=1", "STATUS=Serving here."],
        ["STATUS=Sent 1."],
        ["WATCHDOG=1"],
        ["STOPPING=1"],
    ]


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}]
)
def test_a_watchdog_that_is_not_asked_for_gets_nothing(
    place: str, manager: Manager, environment: dict[str, str]
) -> None:
    service = systemd.Service({"NOTIFY_SOCKET": place, **environment})

    service.progressed()
    service.stopping()

    assert manager.receive() == ["STOPPING=1"]


def test_a_watchdog_that_is_shorter_than_a_worker_can_keep_is_prolonged(
    place: str, manager: Manager
) -> None:
    systemd.Service({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "5000000"}).ready("Here.")

    assert manager.receive() == ["READY=1", "STATUS=Here.", "WATCHDOG_USEC=120000000"]


@pytest.mark.parametrize("address", ["", "vsock:2:1", "/nowhere/notify", "@nobody-listens"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    service = systemd.Service({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "180000000"})

    service.ready("Here.")
    service.progressed()
    service.stopping()


@pytest.fixture
def newsletter(tmp_path: Path, migrated_sqlite: Path) -> journey.Newsletter:
    database = tmp_path / "newsletter.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    found = journey.make(tmp_path, f"sqlite:///{database}")
    # No server listens there: a worker works without one.
    found.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{journey.free_port()}"
    return found


def started(newsletter: journey.Newsletter, place: str, *words: str) -> Running:
    newsletter.env |= {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "180000000"}
    return newsletter.start(*words)


@pytest.mark.parametrize("place", ["path"], indirect=True)
def test_a_worker_shows_progress_only_while_it_can_commit(
    newsletter: journey.Newsletter, place: str, manager: Manager
) -> None:
    with closing(sqlite3.connect(newsletter.folder / "newsletter.db")) as blocking:
        blocking.execute("BEGIN IMMEDIATE")
        with started(newsletter, place, "worker", "--force") as running:
            assert manager.receive() == ["READY=1", "STATUS=Sending what is due."]
            assert "WATCHDOG=1" not in manager.rest(seconds=2)

            blocking.rollback()
            manager.wait_for("WATCHDOG=1")

            running.send_signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")
            assert running.wait(_PATIENCE) == 0


@pytest.mark.parametrize("place", ["path"], indirect=True)
def test_a_worker_says_what_it_has_sent(
    newsletter: journey.Newsletter, place: str, manager: Manager
) -> None:
    engine = engines.open(newsletter.env["NEWSLETTER_DATABASE_URL"])
    ledgers.fill(engine, 3, priority=0)
    with scripted_smtp.running(ScriptedServer()) as server:
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        with started(newsletter, place, "worker", "--force") as running:
            manager.wait_for("STATUS=Sending what is due; so far 3 accepted.")
            running.send_signal(signal.SIGTERM)
            assert running.wait(_PATIENCE) == 0

    with engine.connect() as connection:
        ended_at = connection.execute(text("SELECT ended_at FROM progress")).scalar_one()
    engine.dispose()
    assert ended_at is not None


def test_each_run_of_a_workers_schedule_is_reported(newsletter: journey.Newsletter) -> None:
    with monitor.monitoring() as watching:
        newsletter.env["NEWSLETTER_PING_URL"] = watching.url
        with newsletter.start("worker", "--schedule", "--force") as running:
            journey.until(lambda: len(watching.pings) == 2)
            running.send_signal(signal.SIGTERM)
            assert running.wait(_PATIENCE) == 0

        assert watching.paths[:2] == ["/start", "/0"]


@pytest.mark.parametrize("place", ["path"], indirect=True)
@pytest.mark.parametrize("letters", ["--letters", "--no-letters"])
def test_a_web_server_is_ready_when_it_listens(
    newsletter: journey.Newsletter, place: str, manager: Manager, letters: str
) -> None:
    words = ("serve", "--force", "--port", "0", letters)
    with started(newsletter, place, *words) as running:
        notified = []
        while not any(line.startswith("STATUS=Serving ") for line in notified):
            notified += manager.receive()
        assert "READY=1" in notified
        where = next(line for line in notified if line.startswith("STATUS=Serving "))
        port = int(where.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), _PATIENCE).close()
        if "WATCHDOG=1" not in notified:
            manager.wait_for("WATCHDOG=1")

        running.send_signal(signal.SIGTERM)
        manager.wait_for("STOPPING=1")
        assert running.wait(_PATIENCE) == 0
