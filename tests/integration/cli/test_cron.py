"""`newsletter cron`, when not everything goes well."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile
import ledgers
import pytest
from scripted_smtp import ScriptedServer, running
from sqlalchemy import update

from newsletter.cadences import WEEKDAYS
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import subprocesses
from newsletter.errors import TransportUnavailable
from newsletter.models import Delivery

if TYPE_CHECKING:
    from terminal import Run


@pytest.fixture
def due_today(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edition of each cadence is due today, an article is there, and a reader of each."""
    today = datetime.now(UTC)
    for name, value in {
        "WEEKLY_ON": WEEKDAYS[today.weekday()],
        "MONTHLY_ON": str(today.day),
        "DAILY_AT": "00:00",
        "WEEKLY_AT": "00:00",
        "MONTHLY_AT": "00:00",
        "CRON_TOLERANCE_HOURS": "25",
    }.items():
        monkeypatch.setenv(f"NEWSLETTER_{name}", value)
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection, connection:
        connection.execute("UPDATE freeze_lock SET created_at = '2020-01-01 00:00:00.000000'")
    run("articles", "add", "--title", "News", "--link", "https://example.org/1")
    for cadence in ("daily", "weekly", "monthly"):
        run("subscribers", "add", f"{cadence}@example.org", "--cadence", cadence)


@pytest.mark.usefixtures("due_today")
def test_a_server_that_is_away_keeps_no_edition_from_being_made_in_time(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise TransportUnavailable("The mail server is away.", hint="Wait.")

    monkeypatch.setattr(subprocesses, "deliver", away)

    ran = run("cron", "--json")

    assert ran.code == 75
    assert ran.err.startswith("The mail server is away.\nWait.")
    editions = json.loads(ran.out)["editions"]
    assert [one["cadence"] for one in editions] == ["daily", "weekly", "monthly"]
    assert [(one["state"], one["queued"]) for one in editions] == [("open", 1)] * 3


@pytest.mark.usefixtures("due_today")
def test_what_was_sent_is_said_although_another_edition_failed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_engine: Any, _plan: Any, slug: str, **_: Any) -> None:
        if slug.startswith("weekly"):
            raise TransportUnavailable("The mail server is away.")

    monkeypatch.setattr(subprocesses, "deliver", away)

    ran = run("cron")

    assert ran.code == 75
    assert [line.partition("-")[0] for line in ran.out.splitlines()] == [
        "daily",
        "weekly",
        "monthly",
    ]


@pytest.mark.usefixtures("due_today")
def test_what_is_said_of_a_paused_edition_adds_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocesses, "deliver", lambda *_, **__: None)
    name = json.loads(run("send", "weekly", "--json").out)["edition"]
    run("editions", "pause", name)

    assert run("send", "weekly").out == f"{name} is paused: 1 reader, 1 still to go.\n"


def test_what_waited_for_its_domain_goes_as_soon_as_that_takes_more(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters, with no edition on its way beside them."""
    engine = engines.open(f"sqlite:///{tmp_path / 'newsletter.db'}")
    ledgers.fill(engine, 3, priority=0)
    with sessions.writing(engine) as session:
        session.execute(update(Delivery).values(blocked_domain="example.com"))

    with running(ScriptedServer()) as server:
        monkeypatch.setenv("NEWSLETTER_SMTP_URL", f"smtp://127.0.0.1:{server.port}")
        assert run("cron").code == 0

    assert ledgers.states(engine) == {"accepted": 3}
    engine.dispose()


@pytest.mark.usefixtures("due_today")
def test_hostile_feeds_keep_neither_other_feeds_nor_the_edition_from_this_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def feed(name: str, body: bytes) -> None:
        (tmp_path / name).write_bytes(body)
        assert run("feeds", "add", "--no-fetch", str(tmp_path / name)).code == 0

    feed("endless.xml", hostile.endless())
    feed("flood.xml", hostile.KINDS["items"](1_000_000))
    feed("good.xml", hostile.rss("", title="Good news"))

    with running(ScriptedServer()) as server:
        monkeypatch.setenv("NEWSLETTER_SMTP_URL", f"smtp://127.0.0.1:{server.port}")
        ran = run("cron", "--json")
        sent = [arrival.content for arrival in server.arrivals]

    assert ran.code == 1
    assert [one["accepted"] for one in ran.json["editions"]] == [1, 1, 1]
    assert ran.json["feeds_failed"] == [str(tmp_path / "endless.xml")]
    assert "endless.xml: Parsing the feed took" in ran.err
    assert [b"Good news" in content for content in sent] == [True] * 3


def test_cron_deletes_who_has_not_confirmed_in_30_days(run: Run, tmp_path: Path) -> None:
    csv_rows = tmp_path / "old.csv"
    csv_rows.write_text("address\nann@example.org\n")
    run("subscribers", "import", str(csv_rows))
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as database:
        database.execute("UPDATE subscriber SET updated_at = '2026-01-01 00:00:00.000000'")
        database.commit()

    assert run("cron", "--dry-run").code == 0
    assert len(run("subscribers", "list", "--json").json["subscribers"]) == 1
    assert run("cron").code == 0
    assert run("subscribers", "list", "--json").json["subscribers"] == []
