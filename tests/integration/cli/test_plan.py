"""`newsletter plan`, and the dry runs that show the same page."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from terminal import Run

from newsletter.db import engine as engines
from newsletter.db import session as sessions


@pytest.fixture
def news(run: Run) -> Run:
    """Three weekly readers, one of them paused and one suppressed, and two articles."""
    for name in ("ada@gmail.com", "grace@gmail.com", "emmy@uni.example", "mary@uni.example"):
        run("subscribers", "add", name, "--cadence", "weekly")
    tomorrow = datetime.now(UTC) + timedelta(days=400)
    run("subscribers", "change", "mary@uni.example", "--pause-until", f"{tomorrow:%Y-%m-%d}")
    run("suppression", "add", "emmy@uni.example")
    for number in (1, 2):
        link = f"https://news.example/{number}"
        assert run("articles", "add", "--title", f"Story {number}", "--link", link).code == 0
    return run


def test_a_plan_names_readers_articles_sizes_domains_and_who_gets_none(news: Run) -> None:
    ran = news("plan", "weekly")

    assert ran.code == 0
    assert "2 readers would get it, in 1 mail" in ran.out
    assert "lead     Story" in ran.out
    assert "To gmail.com 2." in ran.out
    assert "paused" in ran.out
    assert "operator" in ran.out
    assert "no edition of 100 readers has gone out yet" in ran.out


def test_a_plan_as_json_is_whole(news: Run) -> None:
    (found,) = news("plan", "weekly", "--json").json["editions"]

    assert (found["audience"], found["variants"], found["state"]) == (2, 1, "open")
    (mail,) = found["mailings"]
    assert [article["role"] for article in mail["articles"]] == ["lead", "story"]
    assert 0 < mail["html_octets"] < mail["octets"]
    assert found["domains"] == {"gmail.com": 2}
    assert {(one["reason"], one["cause"], one["readers"]) for one in found["without"]} == {
        ("paused", None, 1),
        ("suppressed", "operator", 1),
    }


def test_a_plan_of_all_cadences_has_the_reason_of_those_that_are_not_sent(news: Run) -> None:
    ran = news("plan")

    assert ran.code == 0
    assert ran.out.count(", due ") == 3
    assert "No active reader has chosen daily." in ran.out


def test_an_instant_is_one_of_the_publications_zone(
    news: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_TIMEZONE", "America/New_York")
    day = datetime.now(UTC).date() + timedelta(days=30)

    (found,) = news("plan", "daily", "--at", f"{day}T07:00", "--json").json["editions"]

    assert found["period"] == str(day)
    assert datetime.fromisoformat(found["due_at"]) == datetime.fromisoformat(found["at"])


def test_a_plan_of_a_far_day_names_the_first_and_the_last_edition_before_it(news: Run) -> None:
    today = datetime.now(UTC).date()
    names = [f"daily-{today + timedelta(days=days)}" for days in (1, 2, 299, 300)]

    near = news("plan", "daily", "--at", f"{today + timedelta(days=3)}").out
    far = news("plan", "daily", "--at", f"{today + timedelta(days=300)}").out

    assert f"{names[0]} and {names[1]} are due" in near.replace(f"daily-{today}, ", "")
    assert f" editions, daily-{today}" in far or f" editions, {names[0]}" in far
    assert f" to {names[2]}, are due; what comes until then" in far
    assert names[1] not in far


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("soon", "'soon' is no instant"),
        ("0001-01-01T00:00", "has passed"),
        ("9999-12-31T23:59-12:00", "is no instant"),
        ("2020-01-01", "has passed"),
        ("9999-12-01", "a year ahead at most"),
        ("\x1b[2J", "is no instant"),
    ],
)
def test_an_instant_that_cannot_be_planned_is_named_with_the_way_out(
    news: Run, at: str, said: str
) -> None:
    ran = news("plan", "--at", at)

    assert ran.code == 2
    assert said in ran.err
    assert "\x1b" not in ran.err


def test_dry_runs_are_the_plan_of_what_would_be_sent_now(news: Run) -> None:
    sent = news("send", "weekly", "--dry-run")
    values = news("send", "weekly", "--dry-run", "--json").json

    assert "2 readers would get it, in 1 mail" in sent.out
    assert (values["audience"], values["queued"], values["dry_run"]) == (2, 2, True)
    assert [one["readers"] for one in values["mailings"]] == [2]
    assert news("cron", "--dry-run", "--json").json["dry_run"] is True


def test_a_dry_run_says_that_the_database_is_a_restored_backup(news: Run, tmp_path: Path) -> None:
    """Sending refuses that, so a plan alone would mislead; `send --force` goes on."""
    said = "it seems to be a backup that was restored"
    assert said not in news("send", "weekly", "--dry-run").err

    (tmp_path / "newsletter.db-sent").write_text("9 2026-11-29T00:00:00+00:00\n")

    assert said in news("send", "weekly", "--dry-run").err
    assert said in news("cron", "--dry-run").err
    assert said not in news("send", "weekly", "--dry-run", "--force").err


def test_a_plan_waits_for_no_lock_and_takes_none(news: Run, tmp_path: Path) -> None:
    """While another process writes, and holds the freeze lock."""
    engine = engines.open(f"sqlite:///{next(tmp_path.glob('*.db'))}")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.db")}
    with sessions.writing(engine) as session:
        sessions.freeze_lock(session, datetime.now(UTC))

        ran: list[object] = []
        planning = threading.Thread(target=lambda: ran.append(news("plan", "weekly").code))
        planning.start()
        planning.join(30)

        assert ran == [0]
    engine.dispose()
    assert before.keys() == {path.name for path in tmp_path.glob("*.db")}


def test_the_articles_of_a_mail_and_its_note_come_as_text_and_act_on_no_terminal(
    news: Run,
) -> None:
    title = "Red\x1b[31m alert"
    news("articles", "add", "--title", title, "--link", "https://news.example/3")
    news("note", "weekly", "A first line.\nA second one.")

    ran = news("plan", "weekly")

    assert "\x1b" not in ran.out
    assert "A note stands above the articles: A first line. ..." in ran.out
    assert json.loads(news("plan", "--json").out)
