from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import pairwise
from threading import Thread
from typing import Any

import claimants
import pytest
from readers import Readers
from sqlmodel import col, select
from visitor import filled

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import Conflict, InvalidToken
from newsletter.ledger import books
from newsletter.models import Delivery, Mailing, Status
from newsletter.publication import Publication
from newsletter.rendering.letter import Latest
from newsletter.sender.personalize import Filler
from newsletter.settings import Settings
from newsletter.subscribers import forget, preferences, signup, store, suppress, unsubscribe
from newsletter.subscribers.signup import Asked
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Bearer, Purpose

ANN = "ann@readers.example"
DAY = timedelta(days=1)


class Door:
    """The use cases of a sign-up, and the letters that they queue."""

    def __init__(self, readers: Readers, settings: Settings) -> None:
        self.readers, self.settings = readers, settings
        self.publication = Publication.of(settings)

    def ask(
        self,
        address: str = ANN,
        cadence: Cadence = Cadence.WEEKLY,
        *,
        after: timedelta = timedelta(0),
    ) -> Asked:
        with sessions.writing(self.readers.engine) as session:
            return signup.ask(
                session,
                address,
                cadence=cadence,
                origin=self.readers.origin,
                publication=self.publication,
                now=self.readers.now + after,
            )

    def confirm(self, token: str, *, after: timedelta = timedelta(0)) -> signup.Confirmed:
        now = self.readers.now + after
        bearer = self.publication.keyring.read(Purpose.CONFIRM, token, now=now)
        with sessions.writing(self.readers.engine) as session:
            return signup.confirm(
                session,
                bearer,
                origin=self.readers.origin,
                latest=Latest(title="Last week", url="https://news.miasfeed.example/view/x"),
                publication=self.publication,
                now=now,
            )

    def leave(self, address: str = ANN, *, after: timedelta = timedelta(0)) -> None:
        with sessions.writing(self.readers.engine) as session:
            unsubscribe.unsubscribe(
                session,
                self.readers.get(address).public_id,
                generation=None,
                origin=self.readers.origin,
                now=self.readers.now + after,
            )

    def come_back(self, *, after: timedelta = timedelta(0), generation: int = 1) -> None:
        with sessions.writing(self.readers.engine) as session:
            signup.come_back(
                session,
                Bearer(self.readers.get(ANN).public_id, generation),
                origin=self.readers.origin,
                now=self.readers.now + after,
            )

    def letters(self) -> list[tuple[str, EmailMessage]]:
        """Every letter that is not cancelled, as (kind, message)."""
        filler = Filler(self.publication.keyring)
        with sessions.reading(self.readers.engine) as session:
            found = session.exec(
                select(Delivery, Mailing)
                .where(Delivery.mailing_id == Mailing.id, Delivery.state != "cancelled")
                .order_by(col(Delivery.id))
            ).all()
        return [(mailing.kind, filled(filler, row, mailing)) for row, mailing in found]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.letters()]

    def token(self, where: str = "confirm") -> str:
        """The token in the newest letter's link."""
        _, letter = self.letters()[-1]
        body = letter.get_body(("plain",))
        assert body is not None
        found = re.search(rf"/{where}/(\S+)", body.get_content())
        assert found
        return found[1]


@pytest.fixture
def door(readers: Readers, settings: Callable[..., Settings]) -> Door:
    return Door(readers, settings(timezone="Europe/Berlin"))


def test_a_sign_up_sends_a_confirm_letter_and_begins_nothing(door: Door) -> None:
    assert door.ask() is Asked.CONFIRM

    reader = door.readers.get(ANN)
    assert (reader.status, reader.cadence, reader.subscribed_at) == ("pending", "weekly", None)
    assert door.readers.actions(ANN) == [("asked", "weekly", "pending", 1)]
    ((kind, letter),) = door.letters()
    assert (kind, letter["To"]) == ("confirm", ANN)
    assert letter["List-Unsubscribe"] is None
    assert letter["Auto-Submitted"] == "auto-generated"


def test_the_link_begins_the_consent_and_a_welcome_says_when_the_first_digest_comes(
    door: Door,
) -> None:
    door.ask(cadence=Cadence.DAILY)
    assert not door.confirm(door.token()).was_already

    reader = door.readers.get(ANN)
    assert (reader.status, reader.cadence, reader.generation) == ("active", "daily", 1)
    assert reader.subscribed_at == door.readers.now
    assert door.readers.actions(ANN)[-1] == ("confirmed", "daily", "active", 1)
    kind, letter = door.letters()[-1]
    body = letter.get_body(("plain",))
    assert kind == "welcome"
    assert body is not None
    # Asked on Sunday 22 November, 10:00 in Berlin.
    assert "Monday 23 November" in body.get_content().replace(",", "")
    assert "07:00" in body.get_content()
    assert "https://news.miasfeed.example/view/x" in body.get_content()
    assert letter["List-Unsubscribe"]


def test_confirming_is_idempotent_with_one_welcome_letter(door: Door) -> None:
    door.ask()
    token = door.token()
    door.confirm(token)
    before = door.readers.get(ANN)

    assert door.confirm(token, after=timedelta(hours=1)).was_already
    assert door.readers.get(ANN) == before
    assert door.kinds() == ["confirm", "welcome"]


def test_at_most_one_letter_in_24_hours_and_three_while_pending(door: Door) -> None:
    sent = [door.ask(after=timedelta(hours=hours)) for hours in range(0, 24 * 14, 5)]

    assert sent.count(Asked.CONFIRM) == 3
    assert door.kinds() == ["confirm"] * 3
    whens = [letter["Date"].datetime for _, letter in door.letters()]
    assert all(later - sooner >= DAY for sooner, later in pairwise(whens))
    assert len({letter["Message-ID"] for _, letter in door.letters()}) == 3


def test_the_cadence_that_was_asked_last_is_the_one_that_begins(door: Door) -> None:
    door.ask(cadence=Cadence.DAILY)
    door.ask(cadence=Cadence.MONTHLY, after=timedelta(minutes=1))
    door.confirm(door.token(), after=timedelta(minutes=2))

    assert door.readers.get(ANN).cadence == "monthly"
    assert [row[:2] for row in door.readers.actions(ANN)] == [
        ("asked", "daily"),
        ("asked", "monthly"),
        ("confirmed", "monthly"),
    ]


def test_an_active_reader_gets_their_preferences_once_a_day_and_stays_as_they_are(
    door: Door,
) -> None:
    door.readers.add(ANN, Cadence.DAILY)
    before = door.readers.get(ANN)

    assert [door.ask(after=timedelta(hours=hours)) for hours in (0, 1, 23, 24)] == [
        Asked.PRESENT,
        Asked.NOTHING,
        Asked.NOTHING,
        Asked.PRESENT,
    ]
    assert door.readers.get(ANN) == before
    assert door.kinds() == ["present", "present"]
    assert door.token("preferences")


def test_a_letter_to_a_paused_reader_says_until_when(door: Door) -> None:
    door.readers.add(ANN)
    until = datetime(2027, 1, 1, 23, tzinfo=UTC)
    door.readers.change(
        ANN,
        lambda session, reader: preferences.pause(
            session, reader, until=until, origin=door.readers.origin, now=door.readers.now
        ),
    )
    assert door.ask() is Asked.PRESENT
    body = door.letters()[0][1].get_body(("plain",))
    assert body is not None
    assert "Next digest: Monday 4 January, 07:00" in body.get_content()
    assert door.readers.get(ANN).status == "paused"


def test_an_unsubscribed_reader_stays_so_until_they_confirm(door: Door) -> None:
    door.readers.add(ANN, Cadence.DAILY)
    door.leave()
    assert door.ask(cadence=Cadence.MONTHLY) is Asked.CONFIRM
    reader = door.readers.get(ANN)
    assert (reader.status, reader.generation) == ("unsubscribed", 1)

    door.confirm(door.token())
    reader = door.readers.get(ANN)
    assert (reader.status, reader.cadence, reader.generation) == ("active", "monthly", 2)


def test_a_confirm_link_is_void_after_an_unsubscribe(door: Door) -> None:
    door.ask()
    token = door.token()
    door.confirm(token)
    door.leave()

    with pytest.raises(InvalidToken):
        door.confirm(token)
    assert door.readers.get(ANN).status == "unsubscribed"


def test_a_suppressed_address_gets_no_letter(door: Door) -> None:
    readers = door.readers
    for address in (ANN, "eve@readers.example"):
        readers.add(address)
    with sessions.writing(readers.engine) as session:
        grounds = Grounds(Cause.COMPLAINT, "complaint", "operator")
        both = [ANN, "new@readers.example", "eve@readers.example"]
        suppress.suppress_all(
            session, both, grounds=grounds, now=readers.now, keyring=readers.keyring
        )
        # Nor an erased person who had complained.
        forget.forget(session, "eve@readers.example", now=readers.now, keyring=readers.keyring)

    for address in both:
        assert door.ask(address) is Asked.NOTHING
    assert door.letters() == []
    with sessions.reading(readers.engine) as session:
        assert store.find(session, "eve@readers.example") is None
        assert store.find(session, "new@readers.example") is None


def test_a_later_suppression_voids_a_confirm_link(door: Door) -> None:
    door.ask()
    token = door.token()
    with sessions.writing(door.readers.engine) as session:
        grounds = Grounds(Cause.COMPLAINT, "complaint", "operator")
        suppress.suppress(
            session, ANN, grounds=grounds, now=door.readers.now, keyring=door.readers.keyring
        )
    with pytest.raises(InvalidToken):
        door.confirm(token)


LIFTABLE = [cause for cause, rule in suppression.RULES.items() if rule.is_liftable]


def suppress_for(door: Door, cause: Cause) -> None:
    now, keyring = door.readers.now, door.readers.keyring
    with sessions.writing(door.readers.engine) as session:
        if cause is Cause.ERASED:
            forget.forget(session, ANN, now=now, keyring=keyring)
        else:
            grounds = Grounds(cause, "test", "test")
            suppress.suppress(session, ANN, grounds=grounds, now=now, keyring=keyring)


def claimed(door: Door) -> list[str]:
    """The kinds of the letters that a claim returns."""
    claims = claimants.claim(door.readers.engine, limit=10, now=door.readers.now + DAY)
    with sessions.reading(door.readers.engine) as session:
        return [books.mailing(session, claim.mailing_id).kind for claim in claims]


def is_suppressed(door: Door) -> bool:
    with sessions.reading(door.readers.engine) as session:
        return suppression.is_suppressed(session, ANN, keyring=door.readers.keyring)


@pytest.mark.parametrize("was_reader", [True, False], ids=["a reader", "nobody"])
@pytest.mark.parametrize("cause", LIFTABLE)
def test_who_signs_up_again_and_confirms_may_be_mailed_again(
    door: Door, cause: Cause, was_reader: bool
) -> None:
    if was_reader:
        door.readers.add(ANN)
    suppress_for(door, cause)

    assert door.ask() is Asked.CONFIRM
    assert is_suppressed(door)
    assert claimed(door) == ["confirm"]
    door.confirm(door.token())

    assert not is_suppressed(door)
    reader = door.readers.get(ANN)
    is_another = was_reader and cause is not Cause.ERASED
    assert (reader.status, reader.generation) == ("active", 2 if is_another else 1)
    actions = [action for action, *_ in door.readers.actions(ANN)]
    assert actions[-3:] == ["asked", "released", "confirmed"]
    assert claimed(door) == ["welcome"]


@pytest.mark.parametrize("cause", LIFTABLE)
def test_nothing_but_a_confirm_letter_leaves_for_a_suppressed_address(
    door: Door, cause: Cause
) -> None:
    door.readers.add(ANN)
    door.ask()
    with sessions.writing(door.readers.engine) as session:
        # As the sender does it, which leaves the reader's status unchanged.
        grounds = Grounds(cause, "test", "test")
        suppression.suppress(
            session, ANN, grounds=grounds, now=door.readers.now, keyring=door.readers.keyring
        )
    assert door.ask(after=DAY) is Asked.CONFIRM
    assert door.kinds() == ["present", "confirm"]
    assert claimed(door) == ["confirm"]


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in LIFTABLE])
def test_a_graver_cause_stops_a_confirm_letter_that_is_on_its_way(door: Door, cause: Cause) -> None:
    door.readers.add(ANN)
    suppress_for(door, Cause.DEAD)
    door.ask()
    token = door.token()
    suppress_for(door, cause)

    assert claimed(door) == []
    with pytest.raises(InvalidToken):
        door.confirm(token)
    assert door.ask(after=DAY) is Asked.NOTHING
    assert is_suppressed(door)


def test_a_complaint_that_comes_while_its_reader_confirms_is_not_lifted(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.readers.add(ANN)
    suppress_for(door, Cause.DEAD)
    door.ask()
    release = suppress.release

    def meanwhile(*args: Any, **how: Any) -> bool:
        complaint.start()
        # Waits for this transaction: for the reader's row, or for SQLite's only writer.
        complaint.join(timeout=1)
        return release(*args, **how)

    complaint = Thread(target=suppress_for, args=(door, Cause.COMPLAINT))
    monkeypatch.setattr(suppress, "release", meanwhile)
    door.confirm(door.token())
    complaint.join()

    assert is_suppressed(door)
    assert door.readers.get(ANN).status == "suppressed"
    assert claimed(door) == []


def test_an_address_that_is_still_dead_stays_suppressed_after_a_sign_up(door: Door) -> None:
    suppress_for(door, Cause.DEAD)
    door.ask()
    suppress_for(door, Cause.DEAD)
    with sessions.writing(door.readers.engine) as session:
        assert suppress.catch_up(session, now=door.readers.now) == 0

    assert is_suppressed(door)
    assert door.readers.get(ANN).status == "suppressed"
    with pytest.raises(Conflict, match=r"suppressed \(dead: a mail server said"):
        door.readers.add(ANN)


def test_a_dead_address_that_was_lifted_is_suppressed_again_when_it_is_dead_again(
    door: Door,
) -> None:
    suppress_for(door, Cause.DEAD)
    door.ask()
    door.confirm(door.token())
    suppress_for(door, Cause.DEAD)
    assert is_suppressed(door)
    assert door.readers.get(ANN).status == "suppressed"
    assert door.ask(after=DAY) is Asked.CONFIRM
    door.confirm(door.token(), after=DAY)
    assert door.readers.get(ANN).generation == 2


def test_an_unsubscribe_can_be_undone_for_a_day_and_keeps_the_consent(door: Door) -> None:
    door.readers.add(ANN, watermark=door.readers.now - DAY)
    door.leave()
    door.come_back(after=timedelta(hours=23))

    reader = door.readers.get(ANN)
    assert (reader.status, reader.generation) == ("active", 1)
    assert reader.watermark == door.readers.now - DAY
    assert door.readers.actions(ANN)[-1] == ("returned", "weekly", "active", 1)

    door.leave(after=DAY)
    with pytest.raises(InvalidToken):
        door.come_back(after=2 * DAY + timedelta(seconds=1))
    with pytest.raises(InvalidToken):
        door.come_back(after=DAY, generation=2)
    assert door.readers.get(ANN).status == Status.UNSUBSCRIBED


def test_a_thousand_letters_of_the_same_words_share_a_mailing(door: Door) -> None:
    for number in range(20):
        door.ask(f"reader{number}@readers.example")

    with sessions.reading(door.readers.engine) as session:
        assert len(session.exec(select(Mailing)).all()) == 1
        deliveries = session.exec(select(Delivery)).all()
    assert {(row.priority, row.state) for row in deliveries} == {(0, "queued")}
    assert len(deliveries) == 20


def test_letters_carry_no_word_that_a_stranger_typed(door: Door) -> None:
    door.ask()
    assert all(ANN not in str(letter["Subject"]) for _, letter in door.letters())


def test_the_present_time_of_a_letter_is_what_makes_its_link_expire(door: Door) -> None:
    door.ask()
    with pytest.raises(InvalidToken):
        door.confirm(door.token(), after=timedelta(hours=73))


def test_times_are_of_the_publication(door: Door) -> None:
    from newsletter.subscribers import next_digest

    when: datetime = next_digest.next_at(
        Cadence.WEEKLY,
        after=door.readers.now,
        times=door.settings.send_times,
        skipped=next_digest.NONE_SKIPPED,
    )
    assert when.isoformat() == "2026-11-23T07:00:00+01:00"


def test_concurrent_sign_ups_with_one_address_cause_one_letter(door: Door) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: door.ask(), range(24)))

    assert answers.count(Asked.CONFIRM) == 1
    assert door.kinds() == ["confirm"]


def test_concurrent_confirmations_cause_one_welcome_letter(door: Door) -> None:
    door.ask()
    token = door.token()
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: door.confirm(token), range(16)))

    assert [one.was_already for one in done].count(False) == 1
    assert door.kinds() == ["confirm", "welcome"]
