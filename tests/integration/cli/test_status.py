"""`newsletter status`: all is well, or what is not, and exit code 3."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from terminal import Run

from newsletter.editions import send as sending
from newsletter.errors import TransportUnavailable


def ids(run: Run) -> list[str]:
    ran = run("status", "--json")
    found = [one["id"] for one in json.loads(ran.out)["findings"]]
    assert ran.code == (3 if found else 0)
    return found


def change(tmp_path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_a_newsletter_that_is_well_says_so_first(run: Run) -> None:
    ran = run("status")

    assert ran.code == 0
    assert ran.out.startswith("All is well.\n")
    assert ran.err == ""


def test_a_setting_that_is_missing_is_said_first_with_the_way_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEWSLETTER_POSTAL_ADDRESS")

    ran = run("status")

    assert ran.code == 3
    assert ran.out.startswith(
        "1 thing needs a look: setup.postal_address.\n- error: postal_address is empty"
    )


def test_a_feed_that_fails_and_quarantine_need_a_look(run: Run, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    feed.write_text("<rss version='2.0'><channel><title>F</title></channel></rss>")
    assert run("feeds", "add", str(feed)).code == 0
    feed.unlink()
    run("feeds", "fetch")
    run("articles", "add", "--title", "News", "--link", "https://example.org/1")
    change(
        tmp_path,
        "UPDATE article SET seen_at = NULL, quarantined_at = created_at, quarantine_reason = 'x'",
    )

    assert ids(run) == ["feeds.failing", "articles.quarantined"]
    assert "1 article waits for your approval." in run("status").out


def test_the_archive_that_a_new_feed_brings_along_needs_no_look(run: Run, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    items = "".join(
        f"<item><title>Old {number}</title><link>https://example.org/{number}</link>{date}</item>"
        for number, date in enumerate(["", "<pubDate>Mon, 03 Jan 2022 08:00:00 GMT</pubDate>"] * 15)
    )
    feed.write_text(f"<rss version='2.0'><channel><title>F</title>{items}</channel></rss>")
    assert "20 new" in run("feeds", "add", str(feed)).out

    assert ids(run) == []


def test_an_edition_that_fell_due_and_was_not_made_needs_a_look(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where it is about noon, what was due at seven is hours old.
    offset = datetime.now(UTC).hour - 12
    monkeypatch.setenv("NEWSLETTER_TIMEZONE", f"Etc/GMT{offset:+d}" if offset else "Etc/GMT")
    run("subscribers", "add", "ann@example.org", "--cadence", "weekly")
    assert ids(run) == []
    change(tmp_path, "UPDATE freeze_lock SET created_at = '2020-01-01 00:00:00.000000'")

    assert ids(run) == ["scheduler.missed"]
    assert "and was not made. Look whether `newsletter cron`" in run("status").out


def test_the_last_run_is_shown_with_who_ran_and_how_it_went(run: Run) -> None:
    assert "has run yet" in run("status").out
    assert run("cron").code == 0

    shown = json.loads(run("status", "--json").out)["last_run"]

    assert (shown["command"], shown["error"]) == ("cron", None)
    assert "Last run: cron on " in run("status").out


def test_a_run_that_failed_needs_a_look(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise TransportUnavailable("The mail server is away.")

    monkeypatch.setattr(sending, "resume", away)
    assert run("cron").code == 75

    assert ids(run) == ["scheduler.failed"]
    assert "The mail server is away." in run("status").out


def test_a_dry_run_is_no_run(run: Run) -> None:
    run("cron", "--dry-run")

    assert json.loads(run("status", "--json").out)["last_run"] is None


def test_a_backup_that_was_restored_needs_a_look(run: Run, tmp_path: Path) -> None:
    (tmp_path / "newsletter.db-sent").write_text("9 2026-11-29T00:00:00+00:00\n")

    assert ids(run) == ["database.restored"]
    assert "backup that was restored" in run("status").out


def test_suppressed_addresses_are_counted(run: Run) -> None:
    run("suppression", "add", "ann@example.org")

    ran = run("status")

    assert ran.code == 0
    assert "1 address is suppressed and never mailed." in ran.out


def test_what_a_feed_says_does_nothing_to_a_terminal(run: Run, tmp_path: Path) -> None:
    feed = tmp_path / "feed.xml"
    feed.write_text("<rss version='2.0'><channel><title>F</title></channel></rss>")
    assert run("feeds", "add", str(feed)).code == 0
    change(tmp_path, "UPDATE feed SET title = 'a' || char(27) || '[2J', error = 'b' || char(10)")

    ran = run("status")

    assert ran.code == 3
    assert "\x1b" not in ran.out


def test_what_the_doctor_found_elsewhere_is_named_and_does_not_count(
    run: Run, tmp_path: Path
) -> None:
    change(
        tmp_path,
        "INSERT INTO finding"
        " (id, subject, checks, level, sentence, hint, record, first_at, last_at)"
        " VALUES ('dkim.key', '', 'DNS', 'error', 'No key.', '', '', '2026-11-30', '2026-11-30'),"
        " ('letters.waiting', '', 'Today', 'error', 'Old.', '', '', '2026-11-30', '2026-11-30'),"
        " ('ptr', '', 'DNS', 'info', 'Well.', '', '', '2026-11-30', '2026-11-30')",
    )

    ran = run("status")

    assert ran.code == 0
    assert ran.out.startswith("All is well.\nThe doctor found, up to 2026-11-30 ")
    assert ": dkim.key. `newsletter doctor --dns` looks again.\n" in ran.out
    assert [one["id"] for one in run("status", "--json").json["doctor"]] == ["dkim.key"]
