from __future__ import annotations

import pytest
from readers import Readers

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.models import State, Status
from newsletter.subscribers import suppress
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


def test_releasing_an_address_that_is_not_suppressed_changes_nothing(readers: Readers) -> None:
    readers.add(ANN)

    assert not release(readers, ANN)

    assert readers.get(ANN).status == Status.ACTIVE
    with sessions.reading(readers.engine) as session:
        assert suppression.count(session) == 0
