from __future__ import annotations

from datetime import timedelta
from typing import Any

import counts
import pytest
from readers import Readers
from sqlalchemy import update
from sqlmodel import Session

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.models import State, Status, Subscriber, Suppression
from newsletter.subscribers import consent, forget, store, suppress, unsubscribe
from newsletter.subscribers.consent import Action
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.suppression import Cause, Grounds

ANN = "ann@x.org"


def never_mail(readers: Readers, *addresses: str) -> int:
    with sessions.writing(readers.engine) as session:
        return suppress.suppress_all(
            session,
            addresses,
            grounds=Grounds(Cause.COMPLAINT, "complaint", "mailbox abuse@"),
            now=readers.now,
            keyring=readers.keyring,
        )


def release(readers: Readers, address: str) -> bool:
    with sessions.writing(readers.engine) as session:
        return suppress.release(
            session, address, origin=readers.origin, now=readers.now, keyring=readers.keyring
        )


@pytest.mark.parametrize("status", [s for s in Status if s != Status.SUPPRESSED])
def test_a_reader_of_a_suppressed_address_is_suppressed(readers: Readers, status: Status) -> None:
    readers.add(ANN, status=status)
    readers.deliver(ANN, [State.QUEUED])

    assert never_mail(readers, ANN, "nobody@x.org") == 2

    assert readers.get(ANN).status == Status.SUPPRESSED
    assert [(row.state, row.reason) for row in readers.deliveries()] == [
        ("cancelled", "suppressed")
    ]
    row = readers.consents(ANN)[-1]
    assert (row.action, row.status, row.wording, row.source) == (
        "suppressed",
        "suppressed",
        "complaint",
        "mailbox abuse@",
    )


def test_suppressing_is_idempotent(readers: Readers) -> None:
    readers.add(ANN)

    assert never_mail(readers, ANN) == 1
    assert never_mail(readers, ANN) == 0

    assert len(readers.consents(ANN)) == 2


def test_a_released_reader_is_mailed_again_only_on_a_new_consent(readers: Readers) -> None:
    readers.add(ANN)
    never_mail(readers, ANN)

    assert release(readers, ANN)

    assert readers.get(ANN).status == Status.UNSUBSCRIBED
    assert readers.actions(ANN)[-1] == ("released", "weekly", "unsubscribed", 1)
    readers.add(ANN, again=True)
    assert readers.get(ANN).generation == 2


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.PAUSED, Status.UNSUBSCRIBED])
@pytest.mark.parametrize("cause", [Cause.FULL, Cause.DEAD, Cause.BOUNCE])
def test_whom_only_a_mail_server_spoke_against_is_again_what_they_were(
    readers: Readers, cause: Cause, status: Status
) -> None:
    readers.add(ANN)
    become(readers, status)
    said(readers, cause, ANN)
    assert readers.get(ANN).status == Status.SUPPRESSED

    assert release(readers, ANN)

    assert readers.get(ANN).status == status
    assert readers.actions(ANN)[-1] == ("released", "weekly", status, 1)


def become(readers: Readers, status: Status) -> None:
    def change(session: Session, reader: Subscriber) -> bool:
        store.move(session, reader, status=status, now=readers.now)
        consent.record(session, reader, Action.PAUSED, origin=readers.origin, now=readers.now)
        return True

    readers.change(ANN, change)


def said(readers: Readers, cause: Cause, *addresses: str, days: int = 0) -> None:
    with sessions.writing(readers.engine) as session:
        suppress.suppress_all(
            session,
            addresses,
            grounds=Grounds(cause, "550 5.1.1 gone", "bounce mail"),
            now=readers.now + timedelta(days=days),
            keyring=readers.keyring,
        )


def test_who_has_unsubscribed_meanwhile_stays_so(readers: Readers) -> None:
    readers.add(ANN)
    said(readers, Cause.BOUNCE, ANN)
    for _ in range(2):
        with sessions.writing(readers.engine) as session:
            reader = readers.get(ANN)
            result = unsubscribe.unsubscribe(
                session,
                reader.public_id,
                generation=reader.generation,
                origin=readers.origin,
                now=readers.now,
            )
        assert result is Goodbye.ALREADY

    assert [one[0] for one in readers.actions(ANN)][-2:] == ["suppressed", "unsubscribed"]
    assert release(readers, ANN)
    assert readers.get(ANN).status == Status.UNSUBSCRIBED


def test_a_block_that_was_imported_is_not_undone_as_a_bounce(readers: Readers) -> None:
    readers.add(ANN)
    said(readers, Cause.IMPORTED, ANN)
    said(readers, Cause.BOUNCE, ANN)

    assert release(readers, ANN)

    assert readers.get(ANN).status == Status.UNSUBSCRIBED


def test_a_pause_ends_when_it_would_have(readers: Readers) -> None:
    until = readers.now + timedelta(days=9)
    readers.add(ANN, paused_until=until)
    become(readers, Status.PAUSED)
    said(readers, Cause.DEAD, ANN)

    assert release(readers, ANN)

    assert (readers.get(ANN).status, readers.get(ANN).paused_until) == (Status.PAUSED, until)


def test_a_complaint_that_comes_while_a_bad_day_is_undone_stays(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers.add(ANN)
    said(readers, Cause.BOUNCE, ANN)
    listing = suppression.listing

    def and_then(session: Session, **chosen: Any) -> list[Suppression]:
        found = listing(session, **chosen)
        # As another transaction leaves it that has committed by now.
        session.execute(update(Suppression).values(cause=Cause.COMPLAINT))
        counts.recount(session)
        return found

    monkeypatch.setattr(suppression, "listing", and_then)
    with sessions.writing(readers.engine) as session:
        lifted, _ = suppress.release_all(
            session, Cause.BOUNCE, since=None, after=0, origin=readers.origin, now=readers.now
        )

    assert lifted == 0
    assert readers.get(ANN).status == Status.SUPPRESSED


def test_a_bad_day_is_undone_by_cause_and_day_in_batches(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppress, "_BATCH", 2)
    names = [f"r{number}@x.org" for number in range(7)]
    for name in names:
        readers.add(name)
    said(readers, Cause.BOUNCE, names[0])
    said(readers, Cause.BOUNCE, *names[1:6], "nobody@x.org", days=1)
    said(readers, Cause.COMPLAINT, names[6], days=1)
    with sessions.writing(readers.engine) as session:
        forget.forget(session, names[5], now=readers.now, keyring=readers.keyring)

    lifted, after = 0, 0
    while after is not None:
        with sessions.writing(readers.engine) as session:
            some, after = suppress.release_all(  # type: ignore[assignment]
                session,
                Cause.BOUNCE,
                since=readers.now + timedelta(hours=1),
                after=after,
                origin=readers.origin,
                now=readers.now,
            )
        lifted += some

    assert lifted == 5
    left = {one.address: one.status for one in readers.all()}
    assert left == {
        names[0]: "suppressed",
        **dict.fromkeys(names[1:5], "active"),
        names[6]: "suppressed",
    }
    with sessions.reading(readers.engine) as session:
        assert suppression.count(session) == 3


def test_releasing_an_address_that_is_not_suppressed_changes_nothing(readers: Readers) -> None:
    readers.add(ANN)

    assert not release(readers, ANN)

    assert readers.get(ANN).status == Status.ACTIVE
    with sessions.reading(readers.engine) as session:
        assert suppression.count(session) == 0
