"""`newsletter watchdog`: a sentence for each thing that is overdue, silence when all is well."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import counts
import ledgers
import pytest
import scripted_smtp
from scripted_smtp import ScriptedServer
from sqlalchemy import Engine
from terminal import Run

from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.doctor import daily, standing
from newsletter.publication import Publication
from newsletter.sender.limits import Limits
from newsletter.settings import Settings

_LONG_AGO = "2020-01-01 00:00:00.000000"
_FEED = "<rss version='2.0'><channel><title>F</title></channel></rss>"


def change(tmp_path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def found(run: Run) -> list[str]:
    """Return the ids of what is overdue, said as often as it is listed."""
    listed, ran = run("watchdog", "--json"), run("watchdog")
    ids = [one["id"] for one in listed.json["findings"]]
    assert listed.code == ran.code == (3 if ids else 0)
    assert ran.out.count("\n") == len(ids)
    assert ran.err == ""
    return ids


@pytest.fixture
def due(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours ago an edition was due, for which there are an article and a reader."""
    offset = datetime.now(UTC).hour - 12
    monkeypatch.setenv("NEWSLETTER_TIMEZONE", f"Etc/GMT{offset:+d}" if offset else "Etc/GMT")
    change(tmp_path, f"UPDATE freeze_lock SET created_at = '{_LONG_AGO}'")
    run("articles", "add", "--title", "News", "--link", "https://example.org/1")
    run("subscribers", "add", "ann@example.org", "--cadence", "daily")


@pytest.fixture
def no_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mail server listens."""
    with scripted_smtp.running(ScriptedServer()) as server:
        monkeypatch.setenv("NEWSLETTER_SMTP_URL", f"smtp://127.0.0.1:{server.port}")


def test_nothing_is_said_when_all_is_well(run: Run) -> None:
    assert found(run) == []
    assert run("watchdog").out == ""


@pytest.mark.usefixtures("due")
def test_an_edition_that_was_not_made_in_time_is_late(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(run) == ["scheduler.missed"]
    assert "was due" in run("watchdog").out

    with scripted_smtp.running(ScriptedServer()) as server:
        monkeypatch.setenv("NEWSLETTER_SMTP_URL", f"smtp://127.0.0.1:{server.port}")
        assert run("cron").code == 0

    assert found(run) == []


def test_cron_that_has_stopped_is_missed(run: Run, tmp_path: Path) -> None:
    assert run("cron").code == 0
    assert found(run) == []

    yesterday = datetime.now(UTC) - timedelta(hours=27)
    change(tmp_path, f"UPDATE scheduler_run SET ended_at = '{yesterday:%Y-%m-%d %H:%M:%S.%f}'")

    assert found(run) == ["scheduler.late"]


@pytest.mark.usefixtures("due", "no_relay")
def test_an_edition_that_no_relay_takes_is_stuck(run: Run, tmp_path: Path) -> None:
    assert run("cron").code == 75
    assert found(run) == []

    an_hour_ago = datetime.now(UTC) - timedelta(minutes=61)
    change(tmp_path, f"UPDATE delivery SET due_at = '{an_hour_ago:%Y-%m-%d %H:%M:%S.%f}'")

    assert found(run) == ["editions.stuck"]


@pytest.fixture
def letter(run: Run, tmp_path: Path) -> None:
    """A letter is queued."""
    engine = engines.open(f"sqlite:///{tmp_path / 'newsletter.db'}")
    ledgers.fill(engine, 1, priority=0)
    engine.dispose()
    change(tmp_path, "UPDATE mailing SET kind = 'welcome'")


@pytest.mark.usefixtures("letter")
def test_letters_wait_for_no_more_than_a_quarter_of_an_hour(run: Run, tmp_path: Path) -> None:
    before = "UPDATE delivery SET due_at = '{:%Y-%m-%d %H:%M:%S.%f}'".format
    change(tmp_path, before(datetime.now(UTC) - timedelta(minutes=14)))
    assert found(run) == []

    change(tmp_path, before(datetime.now(UTC) - timedelta(minutes=16)))

    assert found(run) == ["letters.waiting"]


@pytest.mark.usefixtures("letter")
def test_a_worker_to_which_no_server_answers_is_stalled(run: Run, tmp_path: Path) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    change(
        tmp_path,
        f"UPDATE delivery SET due_at = '{long_ago:%Y-%m-%d %H:%M:%S.%f}'",
        "INSERT INTO worker (id, name, kind, host, pid, started_at, lease_until, in_flight) "
        f"VALUES (7, 'w', 'worker', 'elsewhere', 1, '{_LONG_AGO}', '2999-01-01 00:00:00', '[]')",
    )

    assert found(run) == ["workers.stalled"]

    now = datetime.now(UTC)
    at = f"'{now:%Y-%m-%d %H:%M:%S.%f}'"
    change(
        tmp_path,
        f"INSERT INTO progress (id, serial, worked_until, ended_at) "
        f"VALUES (1, 0, '{_LONG_AGO}', {at})",
    )

    assert found(run) == []


def test_a_feed_that_is_dead_is_stale_after_a_day(run: Run, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    feed.write_text(_FEED)
    assert run("feeds", "add", str(feed)).code == 0
    feed.unlink()
    run("feeds", "fetch")
    assert found(run) == []

    change(tmp_path, f"UPDATE feed SET succeeded_at = '{_LONG_AGO}'")

    assert found(run) == ["feeds.stale"]
    assert run("watchdog").out.startswith("1 feed has not been read since 2020-01-01 00:00 UTC: F:")


@pytest.mark.usefixtures("due")
def test_mails_that_may_or_may_not_have_arrived_wait_for_a_decision(
    run: Run, tmp_path: Path
) -> None:
    run("send", "daily")
    change(tmp_path, "UPDATE delivery SET state = 'unknown'")

    assert found(run) == ["delivery.unknown"]


@pytest.mark.parametrize(
    ("kind", "count", "is_said"),
    [("bounce", 19, False), ("bounce", 20, True), ("complaint", 4, False), ("complaint", 5, True)],
)
def test_a_finished_edition_of_which_too_much_came_back_is_said(
    run: Run,
    returned: Callable[[str, int], None],
    kind: str,
    count: int,
    is_said: bool,
) -> None:
    returned(kind, count)

    assert found(run) == (["editions.returned"] if is_said else [])


@pytest.fixture
def returned(run: Run, tmp_path: Path) -> Callable[[str, int], None]:
    """Have so many mails of a finished edition come back."""

    def come_back(kind: str, count: int) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        change(
            tmp_path,
            "INSERT INTO edition (id, cadence, period, state, coverage_start, coverage_end, "
            "audience, created_at, finished_at) VALUES (1, 'weekly', '2026-11-23', 'finished', "
            f"'{now}', '{now}', 100, '{now}', '{now}')",
            "INSERT INTO mailing (id, public_id, kind, edition_id, subject, body, fields, domain, "
            "timezone, language, signing_key, html, created_at) VALUES (1, 'm', 'digest', 1, 's', "
            f"'b', '[]', 'example.org', 'UTC', 'en', '', '', '{now}')",
            *(
                "INSERT INTO delivery (id, mailing_id, address, reference, generation, state, "
                "priority, due_at, attempts, state_at, created_at) VALUES "
                f"({n}, 1, 'a', '{n}', 1, 'accepted', 2, '{now}', 1, '{now}', '{now}')"
                for n in range(1, 101)
            ),
            *(
                "INSERT INTO report (delivery_id, mailing_id, source, kind, verdict, recipient, "
                f"is_void, at) VALUES ({n}, 1, 'mail', '{kind}', 'v', '', 0, '{now}')"
                for n in range(1, count + 1)
            ),
        )
        engine = engines.open(f"sqlite:///{tmp_path / 'newsletter.db'}")
        with sessions.writing(engine) as session:
            counts.recount(session)
        engine.dispose()

    return come_back


def test_nothing_is_overdue_on_either_engine(
    engine: Engine, settings: Callable[..., Settings]
) -> None:
    now, found = datetime.now(UTC), settings()
    publication, limits = Publication.of(found), Limits.of(found)

    with sessions.reading(engine) as session:
        watched = standing.watched(session, publication=publication, limits=limits, now=now)

    assert daily.overdue(watched, zone=found.zone, now=now) == []


def test_a_backup_that_was_restored_stops_all_mail(run: Run, tmp_path: Path) -> None:
    (tmp_path / "newsletter.db-sent").write_text("9 2026-11-29T00:00:00+00:00\n")

    assert found(run) == ["database.restored"]


def test_a_database_that_is_away_is_no_silence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", "postgresql://127.0.0.1:1/none")

    ran = run("watchdog")

    assert ran.code == 75
    assert ran.err
