"""The migration that lets articles share a link keeps existing articles."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from newsletter.db import schema, session
from newsletter.models import Article, MailingArticle

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ARTICLE = {
    "title": "A title",
    "standfirst": "",
    "categories": "[]",
    "minutes": 1,
    "content_hash": "",
    "created_at": NOON,
    "updated_at": NOON,
}
MAILING = {
    "id": 1,
    "public_id": "mailing000000001",
    "kind": "digest",
    "subject": "News",
    "fields": "[]",
    "created_at": NOON,
    "body": b"Hello",
    "domain": "mia.example",
    "timezone": "UTC",
    "language": "en",
    "signing_key": "",
    "html": "<p>Hello</p>",
}


def test_articles_keep_what_refers_to_them_when_their_links_may_be_shared(engine: Engine) -> None:
    _go_back_to(engine, "0018")
    _insert(engine, "feed", id=1, url="f", title="", added_at=NOON, failures=0, items=0)
    for number in (1, 2):
        link = f"https://mia.example/{number}"
        _insert(engine, "article", id=number, feed_id=1, guid=f"g{number}", link=link, **ARTICLE)
    _insert(engine, "mailing", **MAILING)
    _insert(
        engine, "mailing_article", mailing_id=1, article_id=2, role="story", position=0,
        content_hash="", title="A title", link="https://mia.example/2",
    )  # fmt: skip

    schema.upgrade(engine)

    shared = "https://mia.example/2"
    _insert(engine, "article", id=3, feed_id=1, guid="g3", link=shared, **ARTICLE)
    with session.reading(engine) as opened:
        links = opened.exec(select(Article.link).order_by("link")).all()
        (placed,) = opened.exec(select(MailingArticle)).all()
    assert links == [f"https://mia.example/{number}" for number in (1, 2, 2)]
    assert placed.article_id == 2
    # The other constraints are kept.
    for row in ({"feed_id": 1, "guid": "g3"}, {"feed_id": 7, "guid": "g4"}):
        with pytest.raises(IntegrityError):
            _insert(engine, "article", id=4, link="https://mia.example/4", **row, **ARTICLE)
    with pytest.raises(IntegrityError), engine.connect() as connection, connection.begin():
        connection.execute(text("DELETE FROM article WHERE id = 2"))


def _go_back_to(engine: Engine, version: str) -> None:
    with engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, version)


def _insert(engine: Engine, table: str, **row: object) -> None:
    columns = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)
