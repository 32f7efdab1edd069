"""Which clicks count: once a day for a visitor, and none of a scanner's burst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.web import clicks
from newsletter.web.clicks import Click, ClickFilter, is_speculative

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
EDITION, OTHER = "weekly-2026-11-23", "daily-2026-11-23"
HOME, OFFICE = "192.0.2.7/32", "2001:db8::/64"
FIREFOX, CHROME = "Firefox/140", "Chrome/131"


class Counting:
    """A filter with a clock."""

    def __init__(self) -> None:
        salts = count()
        self.filter = ClickFilter(lambda: b"salt %d" % next(salts))
        self.now = NOW
        self.counted: Counter[tuple[str, int]] = Counter()

    def click(
        self, article_id: int, *, edition: str = EDITION, network: str = HOME, agent: str = FIREFOX
    ) -> None:
        click = Click(edition, article_id, network, agent)
        self.filter.take(click, now=self.now, day=self.now.date())

    def click_all(self, articles: Iterable[int], *, seconds: float, **visitor: str) -> None:
        for article_id in articles:
            self.click(article_id, **visitor)
            self.wait(seconds=seconds)

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)
        self.counted += self.filter.settle(self.now)

    def total(self) -> dict[int, int]:
        """Return the clicks of the edition by article, after enough time for all to count."""
        self.wait(seconds=11)
        return {article: n for (edition, article), n in self.counted.items() if edition == EDITION}


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_a_click_counts_after_ten_seconds(counting: Counting) -> None:
    counting.click(1)
    counting.wait(seconds=9)
    assert not counting.counted
    counting.wait(seconds=1)
    assert counting.counted == {(EDITION, 1): 1}
    assert counting.filter.is_empty


def test_a_visitor_counts_once_a_day_for_an_article_of_an_edition(counting: Counting) -> None:
    for _ in range(5):
        counting.click(1)
        counting.wait(minutes=30)
    counting.click(1, edition=OTHER)
    assert counting.total() == {1: 1}
    assert counting.counted[OTHER, 1] == 1


def test_another_network_or_browser_is_another_visitor(counting: Counting) -> None:
    counting.click(1)
    counting.click(1, network=OFFICE)
    counting.click(1, agent=CHROME)
    assert counting.total() == {1: 3}


def test_the_salt_is_new_each_day_and_what_was_seen_is_forgotten(counting: Counting) -> None:
    counting.click(1)
    counting.wait(minutes=1)
    before = set(counting.filter._seen)
    counting.wait(hours=24)
    counting.click(1)
    assert counting.total() == {1: 2}
    assert before.isdisjoint(counting.filter._seen)


def test_a_person_who_reads_on_is_counted_for_each_article(counting: Counting) -> None:
    counting.click_all(range(1, 11), seconds=2)
    assert counting.total() == dict.fromkeys(range(1, 11), 1)


def test_two_tabs_at_once_count(counting: Counting) -> None:
    counting.click_all([1, 2], seconds=0.1)
    assert counting.total() == {1: 1, 2: 1}


@pytest.mark.parametrize("seconds", [0, 0.05, 0.5, 1, 1.5])
def test_no_click_of_a_burst_counts(counting: Counting, seconds: float) -> None:
    counting.click_all(range(1, 21), seconds=seconds)
    assert counting.total() == {}


def test_what_a_scanner_opened_just_before_its_burst_is_dropped(counting: Counting) -> None:
    counting.click(1)
    counting.wait(seconds=8)
    counting.click_all([2, 3, 4], seconds=0.2)
    assert counting.total() == {}


def test_a_scanner_counts_again_when_it_was_quiet_for_fifteen_minutes(counting: Counting) -> None:
    counting.click_all([1, 2, 3], seconds=0)
    for _ in range(3):
        counting.wait(minutes=10)
        counting.click(4)
    assert counting.total() == {}
    counting.wait(minutes=15)
    counting.click(4)
    assert counting.total() == {4: 1}


def test_a_scanner_does_not_silence_others_nor_itself_in_other_editions(
    counting: Counting,
) -> None:
    counting.click(1, agent=CHROME)
    counting.click_all([1, 2, 3], seconds=0)
    counting.click(9, edition=OTHER)
    assert counting.total() == {1: 1}
    assert counting.counted[OTHER, 9] == 1


def test_one_link_many_times_is_no_burst(counting: Counting) -> None:
    counting.click_all([1] * 50, seconds=0.01)
    assert counting.total() == {1: 1}


def test_the_last_clicks_of_a_process_count(counting: Counting) -> None:
    counting.click(1)
    assert counting.filter.settle(counting.now, is_last=True) == {(EDITION, 1): 1}
    assert counting.filter.is_empty


def test_memory_is_bounded(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks, "MOST_VISITORS", 20)
    monkeypatch.setattr(clicks, "MOST_SEEN", 30)
    for flood in range(5):
        for number in range(100):
            counting.click(1, agent=f"{flood} {number}")
        assert len(counting.filter._visits) == 20
        counting.wait(seconds=11)
        assert len(counting.filter._seen) <= 30
    assert counting.total() == {1: 100}


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from([FIREFOX, CHROME, "", "\ud800"]),
                  st.floats(0, 40)),
        max_size=60,
    )
)  # fmt: skip
def test_no_article_counts_more_than_its_visitors_of_a_day(
    steps: list[tuple[int, str, float]],
) -> None:
    counting = Counting()
    for article_id, agent, seconds in steps:
        counting.click(article_id, agent=agent)
        counting.wait(seconds=seconds)
    visitors = {(article_id, agent) for article_id, agent, _ in steps}
    for article_id, clicked in counting.total().items():
        assert clicked <= len([1 for one, _ in visitors if one == article_id])


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-purpose": "prefetch"},
        {"sec-purpose": "prefetch;prerender"},
        {"purpose": "prefetch"},
        {"purpose": "preview"},
        {"x-moz": "prefetch"},
    ],
    ids=str,
)
def test_what_is_fetched_before_anyone_asks_is_no_click(headers: dict[str, str]) -> None:
    assert is_speculative(headers)
    assert not is_speculative({"sec-fetch-mode": "navigate"})
