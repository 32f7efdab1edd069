"""What is shown of counted clicks: for each article a count and a rate, and nothing below five."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine
from terminal import Run

from newsletter.db import session as sessions
from newsletter.editions import clicks, pruning, store
from newsletter.editions.clicks import ArticleClicks
from newsletter.settings import Settings
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

WEEKLY = "weekly-2026-06-01"
OpenWorld = Callable[[Engine, Settings], "World"]


@pytest.fixture
def counting_world(
    engine: Engine, settings: Callable[..., Settings], open_world: OpenWorld
) -> World:
    return open_world(engine, settings(count_clicks=True))


def count(world: World, totals: Mapping[int, int], *, process_id: int = 7) -> None:
    with sessions.writing(world.engine) as session:
        clicks.write(session, process_id, {(WEEKLY, article): n for article, n in totals.items()})


def shown(world: World, edition: str = WEEKLY) -> list[ArticleClicks] | None:
    with sessions.reading(world.engine) as session:
        return clicks.of(session, store.by_slug(session, edition))


def test_a_count_stands_beside_what_was_accepted_and_nothing_below_five_is_shown(
    counting_world: World,
) -> None:
    world = counting_world
    refused, *_ = world.readers(41)
    first, second, third = world.articles(3)
    world.send(outcomes={refused: Kind.REFUSED})
    count(world, {first: 4, second: 5, third: 9})
    count(world, {second: 5}, process_id=8)

    found = shown(world)

    assert found is not None
    by_article = {one.article_id: one for one in found}
    assert {one.accepted for one in found} == {40}
    assert (by_article[first].clicks, by_article[first].rate) == (None, None)
    assert (by_article[second].clicks, by_article[second].rate) == (10, 0.25)
    assert (by_article[third].clicks, by_article[third].rate) == (9, 0.225)


def test_an_article_that_few_were_sent_has_their_number(counting_world: World) -> None:
    world = counting_world
    late = world.reader()
    world.article()
    world.send()
    world.tick(days=7)
    world.pause_reader(late)
    old = world.article()
    world.readers(3)
    world.send()
    world.tick(days=7)
    world.resume_reader(late)
    new = world.article()
    world.send()

    found = shown(world, "weekly-2026-06-15")

    assert found is not None
    assert {one.article_id: one.accepted for one in found if one.article_id in {old, new}} == {
        old: 1,
        new: 4,
    }


def test_nothing_is_shown_of_an_article_that_less_than_five_readers_were_sent(
    counting_world: World,
) -> None:
    """One reader can be counted once a day, and so five times."""
    world = counting_world
    world.readers(4)
    article = world.article()
    world.send()
    count(world, {article: 50})

    (one,) = shown(world) or []
    assert (one.accepted, one.clicks, one.rate) == (4, None, None)


def test_an_edition_before_the_setting_has_no_clicks(world: World) -> None:
    world.reader()
    world.article()
    world.send()

    assert shown(world) is None


def test_a_count_of_an_edition_or_article_that_is_not_there_shows_nowhere(
    counting_world: World,
) -> None:
    world = counting_world
    world.reader()
    article = world.article()
    world.send()
    count(world, {article: 6, 999: 50})

    assert [one.article_id for one in shown(world) or []] == [article]


def test_a_write_is_idempotent(counting_world: World) -> None:
    world = counting_world
    world.readers(6)
    article = world.article()
    world.send()
    for _ in range(2):
        count(world, {article: 6})

    (one,) = shown(world) or []
    assert one.clicks == 6


def test_the_clicks_of_an_edition_stay_when_its_deliveries_are_pruned(
    counting_world: World,
) -> None:
    world = counting_world
    world.readers(12)
    article = world.article()
    world.send()
    world.tick(days=500)
    world.article()
    world.send()
    count(world, {article: 6})
    before = shown(world)

    rows = pruning.prunable(
        world.engine, older_than=400, now=world.now, publication=world.publication
    )
    assert pruning.prune(world.engine, rows).states.total() == 12

    assert shown(world) == before
    (one,) = before or []
    assert (one.clicks, one.accepted) == (6, 12)


def test_the_page_of_an_edition_has_its_clicks(make_world: Callable[..., World], run: Run) -> None:
    world = make_world(count_clicks=True)
    world.readers(10)
    first, second = world.article(title="[red]One[/red]"), world.article(title="Two")
    world.send()
    count(world, {first: 5, second: 1})

    said = run("editions", "show", WEEKLY).out
    found = run("editions", "show", WEEKLY, "--json").json["clicks"]

    table = said.partition("How often each article was opened from the mail:")[2].splitlines()
    assert "accepted" in table[1]
    assert any("[red]One[/red]" in line and "50.0%" in line for line in table)
    assert any("Two" in line and "under five" in line for line in table)
    assert {one["title"]: (one["clicks"], one["rate"]) for one in found} == {
        "[red]One[/red]": (5, 0.5),
        "Two": (None, None),
    }


def test_the_page_of_an_edition_without_counted_links_has_no_clicks(
    make_world: Callable[..., World], run: Run
) -> None:
    world = make_world()
    world.reader()
    world.article()
    world.send()

    assert "opened" not in run("editions", "show", WEEKLY).out
    assert run("editions", "show", WEEKLY, "--json").json["clicks"] is None
