from __future__ import annotations

import pytest
from readers import Readers

from newsletter.db import session as sessions
from newsletter.models import State, Status
from newsletter.subscribers import unsubscribe
from newsletter.subscribers.unsubscribe import Goodbye

ANN = "ann@x.org"


def leave(readers: Readers, public_id: str, generation: int | None = None) -> Goodbye:
    with sessions.writing(readers.engine) as session:
        return unsubscribe.unsubscribe(
            session, public_id, generation=generation, origin=readers.origin, now=readers.now
        )


def test_an_unsubscribe_cancels_open_deliveries(readers: Readers) -> None:
    readers.add(ANN)
    readers.add("bob@x.org")
    readers.deliver(ANN, [State.QUEUED, State.DEFERRED, State.CLAIMED, State.ACCEPTED])
    readers.deliver("bob@x.org", [State.QUEUED])

    assert leave(readers, readers.get(ANN).public_id, 1) is Goodbye.DONE

    assert readers.get(ANN).status == Status.UNSUBSCRIBED
    assert [row.state for row in readers.deliveries()] == [
        *["cancelled"] * 3,
        "accepted",
        "queued",
    ]
    assert readers.deliveries()[0].reason == "unsubscribed"
    assert readers.actions(ANN)[-1] == ("unsubscribed", "weekly", "unsubscribed", 1)


def test_a_failed_unsubscribe_changes_nothing(readers: Readers) -> None:
    readers.add(ANN)
    readers.deliver(ANN, [State.QUEUED])
    public_id = readers.get(ANN).public_id

    def leave_and_fail() -> None:
        with sessions.writing(readers.engine) as session:
            unsubscribe.unsubscribe(
                session, public_id, generation=1, origin=readers.origin, now=readers.now
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        leave_and_fail()

    assert readers.get(ANN).status == Status.ACTIVE
    assert [row.state for row in readers.deliveries()] == ["queued"]
    assert len(readers.consents(ANN)) == 1


def test_unsubscribing_is_idempotent(readers: Readers) -> None:
    readers.add(ANN)
    public_id = readers.get(ANN).public_id
    leave(readers, public_id, 1)

    assert leave(readers, public_id, 1) is Goodbye.ALREADY
    assert len(readers.consents(ANN)) == 2


def test_an_old_link_cannot_end_a_newer_consent(readers: Readers) -> None:
    readers.add(ANN)
    public_id = readers.get(ANN).public_id
    leave(readers, public_id, 1)
    readers.add(ANN, again=True)

    assert leave(readers, public_id, 1) is Goodbye.OUTDATED
    assert readers.get(ANN).status == Status.ACTIVE
    assert leave(readers, public_id, 2) is Goodbye.DONE


@pytest.mark.parametrize("status", [Status.PAUSED, Status.PENDING])
def test_pending_and_paused_readers_can_unsubscribe(readers: Readers, status: Status) -> None:
    readers.add(ANN, status=status)

    assert leave(readers, readers.get(ANN).public_id, 1) is Goodbye.DONE

    assert readers.get(ANN).status == "unsubscribed"


def test_a_suppressed_reader_stays_suppressed(readers: Readers) -> None:
    readers.add(ANN, status=Status.SUPPRESSED)

    assert leave(readers, readers.get(ANN).public_id, 1) is Goodbye.ALREADY
    assert readers.get(ANN).status == Status.SUPPRESSED


def test_the_link_of_an_erased_reader_counts_as_unsubscribed_already(readers: Readers) -> None:
    assert leave(readers, "nobody-nobody-16", 1) is Goodbye.ALREADY
