"""Steps of growth, beside a replay of the same days."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from newsletter import tally
from newsletter.cadences import Cadence
from newsletter.models import Status
from newsletter.subscribers import growth
from newsletter.subscribers.growth import Days, Unit

TODAY = date(2026, 12, 1)
_KEYS = st.builds(tally.reader, st.sampled_from(Cadence), st.sampled_from(Status))
_EVENTS = st.sampled_from(["asked", "confirmed", "unsubscribed link", "suppressed bounce"])


@st.composite
def _histories(draw: st.DrawFn) -> tuple[Days, date]:
    begins = TODAY - timedelta(draw(st.integers(0, 2500)))
    # One day may be after today, where the clock of another machine is ahead.
    days = st.integers(0, (TODAY - begins).days + 1).map(lambda n: begins + timedelta(n))
    readers = st.dictionaries(days, st.dictionaries(_KEYS, st.integers(-5, 50)), max_size=30)
    events = st.dictionaries(days, st.dictionaries(_EVENTS, st.integers(1, 9)), max_size=30)
    return Days(draw(readers), draw(events)), begins


@given(history=_histories(), start=st.dictionaries(_KEYS, st.integers(1, 99)))
def test_each_step_ends_with_the_readers_that_a_replay_of_its_days_gives(
    history: tuple[Days, date], start: dict[str, int]
) -> None:
    days, begins = history
    now = Counter(start)
    for changes in days.readers.values():
        now.update(changes)

    found = growth.over(days, now, begins=begins, today=TODAY)

    replayed = Counter(start)
    assert found.before == {key: count for key, count in start.items() if count}
    for step in found.steps:
        is_last = step is found.steps[-1]
        for day, changes in days.readers.items():
            if step.begins <= day <= step.ends or (is_last and day > TODAY):
                replayed.update(changes)
        assert step.readers == {key: count for key, count in replayed.items() if count}
    happened = Counter[str]()
    for step in found.steps:
        happened.update(step.events)
    assert happened == found.whole.events
    assert happened == sum((Counter(one) for one in days.events.values()), Counter[str]())


@given(age=st.integers(0, 20_000))
def test_steps_have_no_gaps_and_are_few_enough_for_a_chart(age: int) -> None:
    begins = TODAY - timedelta(age)

    found = growth.over(Days({}, {}), {}, begins=begins, today=TODAY)

    assert len(found.steps) <= 122
    assert (found.steps[0].begins, found.steps[-1].ends) == (begins, TODAY)
    for step, following in zip(found.steps, found.steps[1:], strict=False):
        assert step.ends + timedelta(1) == following.begins
        assert found.unit.begin(following.begins) == following.begins


def test_long_spans_are_of_weeks_months_and_years() -> None:
    def unit(days: int) -> Unit:
        begins = TODAY - timedelta(days - 1)
        return growth.over(Days({}, {}), {}, begins=begins, today=TODAY).unit

    assert [unit(days) for days in (1, 90, 365, 730, 3650, 7300)] == [
        "day",
        "day",
        "week",
        "week",
        "month",
        "year",
    ]


def test_a_step_is_counted_by_status_and_by_action() -> None:
    readers = {"daily active": 3, "weekly active": 4}
    events = {TODAY: {"unsubscribed link": 2, "unsubscribed mail": 1, "confirmed": 5}}

    (step,) = growth.over(Days({}, events), readers, begins=TODAY, today=TODAY).steps

    assert step.count(Status.ACTIVE) == 7
    assert step.count(Status.ACTIVE, Cadence.WEEKLY) == 4
    assert step.count(Status.PAUSED) == 0
    figures = step.figures()
    assert (figures["unsubscribed"], figures["confirmed"]) == (3, 5)
