"""An edition of which too much comes back is paused while it is being sent, once for each rate."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import counts
import pytest
from readers import Readers
from returning import NOW, Sent
from sqlalchemy import Engine, update
from sqlmodel import col

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import alarms, lifecycle, store, summaries
from newsletter.models import Delivery, Edition, EditionState, State

SLUG = "weekly-2026-11-23"


class Edited(Sent):
    """An edition to many readers."""

    def __init__(self, engine: Engine, count: int) -> None:
        readers = Readers(engine)
        self.addresses = [f"reader{number}@readers.example" for number in range(count)]
        for address in self.addresses:
            readers.add(address, Cadence.WEEKLY)
        super().__init__(readers)
        with sessions.writing(engine) as session:
            edition = Edition(
                cadence="weekly", period=date(2026, 11, 23), state=EditionState.OPEN,
                coverage_start=NOW, coverage_end=NOW, audience=count, created_at=NOW,
            )  # fmt: skip
            session.add(edition)
            session.flush()
            edition_id = edition.id
        self.mail(1, edition_id=edition_id)

    def alarms(self, **changes: float) -> list[str]:
        publication = replace(self.publication, **changes)
        return [one.reason for one in alarms.check(self.engine, publication=publication, now=NOW)]

    def state(self) -> tuple[str, str | None]:
        with sessions.reading(self.engine) as session:
            found = summaries.of(session, store.by_slug(session, SLUG))
            return found.state, found.reason

    def bounce_all(self, begin: int, end: int) -> None:
        self.read(*(self.bounce(one, "550 5.7.1 Blocked") for one in self.addresses[begin:end]))

    def complain_all(self, begin: int, end: int) -> None:
        self.read(*(self.complaint(one) for one in self.addresses[begin:end]))


@pytest.fixture
def edition(engine: Engine) -> Edited:
    return Edited(engine, 40)


def test_bounces_above_the_rate_pause_it_from_20_on(edition: Edited) -> None:
    edition.bounce_all(0, 19)
    assert edition.alarms() == []

    edition.bounce_all(0, 20)

    reason = "20 of 40 accepted mails bounced (50 %)"
    assert edition.alarms() == [reason]
    assert edition.state() == ("paused", reason)
    with sessions.reading(edition.engine) as session:
        paused = store.in_states(session, [EditionState.PAUSED])
        assert [tuple(one) for one in alarms.standing(paused)] == [(SLUG, reason)]


def test_complaints_above_the_rate_pause_it_from_5_on(edition: Edited) -> None:
    edition.complain_all(0, 4)
    assert edition.alarms() == []

    edition.complain_all(4, 5)

    assert edition.alarms() == ["5 of 40 accepted mails were complained about (12 %)"]


def test_the_operator_lets_it_go_on_and_only_another_rate_pauses_it_again(edition: Edited) -> None:
    edition.bounce_all(0, 20)
    assert edition.alarms()

    lifecycle.resume(edition.engine, SLUG, now=NOW, actor="cli:mia")
    edition.bounce_all(20, 30)
    assert edition.alarms() == []
    assert edition.state() == ("open", None)

    edition.complain_all(0, 9)
    assert len(edition.alarms()) == 1
    lifecycle.resume(edition.engine, SLUG, now=NOW, actor="cli:mia")
    assert edition.alarms() == []


def test_the_rates_are_settings(edition: Edited) -> None:
    edition.bounce_all(0, 20)
    edition.complain_all(20, 25)

    assert edition.alarms(bounce_alarm=50, complaint_alarm=12.5) == []
    assert edition.alarms(bounce_alarm=0, complaint_alarm=0) == []
    assert len(edition.alarms(bounce_alarm=49.9, complaint_alarm=0)) == 1


def test_what_is_not_being_sent_is_not_paused(edition: Edited) -> None:
    edition.bounce_all(0, 30)
    lifecycle.cancel(edition.engine, SLUG, now=NOW, reason="Wrong headline.", actor="cli:mia")

    assert edition.alarms() == []
    assert edition.state() == ("cancelled", "Wrong headline.")


def returned(edition: Edited) -> list[str]:
    """Finish the edition; return why too much of it came back."""
    with sessions.writing(edition.engine) as session:
        finished = {"state": EditionState.FINISHED, "finished_at": NOW}
        session.execute(update(Edition).values(finished))
    since = NOW - timedelta(days=1)
    with sessions.reading(edition.engine) as session:
        found = alarms.returned(session, since=since, publication=edition.publication)
    return [one.reason for one in found]


def test_of_a_finished_edition_each_mail_that_came_back_counts_once(edition: Edited) -> None:
    """A mailbox that is full, and then a refusal, are two reports about one mail."""
    for reply in ("452 4.2.2 Mailbox full", "550 5.7.1 Blocked"):
        edition.read(*(edition.bounce(one, reply) for one in edition.addresses[:19]))
    assert len(edition.reports()) == 38
    assert returned(edition) == []

    edition.bounce_all(19, 20)

    assert returned(edition) == ["20 of 40 accepted mails bounced (50 %)"]


def test_of_a_finished_edition_the_rate_is_that_of_accepted_mails(engine: Engine) -> None:
    edition = Edited(engine, 500)
    came_back = [edition.readers.get(one).public_id for one in edition.addresses[:20]]
    with sessions.writing(engine) as session:
        others = col(Delivery.reference).not_in(came_back)
        session.execute(update(Delivery).where(others).values(state=State.REFUSED))
        counts.recount(session)
    edition.bounce_all(0, 20)

    assert returned(edition) == ["20 of 20 accepted mails bounced (100 %)"]
