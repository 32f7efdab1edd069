"""For what the rest of an edition waits, and until when, as an operator reads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import claimants
import counts
import ledgers
import pytest
from ledgers import NOW
from sqlalchemy import Engine, select, update
from sqlmodel import col

from newsletter.db import session as sessions
from newsletter.models import Delivery, Mailing, Pace
from newsletter.sender import limits, waiting
from newsletter.sender.limits import Limits

if TYPE_CHECKING:
    Said = Callable[..., str]

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def said(engine: Engine) -> Said:
    """Return what is said of the ledger at NOW, 08:00 in Berlin."""

    def read(rules: Limits | None = None) -> str:
        with sessions.reading(engine) as session:
            mailings = select(col(Mailing.id))
            found = waiting.of(session, mailings, limits=rules or Limits(), now=NOW)
        return waiting.sentences(found, zone=BERLIN, now=NOW)

    return read


def change(engine: Engine, **values: object) -> None:
    with sessions.writing(engine) as session:
        session.execute(update(Delivery).values(**values))
        counts.recount(session)


def test_nothing_is_said_where_nothing_waits(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 2)
    change(engine, state="accepted")

    assert said() == ""


def test_what_is_due_names_who_takes_it(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 2)

    assert said() == "2 are due: `newsletter cron` or a worker goes on."


def test_what_was_put_off_says_when_it_is_tried_and_what_the_server_said(
    engine: Engine, said: Said
) -> None:
    ledgers.fill(engine, 1)
    change(
        engine, state="deferred", due_at=NOW + timedelta(minutes=5), code=451, reply="Greylisted"
    )

    assert said() == "1 is tried again from 08:05 CEST on (the server said: 451 Greylisted)."


def test_another_day_is_said_with_its_date(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 1)
    change(engine, state="deferred", due_at=NOW + timedelta(days=1))

    assert said() == "1 is tried again from 2026-09-02 08:00 CEST on."


def test_a_domain_that_is_paused_is_named_with_its_end(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 3)
    change(engine, blocked_domain="gmail.com")
    assert said() == "3 wait for gmail.com, which takes only so many at a time."

    with sessions.writing(engine) as session:
        until = NOW + timedelta(minutes=10)
        session.add(Pace(key="gmail.com", next_at=until, paused_until=until, changed_at=NOW))

    assert said() == "3 wait for gmail.com, which takes nothing until 08:10 CEST."


def test_a_limit_that_is_used_up_says_when_more_may_go(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 3)
    rules = Limits(per_hour=10)
    assert "due" in said(rules)
    with sessions.writing(engine) as session:
        while limits.reserve(session, rules, wanted=10, now=NOW).messages:
            pass
        (reservation, opens_at) = (
            limits.reserve(session, rules, wanted=1, now=NOW),
            limits.opens_at(session, rules, NOW),
        )

    assert opens_at == reservation.retry_at
    assert said(rules).startswith("3 wait for a limit: more may go at 09:")


def test_what_has_ended_or_is_held_for_the_operator_does_not_wait(
    engine: Engine, said: Said
) -> None:
    ledgers.fill(engine, 5)
    for number, state in enumerate(("refused", "unknown", "skipped", "cancelled"), start=1):
        with sessions.writing(engine) as session:
            session.execute(update(Delivery).where(col(Delivery.id) == number).values(state=state))
            counts.recount(session)

    assert said() == "1 is due: `newsletter cron` or a worker goes on."


def test_a_row_of_a_domain_that_a_worker_has_is_counted_once(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 1)
    claimants.claim(engine, limit=1, now=NOW)
    change(engine, blocked_domain="gmail.com")

    assert said() == "1 is being sent by a worker."


def test_what_a_worker_has_in_hand_is_being_sent(engine: Engine, said: Said) -> None:
    ledgers.fill(engine, 1)
    claimants.claim(engine, limit=1, now=NOW)

    assert said() == "1 is being sent by a worker."
