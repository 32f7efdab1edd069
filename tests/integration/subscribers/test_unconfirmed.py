"""Subscribers who do not confirm within 30 days are deleted with their personal data."""

from __future__ import annotations

from collections.abc import Callable

import counts
import pytest
from sqlalchemy import Engine, text
from sqlmodel import select
from visitor import Visitor

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import schedule
from newsletter.models import Delivery
from newsletter.settings import Settings
from newsletter.subscribers import suppress, unconfirmed
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Purpose

BOB = "bob@readers.example"


@pytest.fixture
def visitor(engine: Engine, settings: Callable[..., Settings]) -> Visitor:
    return Visitor(engine, settings())


def left(visitor: Visitor, word: str) -> list[str]:
    """The tables that contain a word."""
    tables = ("subscriber", "consent", "suppression", "delivery", "attempt", "mailing")
    with sessions.reading(visitor.engine) as session:
        return [
            table
            for table in tables
            for row in session.execute(text(f"SELECT * FROM {table}"))
            if word in str(tuple(row))
        ]


def test_who_does_not_confirm_in_30_days_is_deleted_with_all_that_names_them(
    visitor: Visitor,
) -> None:
    visitor.sign_up("archaeopteryx@readers.example")
    public_id = visitor.reader("archaeopteryx@readers.example").public_id
    visitor.sign_up(BOB)
    visitor.post(visitor.path("confirm", BOB))
    visitor.wait(days=30, seconds=-1)
    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 0
    visitor.wait(seconds=1)

    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 1

    assert left(visitor, "archaeopteryx") == left(visitor, public_id) == []
    assert visitor.status(BOB) == "active"
    # The address may be signed up again.
    visitor.sign_up("archaeopteryx@readers.example")
    visitor.post(visitor.path("confirm", "archaeopteryx@readers.example"))
    assert visitor.status("archaeopteryx@readers.example") == "active"


def test_the_30_days_restart_with_each_letter(visitor: Visitor) -> None:
    visitor.sign_up()
    visitor.wait(days=20)
    visitor.sign_up()
    visitor.wait(days=20)

    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 0
    visitor.wait(days=10)
    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 1


def test_who_was_suppressed_before_they_confirmed_is_deleted_and_the_address_stays_so(
    visitor: Visitor,
) -> None:
    visitor.sign_up(BOB)
    public_id = visitor.reader(BOB).public_id
    grounds = Grounds(Cause.BOUNCE, "no such user", "bounce mail")
    keyring = visitor.keyring
    with sessions.writing(visitor.engine) as session:
        suppress.suppress(session, BOB, grounds=grounds, now=visitor.now, keyring=keyring)
    visitor.wait(days=30, seconds=-1)
    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 0
    visitor.wait(seconds=1)

    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 1

    assert left(visitor, public_id) == []
    assert left(visitor, BOB) == ["suppression"]


@pytest.mark.parametrize("status", ["active", "paused", "unsubscribed", "suppressed"])
def test_no_other_subscriber_is_deleted(visitor: Visitor, status: str) -> None:
    visitor.add(BOB)
    with sessions.writing(visitor.engine) as session:
        session.execute(text("UPDATE subscriber SET status = :status"), {"status": status})
        counts.recount(session)
    visitor.wait(days=4_000)

    assert unconfirmed.delete(visitor.engine, now=visitor.now) == 0


def test_a_link_of_somebody_who_was_deleted_says_that_it_is_old(visitor: Visitor) -> None:
    visitor.sign_up()
    link = visitor.link(Purpose.CONFIRM)
    visitor.wait(days=30)
    unconfirmed.delete(visitor.engine, now=visitor.now)

    assert visitor.post(link).status_code == 410


def test_more_than_a_batch_are_deleted_in_one_run_and_delivery_rows_stay(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unconfirmed, "_BATCH", 2)
    for number in range(5):
        visitor.sign_up(f"reader{number}@readers.example", Cadence.DAILY)
    visitor.wait(days=31)

    done = schedule.keep(visitor.engine, now=visitor.now, publication=visitor.publication)

    assert done.failures == []
    with sessions.reading(visitor.engine) as session:
        assert session.execute(text("SELECT count(*) FROM subscriber")).scalar() == 0
        rows = session.exec(select(Delivery)).all()
    assert [(row.address, row.state, row.reason) for row in rows] == [
        ("", "cancelled", "forgotten")
    ] * 5
