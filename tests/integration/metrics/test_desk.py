"""The desk's door: metrics at a port of its own, one scrape at a time; and the same as a file."""

from __future__ import annotations

import signal
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2
import journey
import pytest
import terminal
from prometheus_client import parser
from sqlalchemy import Engine
from starlette.testclient import TestClient

from newsletter.db import engine as engines
from newsletter.desk import app
from newsletter.metrics import catalog, exposition
from newsletter.settings import Settings

_UNCACHED = "no-store"


@pytest.fixture
def publication(settings: Callable[..., Settings]) -> Settings:
    return settings()


def client_of(engine: Engine, publication: Settings) -> TestClient:
    return TestClient(app.create_app(publication, engine), base_url="http://127.0.0.1:8026")


def parsed(octets: bytes) -> list[str]:
    return [one.name for one in parser.text_string_to_metric_families(octets.decode())]


NAMES = [metric.name.removesuffix("_total") for metric in catalog.ALL]


def test_metrics_come_with_their_type_and_are_not_cached(
    engine: Engine, publication: Settings
) -> None:
    client = client_of(engine, publication)

    answer = client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "charset=utf-8" in answer.headers["Content-Type"]
    assert answer.headers["Cache-Control"] == _UNCACHED
    assert parsed(answer.content) == NAMES
    asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
    kind = client.get("/metrics", headers=asked).headers["Content-Type"]
    assert kind.startswith("application/openmetrics-text")


def test_monitoring_needs_no_session_and_everything_else_does(
    sqlite_engine: Engine, publication: Settings
) -> None:
    client = client_of(sqlite_engine, publication)

    assert client.get("/healthz").text == "ok\n"
    assert client.get("/healthz").headers["Cache-Control"] == _UNCACHED
    assert client.get("/").url.path == "/sign-in"
    assert client.post("/metrics").status_code == 403


def test_a_database_that_is_away_is_said_without_its_place(publication: Settings) -> None:
    away = engines.open("postgresql://mia:secret@127.0.0.1:1/none")
    client = client_of(away, publication)

    answer = client.get("/metrics")

    assert answer.status_code == 503
    assert answer.text == "The database cannot be read.\n"
    assert answer.headers["Cache-Control"] == _UNCACHED
    assert client.get("/healthz").status_code == 200


def test_one_scrape_goes_on_at_a_time(
    sqlite_engine: Engine, publication: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def scrape(*_: object, accept: str) -> tuple[bytes, str]:
        begun.set()
        goes_on.wait(60)
        return b"", "text/plain"

    monkeypatch.setattr(exposition, "scrape", scrape)
    client = client_of(sqlite_engine, publication)
    codes: list[int] = []
    first = threading.Thread(target=lambda: codes.append(client.get("/metrics").status_code))
    first.start()
    assert begun.wait(60)

    second = client.get("/metrics")
    goes_on.set()
    first.join()

    assert (codes, second.status_code) == ([200], 503)
    assert second.headers["Retry-After"] == "5"
    assert client.get("/metrics").status_code == 200


def test_the_desk_serves_until_it_is_told_to_stop(tmp_path: Path, migrated_sqlite: Path) -> None:
    database = tmp_path / "newsletter.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    newsletter = journey.make(tmp_path, f"sqlite:///{database}")
    with newsletter.start("desk", "--port", "0") as running:
        said = running.stdout.readline()
        assert said.startswith("The desk is on http://127.0.0.1:")
        site = said.split()[-1]
        assert parsed(httpx2.get(f"{site}/metrics", timeout=60).content) == NAMES
        assert "Server" not in httpx2.get(f"{site}/healthz", timeout=60).headers
        with ExitStack() as silent:
            for _ in range(110):
                place = ("127.0.0.1", int(site.rpartition(":")[2]))
                silent.enter_context(socket.create_connection(place))
            assert httpx2.get(f"{site}/healthz", timeout=60).text == "ok\n"

        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    migrated_sqlite: Path,
) -> terminal.Run:
    terminal.placed(migrated_sqlite, tmp_path)
    return terminal.at(tmp_path, monkeypatch, capsys)


def test_the_command_prints_what_the_desk_serves(run: terminal.Run) -> None:
    ran = run("metrics")

    assert (ran.code, ran.err) == (0, "")
    assert parsed(ran.out.encode()) == NAMES


def test_a_file_is_replaced_whole_for_all_to_read(run: terminal.Run, tmp_path: Path) -> None:
    folder = tmp_path / "textfiles"
    folder.mkdir()
    file = folder / "newsletter.prom"
    file.write_text("old")

    ran = run("metrics", "--output", str(file))

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert parsed(file.read_bytes()) == NAMES
    assert file.read_bytes().endswith(b"\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [*folder.iterdir()] == [file]


@pytest.mark.parametrize("place", ["nowhere/newsletter.prom", "textfiles"])
def test_a_file_that_cannot_be_written_is_said_and_leaves_nothing(
    run: terminal.Run, tmp_path: Path, place: str
) -> None:
    (tmp_path / "textfiles" / "full").mkdir(parents=True)

    ran = run("metrics", "--output", str(tmp_path / place))

    assert ran.code == 2
    assert "cannot be written" in ran.err
    assert not [*tmp_path.glob(".*.tmp")]


def test_without_a_database_the_old_file_stays(
    run: terminal.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "newsletter.prom"
    file.write_text("old")
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", "postgresql://127.0.0.1:1/none")

    assert run("metrics", "--output", str(file)).code == 75
    assert file.read_text() == "old"
