"""Two sessions whose locks meet take them in one order: neither ends as a deadlock."""

from __future__ import annotations

from collections.abc import Callable

from interleave import interleave
from readers import Readers
from sqlmodel import Session

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import State
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.subscribers import address_change, forget, signup, store
from newsletter.suppression import Cause, Grounds

ANN = "ann@x.org"


def test_an_erasure_and_a_sender_that_finds_the_address_dead(readers: Readers) -> None:
    readers.add(ANN)
    readers.deliver(ANN, [State.QUEUED])
    public_id = readers.get(ANN).public_id

    def erase(session: Session) -> None:
        forget.forget(session, ANN, now=readers.now, keyring=readers.keyring)

    def find_dead() -> None:
        """Take the locks of a commit cycle: suppressions, then the deliveries of its outcomes."""
        grounds = Grounds(Cause.DEAD, "550 5.1.1 unknown", "mail server")
        with sessions.writing(readers.engine) as session:
            suppression.suppress(
                session, ANN, grounds=grounds, now=readers.now, keyring=readers.keyring
            )
            cancellation.cancel(
                session, references=[public_id], reason=Reason.PAUSED, now=readers.now
            )

    assert interleave(readers.engine, erase, find_dead, between=("suppression", "delivery"))
    with sessions.reading(readers.engine) as session:
        found = suppression.find(session, ANN, keyring=readers.keyring)
        assert found is not None
        assert found.address is None


def test_a_sign_up_and_a_request_for_another_address_of_that_mailbox(
    readers: Readers, settings: Callable[..., Settings]
) -> None:
    readers.add(ANN)
    publication, now = Publication.of(settings()), readers.now

    def sign_up(session: Session) -> None:
        signup.ask(
            session,
            ANN,
            cadence=Cadence.WEEKLY,
            origin=readers.origin,
            publication=publication,
            now=now,
        )

    def ask() -> None:
        with sessions.writing(readers.engine) as session:
            reader = store.find(session, ANN)
            assert reader is not None
            address_change.ask(session, reader, ANN, publication=publication, now=now)

    assert interleave(readers.engine, sign_up, ask, between=("throttle", "subscriber"))
