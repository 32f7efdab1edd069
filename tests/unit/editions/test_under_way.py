"""How fast an edition goes, and how long it still takes, by two looks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from newsletter.editions import under_way
from newsletter.editions.summaries import Summary
from newsletter.editions.under_way import Look, UnderWay

NOW = datetime(2026, 11, 30, 7, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
NAME = "weekly-2026-11-30"


def edition(left: int, *, audience: int = 1_000, **more: Any) -> UnderWay:
    states = ("refused", "deferred", "unknown", "cancelled", "skipped", "claimed", "in_flight")
    counts = {name: more.pop(name, 0) for name in states}
    counts["queued"] = left - counts["deferred"] - counts["claimed"] - counts["in_flight"]
    summary = Summary(
        cadence="weekly",
        period=date(2026, 11, 30),
        edition=NAME,
        state="open",
        reason=None,
        audience=audience,
        variants=1,
        accepted=audience - left - counts["refused"] - counts["unknown"],
        bounced=0,
        complained=0,
        **counts,
    )
    return UnderWay(summary=summary, domains=more.pop("domains", {}), **more)


def look(seconds: float, *editions: UnderWay, **more: Any) -> Look:
    return Look(at=NOW + timedelta(seconds=seconds), editions=editions, **more)


def test_a_rate_is_what_ended_between_two_looks() -> None:
    before, after = look(0, edition(900)), look(10, edition(400))

    assert under_way.rate(before, after, NAME) == 50
    assert under_way.time_left(400, 50) == timedelta(seconds=8)


def test_without_two_looks_at_an_edition_there_is_no_rate() -> None:
    one = look(0, edition(900))

    assert under_way.rate(one, one, NAME) is None
    assert under_way.rate(look(0), look(10, edition(400)), NAME) is None
    assert under_way.time_left(400, None) is None


def test_what_is_tried_again_by_hand_is_no_negative_rate() -> None:
    assert under_way.rate(look(0, edition(10)), look(10, edition(60)), NAME) == 0
    assert under_way.time_left(60, 0.0) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5_399, "90 min"), (5_400, "1.5 h")],
)
def test_a_time_left_is_said_to_the_unit_that_matters(seconds: float, words: str) -> None:
    assert under_way.spoken(timedelta(seconds=seconds)) == words


def test_a_line_has_progress_rate_time_left_and_the_domains_that_wait() -> None:
    one = edition(
        400,
        refused=3,
        in_flight=2,
        domains={"gmail.com": NOW + timedelta(minutes=5), "example.org": None},
        next_due=NOW,
    )

    assert under_way.sentence(one, 50.0, look(0, one), BERLIN) == (
        "weekly-2026-11-30: 600 of 1,000 done (60 %), 50/s, about 8 s left, 3 refused. "
        "Waiting: gmail.com (until 08:05), example.org."
    )


@pytest.mark.parametrize(
    ("more", "per_second", "opens_at", "words"),
    [
        ({"next_due": NOW + timedelta(minutes=5)}, 0.0, None, "The next is tried at 08:05."),
        ({"next_due": NOW}, 0.0, None, "Nobody sends: `newsletter cron` or a worker goes on."),
        ({"next_due": NOW}, None, None, "0 of 1,000 done (0 %)."),
        ({"next_due": NOW, "in_flight": 1}, 0.0, None, "0 of 1,000 done (0 %), 0.0/s."),
        ({}, 0.0, NOW + timedelta(hours=1), "A limit of all mail is used up until 09:00."),
    ],
    ids=["retries", "nobody", "first look", "slow", "limit"],
)
def test_what_holds_an_edition_up_is_said(
    more: dict[str, Any], per_second: float | None, opens_at: datetime | None, words: str
) -> None:
    one = edition(1_000, **more)

    said = under_way.sentence(one, per_second, look(0, one, opens_at=opens_at), BERLIN)

    assert said.endswith(words)


@pytest.mark.parametrize(
    ("minutes", "workers", "replied", "words"),
    [
        (1, 1, None, "0.0/s."),
        (2, 1, None, "No mail server has replied yet: the worker's log says why."),
        (9, 1, 8, "0.0/s."),
        (9, 1, 3, "No mail server has replied since 08:03: the worker's log says why."),
        (9, 0, 3, "since 08:03. Nobody sends: `newsletter cron` or a worker goes on."),
    ],
    ids=["begun", "never", "lately", "before", "nobody"],
)
def test_workers_without_a_reply_are_no_secret(
    minutes: int, workers: int, replied: int | None, words: str
) -> None:
    one = edition(1_000, next_due=NOW, made_at=NOW)
    replied_at = None if replied is None else NOW + timedelta(minutes=replied)
    now = look(60 * minutes, one, workers=workers, replied_at=replied_at)

    assert under_way.sentence(one, 0.0, now, BERLIN).endswith(words)
