"""Feeds at the desk: their health, a look before one is added, fetching and removing."""

from __future__ import annotations

from collections.abc import Callable

import feed_server
import pytest
from feed_server import FeedServer
from operator_desk import OperatorDesk
from sqlalchemy import Engine
from sqlmodel import select

from newsletter.articles import store
from newsletter.db import session as sessions
from newsletter.models import Article, Feed
from newsletter.settings import Settings


@pytest.fixture
def local(engine: Engine, settings: Callable[..., Settings]) -> OperatorDesk:
    """A desk whose feeds may come from this machine."""
    return OperatorDesk(engine, settings(feed_private_networks=True)).sign_in()


def feed(desk: OperatorDesk, url: str, **changes: object) -> int:
    with sessions.writing(desk.engine) as session:
        found = store.add_feed(session, url=url, title="", now=desk.now)
        for name, value in changes.items():
            setattr(found, name, value)
        assert found.id is not None
        return found.id


def feeds(desk: OperatorDesk) -> list[Feed]:
    with sessions.reading(desk.engine) as session:
        return store.feeds(session)


def test_a_desk_without_feeds_says_what_to_do_next(desk: OperatorDesk) -> None:
    assert "There is no feed yet. Paste the address" in desk.read("/feeds")


def test_feeds_are_listed_with_their_health_and_without_their_passwords(
    desk: OperatorDesk,
) -> None:
    feed(desk, "https://mia:secret@one.example/feed", succeeded_at=desk.now, fetched_at=desk.now)
    feed(desk, "https://two.example/feed", error="says <b>no</b>\u202e", failures=3)
    feed(desk, "https://three.example/feed", error="gone", waits_for="gone")
    feed(desk, "https://four.example/feed", title="<script>alert(1)</script>" * 500)

    html, page = desk.get("/feeds").text, desk.read("/feeds")

    assert "4 feeds, 2 failing ." in page
    assert "secret" not in html
    assert "<script>alert" not in html
    assert "<b>no" not in html
    assert "\u202e" not in html
    assert len(html) < 60_000
    for word in ("well", "failing", "gone", "new"):
        assert f">{word}</span>" in html


def test_many_feeds_are_cut_into_pages(desk: OperatorDesk) -> None:
    for number in range(60):
        feed(desk, f"https://{number:02}.example/feed")

    first = desk.get("/feeds").text

    assert "59.example" in first
    assert "09.example" not in first
    older = first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    assert "09.example" in desk.read(older)


def test_a_feed_is_looked_at_before_it_is_added(local: OperatorDesk) -> None:
    with feed_server.running() as server:
        server.answers.set()
        url = server.url("news")

        look = local.post("/feeds/look", {"url": f" {url} "}, on="/feeds")
        assert feeds(local) == []
        page = local.do("/feeds/add", {"url": url}, on="/feeds")
        double = local.post("/feeds/add", {"url": url}, on="/feeds")

    assert look.status_code == 200
    assert "About news" in look.text
    assert "The feed is added: 1 new, 0 updated, 0 known." in page
    assert double.status_code == 409
    (found,) = feeds(local)
    assert local.audited() == [("feeds.add", f"feed:{found.id}", "news")]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("/etc/passwd", 422),
        ("file:///etc/passwd", 422),
        ("gopher://127.0.0.1/", 422),
        ("javascript:alert(1)", 422),
        ("https://" + "x" * 2100, 422),
        ("https://[::1", 422),
        ("http://a\x00b.example/", 422),
        ("x" * 10_000, 422),
        ("", 422),
        ("http://127.0.0.1:1/feed", 502),
        ("http://localhost:1/<script>alert(1)</script>", 502),
        ("http://169.254.169.254/latest/meta-data/", 502),
    ],
)
@pytest.mark.parametrize("path", ["/feeds/look", "/feeds/add"])
def test_files_of_this_machine_and_its_networks_are_out_of_reach(
    desk: OperatorDesk, path: str, url: str, code: int
) -> None:
    answer = desk.post(path, {"url": url}, on="/feeds")

    assert answer.status_code == code
    assert "<script>alert" not in answer.text
    assert feeds(desk) == []
    assert desk.audited() == []


def served(server: FeedServer, desk: OperatorDesk) -> int:
    server.answers.set()
    return feed(desk, server.url("news"))


def test_a_feed_is_fetched_now(local: OperatorDesk) -> None:
    with feed_server.running() as server:
        one = served(server, local)
        page = local.do(f"/feeds/{one}/fetch", on=f"/feeds/{one}")

    assert "The feed is fetched: 1 new, 0 updated, 0 known." in page
    assert ("feeds.fetch", f"feed:{one}", "") in local.audited()
    failed = local.do(f"/feeds/{one}/fetch", on=f"/feeds/{one}")
    assert "The feed could not be read." in failed
    assert "failing" in failed


def test_a_removed_feed_leaves_its_articles(local: OperatorDesk) -> None:
    with feed_server.running() as server:
        one = served(server, local)
        local.do(f"/feeds/{one}/fetch", on=f"/feeds/{one}")

    page = local.do(f"/feeds/{one}/remove", on=f"/feeds/{one}")

    assert "The feed is removed. Its articles stay: 1." in page
    assert local.get(f"/feeds/{one}").status_code == 404
    assert local.post(f"/feeds/{one}/remove", on="/feeds").status_code == 404
    assert local.post(f"/feeds/{one}/fetch", on="/feeds").status_code == 404
    with sessions.reading(local.engine) as session:
        assert len(session.exec(select(Article)).all()) == 1
    assert local.audited()[-1] == ("feeds.remove", f"feed:{one}", "news")
