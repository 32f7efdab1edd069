"""Counted clicks on the page of an edition, and the mail there, whose links count nothing."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from operator_desk import OperatorDesk, text

from newsletter.db import session as sessions
from newsletter.editions import clicks
from tests.integration.editions.conftest import World

if TYPE_CHECKING:
    from tests.integration.desk.conftest import MakeDesk


@pytest.fixture
def counting(desk_with: MakeDesk) -> tuple[OperatorDesk, World]:
    desk = desk_with(count_clicks=True).sign_in()
    return desk, World(desk.engine, desk.settings, now=desk.now)


def test_an_edition_has_its_clicks_and_nothing_below_five(
    counting: tuple[OperatorDesk, World],
) -> None:
    desk, world = counting
    world.readers(20)
    first, second = world.article(title="<b>One</b>"), world.article(title="Two")
    slug = world.send().edition
    with sessions.writing(world.engine) as session:
        clicks.write(session, 7, {(slug, first): 5, (slug, second): 4})

    page = desk.get(f"/editions/{slug}").text

    assert "<b>One</b>" not in page
    shown = text(page.partition('id="clicks"')[2])
    assert "<b>One</b> 20 5 25.0 %" in shown
    assert "Two 20 under five –" in shown


def test_the_mail_on_the_page_has_direct_links(counting: tuple[OperatorDesk, World]) -> None:
    desk, world = counting
    world.reader()
    world.article()
    slug = world.send().edition
    frame = re.search(rf"/editions/{slug}/mail\?variant=[\w-]+", desk.get(f"/editions/{slug}").text)
    assert frame

    mail = desk.get(unescape(frame[0])).text

    assert "/read/" not in mail
    assert "https://miasfeed.example/2" in mail


def test_an_edition_without_counted_links_says_nothing_of_clicks(
    desk: OperatorDesk, world: World
) -> None:
    world.reader()
    world.article()
    slug = world.send().edition

    assert "Clicks" not in desk.read(f"/editions/{slug}")
