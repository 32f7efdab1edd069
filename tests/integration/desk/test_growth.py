"""Growth: what the page shows of how readers came and went."""

from __future__ import annotations

from datetime import timedelta

import pytest
import seeding
from operator_desk import OperatorDesk
from readers import NOW, Readers

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.subscribers import unsubscribe
from newsletter.subscribers.consent import ONE_CLICK, Origin


def test_without_readers_the_page_says_what_to_do(desk: OperatorDesk) -> None:
    page = desk.read("/growth")

    assert "No reader has come yet. Paste the box into your site" in page
    assert "<svg" not in desk.get("/growth").text


def test_who_came_and_left_is_shown_as_figures_charts_and_tables(
    desk: OperatorDesk, readers: Readers
) -> None:
    desk.now = NOW
    for number in range(4):
        readers.add(f"reader{number}@x.org", Cadence.WEEKLY, now=NOW - timedelta(number))
    with sessions.writing(desk.engine) as session:
        unsubscribe.unsubscribe(
            session,
            readers.get("reader3@x.org").public_id,
            generation=None,
            origin=Origin(ONE_CLICK),
            now=NOW,
        )

    page = desk.read("/growth?days=2")

    assert "From 2026-11-21 to 2026-11-22." in page
    assert "Active readers 3 +1 since then" in page
    assert "Left 1 33.3 % of readers" in page
    assert "By the mailbox's own button 1 100.0 %" in page
    assert "Daily Weekly Monthly 2026-11-22 0 3 0 2026-11-21 0 3 0" in page
    assert desk.get("/growth?days=2").text.count('<svg class="chart"') == 4


@pytest.mark.parametrize("days", [30, 90, 365, 0])
def test_two_years_of_a_publication_are_a_small_page(desk: OperatorDesk, days: int) -> None:
    seeding.seed(desk.engine, readers=300, editions=100, now=desk.now)

    answer = desk.get(f"/growth?days={days}")

    assert answer.status_code == 200
    assert len(answer.content) < 60_000
    assert 'aria-current="true"' in answer.text


@pytest.mark.parametrize("days", ["-1", "x", "99999999", "1e9", "%00"])
def test_a_span_that_is_none_is_refused(desk: OperatorDesk, days: str) -> None:
    assert desk.get(f"/growth?days={days}").status_code == 422
