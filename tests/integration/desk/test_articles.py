"""Articles: lists by state, one article, what editors do with it, and one added by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from operator_desk import OperatorDesk, text

from newsletter.articles import store
from newsletter.db import session as sessions
from newsletter.models import Article

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

HOSTILE = '"><script>alert(1)</script>'


def changed(world: World, article: int, **values: object) -> None:
    with sessions.writing(world.engine) as session:
        store.change_article(session, article, values)


def found(world: World, article: int) -> Article:
    with sessions.reading(world.engine) as session:
        return store.article(session, article)


def quarantined(world: World, *, title: str = "An old one") -> int:
    article = world.article(title=title)
    changed(world, article, seen_at=None, quarantined_at=world.now, quarantine_reason="ancient")
    return article


def test_without_articles_the_list_says_what_to_do(desk: OperatorDesk) -> None:
    assert "No article came yet." in desk.read("/articles")
    assert "No article waits." in desk.read("/articles?state=quarantined")


def test_the_list_has_articles_by_pages_and_states(desk: OperatorDesk, world: World) -> None:
    world.articles(52)
    waiting = quarantined(world)

    first = desk.get("/articles").text

    assert first.count('<th scope="row"') == 50
    assert len(first) < 60_000
    older = re.search(r"/articles\?before=\d+", first)
    assert older is not None
    assert desk.get(older[0]).text.count('<th scope="row"') == 3
    only = desk.get("/articles?state=quarantined").text
    assert only.count('<th scope="row"') == 1
    assert f"/articles/{waiting}" in only
    assert "ancient" in only
    paged = desk.get("/articles?state=out").text
    assert "/articles?state=out&amp;before=" in paged
    assert desk.get("/articles?state=lost").status_code == 422


def test_marked_articles_are_let_out_of_quarantine(desk: OperatorDesk, world: World) -> None:
    first, second = quarantined(world), quarantined(world)
    fields = {"article": [first], "back": "/articles?state=quarantined"}

    page = desk.do("/articles/approve", fields, on="/articles?state=quarantined")

    assert "1 article is let out and will be in the next editions." in page
    assert found(world, first).seen_at is not None
    assert found(world, second).seen_at is None
    assert desk.audited() == [("articles.approve", f"article:{first}", "An old one")]


def test_articles_are_held_released_and_rejected(desk: OperatorDesk, world: World) -> None:
    one, two = world.articles(2)

    held = desk.do("/articles/hold", {"article": [one, two]}, on="/articles?state=out")
    assert "2 articles are held: no edition has them before they are released." in held
    assert "held" in desk.read(f"/articles/{one}")
    released = desk.do("/articles/release", {"article": one}, on="/articles?state=held")
    assert "1 article is released and will be in the next editions." in released
    rejected = desk.do("/articles/reject", {"article": two}, on="/articles?state=held")

    assert "1 article is rejected: no edition will have it." in rejected
    assert [found(world, id_).state for id_ in (one, two)] == ["out", "rejected"]
    assert [action for action, _, _ in desk.audited()] == [
        "articles.hold", "articles.hold", "articles.release", "articles.reject",
    ]  # fmt: skip


def test_one_is_pinned_and_unpinned(desk: OperatorDesk, world: World) -> None:
    article = world.article(title="The lead")
    own = f"/articles/{article}"

    page = desk.do("/articles/pin", {"article": article, "back": own}, on=own)
    assert "It leads the next daily and weekly and monthly edition: The lead" in page
    assert "Unpin" in page
    page = desk.do("/articles/unpin", {"back": own}, on=own)

    assert "Pinned no more: The lead" in page
    assert [action for action, _, _ in desk.audited()] == ["articles.pin", "articles.unpin"]


def test_an_article_that_an_edition_has_cannot_be_held(desk: OperatorDesk, world: World) -> None:
    world.reader()
    article = world.article()
    slug = world.send().edition

    page = desk.get(f"/articles/{article}").text

    assert f'href="/editions/{slug}"' in page
    assert f"/editions/{slug}/correct?article={article}" in page
    assert "Hold back" not in page
    refused = desk.post("/articles/hold", {"article": article})
    assert refused.status_code == 409
    assert f"is in {slug} and cannot be held" in text(refused.text)
    assert desk.audited() == []


@pytest.mark.parametrize(
    "fields",
    [{}, {"article": "x"}, {"article": 0}, {"article": 2**63}, {"article": 999}],
)
@pytest.mark.parametrize("act", ["approve", "hold", "release", "reject", "pin"])
def test_what_names_no_article_changes_nothing(
    desk: OperatorDesk, act: str, fields: dict[str, object]
) -> None:
    answer = desk.post(f"/articles/{act}", fields)

    assert answer.status_code in {404, 422}
    assert desk.audited() == []


def test_a_form_leads_to_no_other_site(desk: OperatorDesk, world: World) -> None:
    article = world.article()

    for back in ("https://evil.example/", "//evil.example", "/articles\r\nX: y", "/audit"):
        answer = desk.post("/articles/hold", {"article": article, "back": back})
        assert answer.status_code == 422, back
    assert found(world, article).held_at is None


def test_hostile_words_of_a_feed_are_inert(desk: OperatorDesk, world: World) -> None:
    article = world.article(title=HOSTILE, categories=[HOSTILE])
    values = dict.fromkeys(("standfirst", "author", "source", "guid"), HOSTILE)
    changed(world, article, **values, link="javascript:alert(1)", image_url="javascript:alert(2)")

    for path in ("/articles", "/articles?state=out", f"/articles/{article}"):
        page = desk.get(path).text
        assert "<script>alert" not in page
        assert 'href="javascript:' not in page
        assert "alert(1)" in page


def test_an_article_is_added_by_hand(desk: OperatorDesk, world: World) -> None:
    fields = {
        "title": "By hand",
        "link": "https://miasfeed.example/by-hand?utm_source=x#top",
        "standfirst": "What it says.",
        "categories": "Heart, Sleep,",
        "minutes": "4",
        "published": "2026-11-20T07:30",
        "author": "", "source": "", "image": "",
    }  # fmt: skip

    page = desk.do("/articles/add", fields, on="/articles/add")

    assert "By hand" in page
    assert "4 minutes" in page
    assert "Heart, Sleep" in page
    assert "2026-11-20 07:30" in page
    assert "The next daily and weekly and monthly edition will have it." in page
    assert [action for action, _, _ in desk.audited()] == ["articles.add"]
    again = desk.post("/articles/add", fields, on="/articles/add")
    assert again.status_code == 409
    assert "is article 1 already: By hand" in text(again.text)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("link", "javascript:alert(1)", "That link cannot be used."),
        ("title", "", "An article needs a title."),
        ("image", "data:image/png;base64,x", "That image cannot be used."),
        ("published", "yesterday", "'yesterday' is no date or time."),
        ("minutes", "0", "minutes"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    desk: OperatorDesk, field: str, value: str, said: str
) -> None:
    fields = {"title": "A title", "link": "https://a.example/", "minutes": "1", field: value}

    answer = desk.post("/articles/add", fields, on="/articles/add")

    assert answer.status_code == 422
    assert said in text(answer.text)


def test_an_article_that_there_is_not_is_not_found(desk: OperatorDesk) -> None:
    assert desk.get("/articles/1").status_code == 404
    assert desk.get("/articles/x").status_code == 422


@pytest.mark.parametrize("number", ["0", "-1", "-99999999999999999999", str(2**63)])
def test_a_number_of_no_article_is_refused(desk: OperatorDesk, number: str) -> None:
    assert desk.get(f"/articles/{number}").status_code == 422
