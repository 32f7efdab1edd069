"""When editions are due: named cases as tables, and what holds in every zone as properties."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from newsletter import cadences
from newsletter.cadences import Cadence, SendTimes
from newsletter.errors import InvalidInput

DAILY, WEEKLY, MONTHLY = Cadence

JUMPING = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # changed at 00:01, so the clock fell back over midnight
    "Australia/Lord_Howe",  # changes by 30 minutes
    "America/Sao_Paulo",  # its gaps began at midnight
    "America/Nuuk",  # its gaps end at midnight
    "Africa/Casablanca",  # four changes a year, around Ramadan
    "Asia/Pyongyang",  # moved by half an hour, twice
    "Pacific/Apia",  # left out 30 December 2011
    "Pacific/Kwajalein",  # left out 21 August 1993
    "Pacific/Kiritimati",  # left out 31 December 1994
)
# POSIX signs: Etc/GMT+12 is twelve hours behind UTC.
FIXED = tuple(f"Etc/GMT{-hours:+d}" for hours in range(-12, 15))

zones = st.sampled_from(JUMPING) | st.sampled_from(FIXED)
clocks = st.sampled_from([time(0), time(0, 30), time(2, 30), time(7), time(23, 30)]) | st.builds(
    time, st.integers(0, 23), st.integers(0, 59)
)
send_times = st.builds(
    SendTimes,
    timezone=zones,
    daily_at=clocks,
    weekly_on=st.integers(0, 6),
    weekly_at=clocks,
    monthly_on=st.sampled_from([1, 28, 29, 30, 31]) | st.integers(1, 31),
    monthly_at=clocks,
)
instants = st.integers(0, 60 * 366 * 86400).map(
    lambda seconds: datetime(1985, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
days = st.dates(date(1985, 1, 1), date(2045, 1, 1))
every = st.sampled_from(Cadence)
unhurried = settings(deadline=None)

APIA = SendTimes(timezone="Pacific/Apia", weekly_on=4, monthly_on=30)
APIA_MIDNIGHT = SendTimes(
    timezone="Pacific/Apia", daily_at=time(0), weekly_on=4, weekly_at=time(0), monthly_on=30
)
SAMOA_LEAPS = datetime(2011, 12, 30, 10, tzinfo=UTC)
ST_JOHNS_MIDNIGHT = SendTimes(timezone="America/St_Johns", daily_at=time(0))
# 2 November 2008, 00:01 daylight time: the clock went back to 23:01 of the 1st.
ST_JOHNS_IS_YESTERDAY = datetime(2008, 11, 2, 2, 45, tzinfo=UTC)


def at(text: str) -> datetime:
    """Read an instant written with its offset."""
    return datetime.fromisoformat(text).astimezone(UTC)


def on(text: str) -> date:
    return date.fromisoformat(text)


# Cadences and send times.


def test_each_cadence_has_a_slower_one_but_the_slowest() -> None:
    assert [cadence.slower for cadence in Cadence] == [WEEKLY, MONTHLY, None]


def test_an_edition_may_get_as_old_as_its_cadence_is_long() -> None:
    assert [cadence.length.days for cadence in Cadence] == [1, 7, 31]


def test_by_default_editions_are_due_at_seven_on_monday_and_on_the_first() -> None:
    times = SendTimes()

    assert (times.weekly_on, times.monthly_on, times.zone) == (0, 1, ZoneInfo("UTC"))
    assert {times.at(cadence) for cadence in Cadence} == {time(7)}


def test_each_cadence_has_its_own_time_of_day() -> None:
    times = SendTimes(daily_at=time(6), weekly_at=time(8), monthly_at=time(9))

    assert [times.at(cadence).hour for cadence in Cadence] == [6, 8, 9]


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Europe/Atlantis"},
        {"timezone": "../../etc/passwd"},
        {"timezone": "Europe"},
        {"timezone": ""},
        {"weekly_on": 7},
        {"weekly_on": -1},
        {"monthly_on": 0},
        {"monthly_on": 32},
        {"monthly_at": time(7, tzinfo=UTC)},
    ],
    ids=str,
)
def test_send_times_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        SendTimes(**wrong)  # type: ignore[arg-type]  # the table mixes fields


# The current period and the next one.


@pytest.mark.parametrize(
    ("cadence", "now", "newest", "following"),
    [
        pytest.param(DAILY, "2026-11-22T06:59:59+01:00", "2026-11-21", "2026-11-22", id="before"),
        pytest.param(DAILY, "2026-11-22T07:00:00+01:00", "2026-11-22", "2026-11-23", id="sharp"),
        pytest.param(DAILY, "2026-11-22T23:59:59+01:00", "2026-11-22", "2026-11-23", id="evening"),
        pytest.param(DAILY, "2024-02-29T08:00:00+01:00", "2024-02-29", "2024-03-01", id="leap-day"),
        pytest.param(DAILY, "2023-02-28T08:00:00+01:00", "2023-02-28", "2023-03-01", id="no-leap"),
        pytest.param(WEEKLY, "2026-11-23T06:59:59+01:00", "2026-11-16", "2026-11-23", id="monday"),
        pytest.param(WEEKLY, "2026-11-23T07:00:00+01:00", "2026-11-23", "2026-11-30", id="due"),
        pytest.param(WEEKLY, "2026-11-29T23:00:00+01:00", "2026-11-23", "2026-11-30", id="sunday"),
        pytest.param(WEEKLY, "2027-01-03T12:00:00+01:00", "2026-12-28", "2027-01-04", id="w53"),
        pytest.param(WEEKLY, "2024-12-31T12:00:00+01:00", "2024-12-30", "2025-01-06", id="w1"),
        pytest.param(WEEKLY, "2023-01-01T12:00:00+01:00", "2022-12-26", "2023-01-02", id="w52"),
        pytest.param(MONTHLY, "2026-12-01T06:59:59+01:00", "2026-11-01", "2026-12-01", id="first"),
        pytest.param(MONTHLY, "2026-12-31T23:00:00+01:00", "2026-12-01", "2027-01-01", id="year"),
    ],
)  # fmt: skip
def test_the_current_period_is_the_newest_due_date(
    cadence: Cadence, now: str, newest: str, following: str
) -> None:
    times = SendTimes(timezone="Europe/Berlin")

    assert cadences.newest_due(cadence, at(now), times) == on(newest)
    assert cadences.next_due(cadence, at(now), times) == on(following)


def test_a_monthly_edition_on_the_31st_is_due_on_the_last_day_of_shorter_months() -> None:
    times = SendTimes(monthly_on=31)
    now, found = at("2023-12-31T08:00+00:00"), []

    for _ in range(13):
        period = cadences.next_due(MONTHLY, now, times)
        found.append(f"{period:%m-%d}")
        now = cadences.due_at(MONTHLY, period, times)

    assert found == [
        "01-31", "02-29", "03-31", "04-30", "05-31", "06-30", "07-31",
        "08-31", "09-30", "10-31", "11-30", "12-31", "01-31",
    ]  # fmt: skip


def test_the_28th_of_february_is_the_31st_in_a_common_year() -> None:
    times = SendTimes(monthly_on=31)

    assert cadences.newest_due(MONTHLY, at("2026-03-30T12:00+00:00"), times) == on("2026-02-28")


@pytest.mark.parametrize(
    ("zone", "period"), [("Etc/GMT+12", "2026-11-21"), ("Etc/GMT-14", "2026-11-23")]
)
def test_a_period_is_a_date_of_the_publication_not_of_the_server(zone: str, period: str) -> None:
    times = SendTimes(timezone=zone, daily_at=time(0))

    assert cadences.newest_due(DAILY, at("2026-11-22T11:00+00:00"), times) == on(period)


def test_now_may_come_in_any_zone() -> None:
    times = SendTimes(timezone="Europe/Berlin")
    now = datetime(2026, 11, 22, 1, tzinfo=ZoneInfo("America/New_York"))

    assert cadences.newest_due(DAILY, now, times) == on("2026-11-22")


def test_just_before_a_period_is_due_the_period_before_it_is_the_newest() -> None:
    times = SendTimes(monthly_on=31)

    assert preceding(DAILY, on("2026-03-01"), times) == on("2026-02-28")
    assert preceding(WEEKLY, on("2026-01-05"), times) == on("2025-12-29")
    assert preceding(MONTHLY, on("2026-03-31"), times) == on("2026-02-28")


# Clocks that jump.


@pytest.mark.parametrize(
    ("zone", "local", "due"),
    [
        pytest.param("Europe/Berlin", "2026-07-01T07:00", "2026-07-01T05:00Z", id="summer"),
        pytest.param("Europe/Berlin", "2026-12-01T07:00", "2026-12-01T06:00Z", id="winter"),
        pytest.param("Europe/Berlin", "2026-03-29T01:59", "2026-03-29T00:59Z", id="before-gap"),
        pytest.param("Europe/Berlin", "2026-03-29T02:00", "2026-03-29T01:00Z", id="gap-start"),
        pytest.param("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00Z", id="gap"),
        pytest.param("Europe/Berlin", "2026-03-29T02:59:59.9", "2026-03-29T01:00Z", id="gap-end"),
        pytest.param("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T01:00Z", id="after-gap"),
        pytest.param("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30Z", id="first-of-two"),
        pytest.param("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T02:00Z", id="after-fold"),
        pytest.param("America/New_York", "2026-03-08T02:30", "2026-03-08T07:00Z", id="ny-gap"),
        pytest.param("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30Z", id="ny-fold"),
        pytest.param("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30Z", id="30-gap"),
        pytest.param("Australia/Lord_Howe", "2026-10-04T02:30", "2026-10-03T15:30Z", id="30-end"),
        pytest.param("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45Z", id="30-fold"),
        pytest.param("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00Z", id="at-0"),
        pytest.param("America/Sao_Paulo", "2018-02-17T23:30", "2018-02-18T01:30Z", id="to-0"),
        pytest.param("America/Nuuk", "2024-03-30T23:30", "2024-03-31T01:00Z", id="gap-to-midnight"),
        pytest.param("America/St_Johns", "2008-03-09T00:30", "2008-03-09T03:31Z", id="one-past"),
        pytest.param("America/St_Johns", "2008-11-02T00:00", "2008-11-02T02:30Z", id="twice"),
        pytest.param("Africa/Casablanca", "2026-02-15T02:30", "2026-02-15T01:30Z", id="fasting"),
        pytest.param("Africa/Casablanca", "2026-03-22T02:30", "2026-03-22T02:00Z", id="feast"),
        pytest.param("Pacific/Apia", "2011-12-29T07:00", "2011-12-29T17:00Z", id="samoa-before"),
        pytest.param("Pacific/Apia", "2011-12-30T07:00", "2011-12-30T10:00Z", id="samoa-skipped"),
        pytest.param("Pacific/Apia", "2011-12-31T07:00", "2011-12-30T17:00Z", id="samoa-after"),
    ],
)  # fmt: skip
def test_a_local_time_becomes_an_instant(zone: str, local: str, due: str) -> None:
    wall = datetime.fromisoformat(local)
    times = SendTimes(timezone=zone, daily_at=wall.time())

    found = cadences.due_at(DAILY, wall.date(), times)

    assert found == at(due)
    assert found.tzinfo is UTC


def test_an_ambiguous_time_makes_one_edition() -> None:
    times = SendTimes(timezone="Europe/Berlin", daily_at=time(2, 30))

    first, second = at("2026-10-25T02:30+02:00"), at("2026-10-25T02:30+01:00")

    assert cadences.newest_due(DAILY, first, times) == on("2026-10-25")
    assert cadences.newest_due(DAILY, second, times) == on("2026-10-25")
    assert cadences.next_due(DAILY, second, times) == on("2026-10-26")


def test_a_clock_that_falls_back_over_midnight_does_not_take_an_edition_back() -> None:
    now = ST_JOHNS_IS_YESTERDAY
    assert now.astimezone(ST_JOHNS_MIDNIGHT.zone).date() == on("2008-11-01")

    assert cadences.newest_due(DAILY, now, ST_JOHNS_MIDNIGHT) == on("2008-11-02")
    assert cadences.next_due(DAILY, now, ST_JOHNS_MIDNIGHT) == on("2008-11-03")


@pytest.mark.parametrize("times", [APIA, APIA_MIDNIGHT], ids=["seven", "midnight"])
def test_a_date_that_never_happened_has_no_daily_edition(times: SendTimes) -> None:
    day_before = cadences.due_at(DAILY, on("2011-12-29"), times)

    assert cadences.next_due(DAILY, day_before, times) == on("2011-12-31")
    assert preceding(DAILY, on("2011-12-31"), times) == on("2011-12-29")


@pytest.mark.parametrize(
    ("cadence", "following"), [(WEEKLY, "2012-01-06"), (MONTHLY, "2012-01-30")]
)
def test_a_date_that_never_happened_passes_its_edition_to_the_next(
    cadence: Cadence, following: str
) -> None:
    now = at("2011-12-31T08:00+14:00")

    assert cadences.newest_due(cadence, now, APIA) == on("2011-12-31")
    assert cadences.due_at(cadence, on("2011-12-31"), APIA) == at("2011-12-31T07:00+14:00")
    assert cadences.next_due(cadence, now, APIA) == on(following)


def test_a_missing_last_day_of_a_month_passes_its_edition_into_the_next_month_once() -> None:
    times = SendTimes(timezone="Pacific/Kiritimati", monthly_on=31)

    assert cadences.newest_due(MONTHLY, at("1995-01-01T07:00+14:00"), times) == on("1995-01-01")
    assert cadences.next_due(MONTHLY, at("1995-01-01T07:00+14:00"), times) == on("1995-01-31")


# Lateness.


def test_lateness_counts_from_the_due_instant() -> None:
    times = SendTimes(timezone="Europe/Berlin")
    now = at("2026-11-22T09:30+01:00")

    late = [
        cadences.lateness(DAILY, on(f"2026-11-{day}"), now=now, times=times) for day in (22, 23)
    ]

    assert late == [timedelta(hours=2.5), timedelta(hours=-21.5)]


@pytest.mark.parametrize(
    ("cadence", "period", "now", "stale"),
    [
        pytest.param(DAILY, "2026-11-22", "2026-11-23T07:00+01:00", False, id="a-day"),
        pytest.param(DAILY, "2026-11-22", "2026-11-23T07:00:01+01:00", True, id="over-a-day"),
        pytest.param(WEEKLY, "2026-11-16", "2026-11-23T07:00+01:00", False, id="a-week"),
        pytest.param(WEEKLY, "2026-11-16", "2026-11-23T07:00:01+01:00", True, id="over-a-week"),
        pytest.param(MONTHLY, "2026-11-01", "2026-12-02T07:00+01:00", False, id="31-days"),
        pytest.param(MONTHLY, "2026-11-01", "2026-12-02T07:00:01+01:00", True, id="over-31-days"),
        pytest.param(DAILY, "2026-11-24", "2026-11-22T07:00+01:00", False, id="to-come"),
        pytest.param(DAILY, "2026-10-24", "2026-10-25T06:59+01:00", False, id="day-of-25-hours"),
        pytest.param(DAILY, "2026-10-24", "2026-10-25T07:00+01:00", True, id="after-25-hours"),
    ],
)
def test_an_edition_later_than_its_cadence_is_stale(
    cadence: Cadence, period: str, now: str, *, stale: bool
) -> None:
    times = SendTimes(timezone="Europe/Berlin")

    assert cadences.is_stale(cadence, on(period), now=at(now), times=times) is stale


# The masthead.


def test_a_coverage_is_shown_as_local_dates() -> None:
    times = SendTimes(timezone="Pacific/Auckland")

    covered = cadences.covered_dates(
        at("2026-11-15T18:00+00:00"), at("2026-11-22T18:00+00:00"), times
    )

    assert covered == (on("2026-11-16"), on("2026-11-22"))


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2026-11-16T07:00+00:00", "2026-11-23T07:00+00:00", "2026-11-16", "2026-11-22"),
        ("2026-11-15T13:40+00:00", "2026-11-22T13:40+00:00", "2026-11-16", "2026-11-22"),
        ("2026-11-15T12:00+00:00", "2026-11-22T12:00+00:00", "2026-11-15", "2026-11-22"),
        ("2026-10-01T07:00+00:00", "2026-11-01T07:00+00:00", "2026-10-01", "2026-10-31"),
        ("2026-11-22T07:00+00:00", "2026-11-22T09:00+00:00", "2026-11-22", "2026-11-22"),
    ],
)
def test_a_week_has_seven_dates(start: str, end: str, first: str, last: str) -> None:
    covered = cadences.covered_dates(at(start), at(end), SendTimes())

    assert covered == (on(first), on(last))


def test_a_coverage_over_a_date_shown_twice_still_ends_after_it_starts() -> None:
    midnight = cadences.due_at(DAILY, on("2008-11-02"), ST_JOHNS_MIDNIGHT)

    covered = cadences.covered_dates(midnight, ST_JOHNS_IS_YESTERDAY, ST_JOHNS_MIDNIGHT)

    assert covered == (on("2008-11-01"), on("2008-11-01"))


# Names.


def test_an_edition_is_named_by_its_cadence_and_period() -> None:
    assert cadences.slug(WEEKLY, on("2026-11-23")) == "weekly-2026-11-23"


@pytest.mark.parametrize(
    "nonsense",
    [
        "", "weekly", "weekly-", "2026-11-23", "hourly-2026-11-23", "weekly-2026-02-30",
        "weekly-20261123", "weekly-2026-W48-1", "weekly-2026-11-23-", " weekly-2026-11-23",
        "weekly-2026-11-23\n", "WEEKLY-2026-11-23", "weekly-2026-11-2３", "weekly-2026-11-23T07:00",
    ],
)  # fmt: skip
def test_a_name_that_is_not_an_editions_is_refused(nonsense: str) -> None:
    with pytest.raises(InvalidInput):
        cadences.parse_slug(nonsense)


@pytest.mark.parametrize("name", ["extra", "extra-2", "extra-99"])
def test_the_name_of_an_announcement_is_that_of_an_edition_but_of_no_digest(name: str) -> None:
    written = f"{name}-2026-11-23"

    assert cadences.parse_name(written) == (name, on("2026-11-23"))
    with pytest.raises(InvalidInput):
        cadences.parse_slug(written)


@pytest.mark.parametrize("name", ["extra-1", "extra-0", "extra-02", "extra-100", "extra-", "Extra"])
def test_an_announcement_has_one_name(name: str) -> None:
    with pytest.raises(InvalidInput):
        cadences.parse_name(f"{name}-2026-11-23")


@pytest.mark.parametrize("written", ["weekly", "Weekly", " WEEKLY\n"])
def test_a_cadence_is_read_as_people_type_it(written: str) -> None:
    assert cadences.parse_cadence(written) is WEEKLY


def test_an_unknown_cadence_is_refused_with_the_choice() -> None:
    with pytest.raises(InvalidInput) as refusal:
        cadences.parse_cadence("fortnightly")

    assert refusal.value.hint == "Use one of: daily, weekly, monthly."


@pytest.mark.parametrize(
    ("written", "weekday"),
    [("monday", 0), ("Mon", 0), (0, 0), ("0", 0), (" tues ", 1), ("THU", 3), ("sunday", 6), (6, 6)],
)
def test_a_weekday_is_a_name_or_a_number(written: str | int, weekday: int) -> None:
    assert cadences.parse_weekday(written) == weekday


@pytest.mark.parametrize("nonsense", ["", "m", "mo", "mondays", "7", 7, -1, "1.0", "funday", True])
def test_a_weekday_that_is_none_is_refused(nonsense: str | int) -> None:
    with pytest.raises(InvalidInput):
        cadences.parse_weekday(nonsense)


# What holds always.


@unhurried
@given(every, instants, send_times)
@example(DAILY, SAMOA_LEAPS, APIA)
@example(DAILY, SAMOA_LEAPS, APIA_MIDNIGHT)
@example(WEEKLY, SAMOA_LEAPS, APIA_MIDNIGHT)
@example(DAILY, ST_JOHNS_IS_YESTERDAY, ST_JOHNS_MIDNIGHT)
def test_now_is_always_between_the_newest_due_and_the_next(
    cadence: Cadence, now: datetime, times: SendTimes
) -> None:
    newest = cadences.newest_due(cadence, now, times)
    following = cadences.next_due(cadence, now, times)

    assert newest < following
    assert cadences.due_at(cadence, newest, times) <= now
    assert now < cadences.due_at(cadence, following, times)
    assert preceding(cadence, following, times) == newest
    assert not cadences.is_stale(cadence, newest, now=now, times=times)


@unhurried
@given(every, instants, st.timedeltas(timedelta(0), timedelta(days=3)), send_times)
@example(DAILY, at("2008-11-02T02:30+00:00"), timedelta(minutes=15), ST_JOHNS_MIDNIGHT)
def test_time_never_takes_a_period_back(
    cadence: Cadence, now: datetime, passed: timedelta, times: SendTimes
) -> None:
    earlier = cadences.newest_due(cadence, now, times)

    assert earlier <= cadences.newest_due(cadence, now + passed, times)


@unhurried
@given(every, instants, send_times)
@example(DAILY, SAMOA_LEAPS - timedelta(days=2), APIA_MIDNIGHT)
@example(WEEKLY, SAMOA_LEAPS - timedelta(days=8), APIA_MIDNIGHT)
def test_every_day_week_and_month_that_exists_has_exactly_one_period(
    cadence: Cadence, now: datetime, times: SendTimes
) -> None:
    periods = upcoming(cadence, now, times, number=15)
    dues = [cadences.due_at(cadence, period, times) for period in periods]

    assert periods == expected_periods(cadence, periods[0], times, number=15)
    assert all(early < late for early, late in pairwise(dues))


@unhurried
@given(days, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]), zones)
@example(date(2026, 10, 4), 2, 15, "Australia/Lord_Howe")
@example(date(2011, 12, 30), 7, 0, "Pacific/Apia")
@example(date(2008, 11, 2), 0, 0, "America/St_Johns")
@example(date(2026, 3, 22), 2, 30, "Africa/Casablanca")
def test_an_edition_is_due_in_the_first_minute_that_shows_its_time_or_a_later_one(
    period: date, hour: int, minute: int, zone: str
) -> None:
    times = SendTimes(timezone=zone, daily_at=time(hour, minute))

    assert cadences.due_at(DAILY, period, times) == first_minute(period, times)


@given(every, st.dates())
def test_a_name_reads_back_as_the_edition_it_was_made_from(cadence: Cadence, period: date) -> None:
    assert cadences.parse_slug(cadences.slug(cadence, period)) == (cadence, period)


@given(st.text() | st.from_regex(r"weekly-[0-9]{4}-?(0[1-9]|W[1-5])-?[0-3][0-9]", fullmatch=True))
def test_no_two_names_mean_one_edition(text: str) -> None:
    try:
        found = cadences.parse_slug(text)
    except InvalidInput:
        return

    assert cadences.slug(*found) == text


def preceding(cadence: Cadence, period: date, times: SendTimes) -> date:
    """Return the period that is the newest due one just before this one is due."""
    just_before = cadences.due_at(cadence, period, times) - datetime.resolution
    return cadences.newest_due(cadence, just_before, times)


def upcoming(cadence: Cadence, now: datetime, times: SendTimes, *, number: int) -> list[date]:
    """Walk from one period to the next, as a cron job that never misses does."""
    periods = []
    for _ in range(number):
        periods.append(cadences.next_due(cadence, now, times))
        now = cadences.due_at(cadence, periods[-1], times)
    return periods


def expected_periods(cadence: Cadence, first: date, times: SendTimes, *, number: int) -> list[date]:
    """Look at every date in turn, and pass on what falls on one that no clock ever showed."""
    found, owed, day = [first], False, first + timedelta(days=1)
    while len(found) < number:
        owed = owed or is_due_date(cadence, day, times)
        if owed and was_ever_shown(day, times.zone):
            found.append(day)
            owed = False
        day += timedelta(days=1)
    return found


def is_due_date(cadence: Cadence, day: date, times: SendTimes) -> bool:
    if cadence is DAILY:
        return True
    if cadence is WEEKLY:
        return day.weekday() == times.weekly_on
    is_last = (day + timedelta(days=1)).month != day.month
    return day.day == times.monthly_on or (is_last and day.day < times.monthly_on)


def was_ever_shown(day: date, zone: ZoneInfo) -> bool:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    hours = (start + timedelta(hours=hour) for hour in range(-14, 38))
    return any(hour.astimezone(zone).date() == day for hour in hours)


def first_minute(period: date, times: SendTimes) -> datetime:
    """Try every minute, instead of reasoning about offsets."""
    wall = datetime.combine(period, times.daily_at)
    start = wall.replace(tzinfo=UTC) - timedelta(hours=15)
    minutes = (start + timedelta(minutes=minute) for minute in range(30 * 60))
    return next(m for m in minutes if m.astimezone(times.zone).replace(tzinfo=None) >= wall)
