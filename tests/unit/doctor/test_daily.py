"""Daily checks: from a standing to its findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from newsletter.cadences import Cadence
from newsletter.doctor import daily
from newsletter.doctor.standing import Missed, OpenEdition, Standing
from newsletter.editions.alarms import Alarm
from newsletter.errors import Conflict
from newsletter.models import Feed, SchedulerRun
from newsletter.sender.waiting import Waiting, Why
from newsletter.settings import Settings
from newsletter.subscribers.next_digest import NONE_SKIPPED

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WELL = Standing(
    readers={"daily": {"active": 3}, "weekly": {}, "monthly": {}},
    suppressed=7,
    last={},
    open=[],
    workers=0,
    ended_at=None,
    alarmed=[],
    returned=[],
    lost_sources={},
    missed=[],
    letters=[],
    unknown=0,
    failing=[],
    mailbox_fails=False,
    quarantined=0,
    held=0,
    pinned=None,
    notes={},
    skipped=NONE_SKIPPED,
    run=None,
    restored=None,
)
DUE = Waiting(why=Why.DUE, rows=2, at=NOW - timedelta(hours=2))
LONG_AGO = NOW - timedelta(days=2)
LONG_GONE = Feed(url="u", added_at=LONG_AGO, succeeded_at=LONG_AGO, error="404.", title="Gone")
SENDING = Waiting(why=Why.WORKER, rows=1, at=NOW)


def run(**changes: Any) -> SchedulerRun:
    values = {"command": "cron", "host": "mail", "pid": 1, "began_at": NOW, "ended_at": NOW}
    return SchedulerRun(**{**values, **changes})


def edition(*waiting: Waiting) -> list[OpenEdition]:
    return [OpenEdition(name="weekly-2026-11-30", waiting=list(waiting))]


def ids(standing: Standing, settings: Settings) -> list[str]:
    return [one.id for one in daily.findings(standing, settings=settings, now=NOW)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"run": run(ended_at=NOW - timedelta(hours=25))},
        {"letters": [replace(DUE, at=NOW - timedelta(minutes=5))]},
        {"letters": [DUE, SENDING], "ended_at": NOW},
        {"open": edition(replace(DUE, at=NOW - timedelta(minutes=50)))},
        {"open": edition(DUE, SENDING), "ended_at": NOW},
        {"letters": [DUE], "workers": 1, "ended_at": NOW - timedelta(minutes=5)},
        {"letters": [DUE, Waiting(why=Why.LIMIT, rows=1, at=NOW)], "workers": 1},
        {"run": run(command="worker", ended_at=NOW - timedelta(hours=1))},
        {"open": edition(Waiting(why=Why.RETRY, rows=1, at=NOW + timedelta(hours=1)))},
        {"open": edition(Waiting(why=Why.LIMIT, rows=9, at=NOW + timedelta(hours=1)))},
        {"open": edition(Waiting(why=Why.DOMAIN, rows=9, domain="gmail.com"))},
    ],
    ids=str,
)
def test_what_goes_its_way_needs_no_look(
    settings: Callable[..., Settings], changes: dict[str, Any]
) -> None:
    assert ids(replace(WELL, **changes), settings()) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"restored": Conflict("It seems to be a backup.", hint="x")}, "database.restored"),
        (
            {"missed": [Missed(cadence=Cadence.DAILY, period=NOW.date(), due_at=NOW)]},
            "scheduler.missed",
        ),
        ({"run": run(ended_at=NOW - timedelta(hours=27))}, "scheduler.late"),
        ({"run": run(command="worker", ended_at=NOW - timedelta(hours=3))}, "scheduler.late"),
        ({"run": run(error="The mail server is away.")}, "scheduler.failed"),
        ({"failing": [Feed(url="u", added_at=NOW, error="404.")]}, "feeds.failing"),
        ({"failing": [LONG_GONE]}, "feeds.stale"),
        ({"mailbox_fails": True}, "feedback.failing"),
        ({"quarantined": 1}, "articles.quarantined"),
        ({"letters": [DUE]}, "letters.waiting"),
        ({"open": edition(DUE)}, "editions.stuck"),
        ({"letters": [DUE], "workers": 1}, "workers.stalled"),
        ({"letters": [replace(DUE, why=Why.WORKER)], "ended_at": LONG_AGO}, "workers.stalled"),
        ({"open": edition(DUE, SENDING), "ended_at": LONG_AGO}, "workers.stalled"),
        ({"returned": [Alarm("weekly-2026-11-23", "20 bounced")]}, "editions.returned"),
        ({"alarmed": [Alarm("weekly-2026-11-23", "20 bounced")]}, "editions.alarm"),
        ({"lost_sources": {"ses": 9}}, "feedback.unplaced"),
        ({"lost_sources": {"generic": 5, "mail": 700}}, "feedback.unplaced"),
        ({"unknown": 2}, "delivery.unknown"),
    ],
)
def test_each_thing_that_needs_a_look_has_an_id_a_sentence_and_a_way_out(
    settings: Callable[..., Settings], changes: dict[str, Any], found: str
) -> None:
    (finding,) = daily.findings(replace(WELL, **changes), settings=settings(), now=NOW)

    assert finding.id == found
    assert finding.sentence.endswith(".")
    assert finding.hint


#: What an operator should look at although nothing is late.
_NOT_OVERDUE = {
    *("scheduler.failed", "feeds.failing", "feedback.failing", "articles.quarantined"),
    *("feedback.unplaced", "templates.unused"),
}


def test_what_is_overdue_is_a_part_of_what_needs_a_look(settings: Callable[..., Settings]) -> None:
    ill = replace(
        WELL,
        restored=Conflict("It seems to be a backup.", hint="x"),
        missed=[Missed(cadence=Cadence.DAILY, period=NOW.date(), due_at=NOW)],
        run=run(ended_at=LONG_AGO, error="The mail server is away."),
        failing=[LONG_GONE, Feed(url="u", added_at=NOW, error="404.")],
        mailbox_fails=True,
        quarantined=1,
        templates="One file is not used.",
        letters=[DUE],
        open=edition(DUE),
        alarmed=[Alarm("weekly-2026-11-23", "20 bounced")],
        returned=[Alarm(f"daily-2026-11-{day}", "20 bounced") for day in (28, 29)],
        lost_sources={"ses": 9},
        unknown=2,
    )

    found = daily.findings(ill, settings=settings(), now=NOW)
    overdue = daily.overdue(ill, zone=settings().zone, now=NOW)

    assert overdue == [one for one in found if one.id not in _NOT_OVERDUE]
    assert {one.id for one in found} - {one.id for one in overdue} == _NOT_OVERDUE
    assert len({(one.id, one.subject) for one in found}) == len(found), "kept by id and subject"


def test_settings_that_are_missing_come_first() -> None:
    found = ids(replace(WELL, quarantined=1), Settings())

    assert found[0] == "setup.sender"
    assert found[-1] == "articles.quarantined"


def test_of_many_feeds_three_are_named(settings: Callable[..., Settings]) -> None:
    failing = [Feed(url=f"u{n}", title=f"Feed {n}", added_at=NOW, error="404.") for n in range(5)]

    (finding,) = daily.findings(replace(WELL, failing=failing), settings=settings(), now=NOW)

    assert finding.sentence.startswith("5 feeds fail: Feed 0: 404.; Feed 1")
    assert finding.sentence.endswith("and 2 more.")
