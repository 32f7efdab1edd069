"""What is read of settings, machine and database, on both engines."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import ledgers
import pytest
from sqlalchemy import Engine

from newsletter.articles import store as articles
from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.doctor import local, measured
from newsletter.doctor.findings import Checks, Examined, Level
from newsletter.errors import DatabaseUnavailable, NewsletterError, SchemaOutOfDate
from newsletter.feedback import notices
from newsletter.models import Article, Receipt
from newsletter.settings import Settings

NOW = utc_now()


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "sender": "Mia's Feed <digest@miasfeed.example>",
        "base_url": "https://news.miasfeed.example",
        "postal_address": "12 Harbour Street",
        "secret_keys": [ledgers.SECRET],
        "smtp_url": "smtp://relay.example",
        **changes,
    }
    return Settings(**values)


def look(database: Engine | NewsletterError, **changes: Any) -> dict[Checks, Examined]:
    found = local.examine(settings(**changes), database, now=NOW, with_relays=True)
    return {one.checks: one for one in found}


def ids(found: dict[Checks, Examined], checks: Checks) -> dict[str, Level]:
    return {one.id: one.level for one in found[checks].findings}


def test_a_new_database_lacks_a_feed_and_readers(engine: Engine) -> None:
    found = look(engine)

    expected = {"cron": Level.WARNING, "feeds.none": Level.WARNING, "readers.none": Level.WARNING}
    if not is_sqlite(engine):
        expected["disk"] = Level.NOT_CHECKED
    assert ids(found, Checks.MACHINE) == expected
    assert ids(found, Checks.TODAY) == {}
    assert ids(found, Checks.SETTINGS) == {}
    assert "clock" in found[Checks.MACHINE].passed or is_sqlite(engine)


def test_the_clock_is_compared_with_that_of_a_database_server(engine: Engine) -> None:
    ahead = measured.ahead_of_database(engine)

    if is_sqlite(engine):
        assert ahead is None
    else:
        assert ahead is not None
        assert abs(ahead) < timedelta(minutes=1)


def test_feeds_and_articles_of_the_database_count(engine: Engine) -> None:
    with sessions.writing(engine) as session:
        feed = articles.add_feed(
            session, url="https://miasfeed.example/feed", title="", now=NOW - timedelta(days=9)
        )
        assert feed.id is not None
    found = look(engine)

    stale = ids(found, Checks.MACHINE)
    assert stale["feeds.unread"] is Level.WARNING
    assert "feeds.none" not in stale


def test_an_article_is_enough_to_send(engine: Engine) -> None:
    with sessions.reading(engine) as session:
        assert not measured.has_articles(session)
    with sessions.writing(engine) as session:
        made = {"content_hash": "x", "created_at": NOW, "updated_at": NOW}
        session.add(Article(guid="1", title="News", link="https://miasfeed.example/1", **made))

    assert "feeds.none" not in ids(look(engine), Checks.MACHINE)


def test_when_something_last_came_back_is_known(engine: Engine) -> None:
    with sessions.reading(engine) as session:
        assert notices.heard_at(session) is None
    with sessions.writing(engine) as session:
        session.add(Receipt(key="mailbox:read", at=NOW))
        session.add(Receipt(key="a", at=NOW - timedelta(days=3)))
        session.add(Receipt(key="b", at=NOW - timedelta(days=2)))

    with sessions.reading(engine) as session:
        assert notices.heard_at(session) == NOW - timedelta(days=2)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (SchemaOutOfDate("It is old.", hint="Upgrade it."), "schema"),
        (DatabaseUnavailable("It is away."), "database.unavailable"),
    ],
)
def test_a_database_that_cannot_be_opened_leaves_the_rest_to_be_judged(
    problem: NewsletterError, expected: str
) -> None:
    found = look(problem, postal_address="")

    assert ids(found, Checks.MACHINE) == {
        expected: Level.ERROR,
        "database.unread": Level.NOT_CHECKED,
    }
    assert ids(found, Checks.SETTINGS) == {"setup.postal_address": Level.ERROR}
    assert Checks.TODAY not in found


def test_the_room_of_a_folder_that_is_gone_is_not_known(tmp_path: Path) -> None:
    gone = engines.open(f"sqlite:///{tmp_path}/gone/newsletter.db")

    assert measured.disk(gone) is None
    gone.dispose()
