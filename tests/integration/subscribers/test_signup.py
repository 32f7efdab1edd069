from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from readers import Readers

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import Conflict
from newsletter.models import Status
from newsletter.subscribers import preferences, suppress, unsubscribe
from newsletter.subscribers.signup import Signup
from newsletter.suppression import Cause, Grounds

ANN = "ann@x.org"


def leave(readers: Readers, address: str) -> None:
    with sessions.writing(readers.engine) as session:
        unsubscribe.unsubscribe(
            session,
            readers.get(address).public_id,
            generation=None,
            origin=readers.origin,
            now=readers.now,
        )


def test_a_stranger_becomes_an_active_weekly_reader(readers: Readers) -> None:
    assert readers.add(ANN) is Signup.ADDED

    reader = readers.get(ANN)
    assert (reader.status, reader.cadence, reader.generation) == ("active", "weekly", 1)
    assert (reader.watermark, reader.subscribed_at) == (None, readers.now)


def test_the_words_and_the_place_of_a_consent_are_kept(readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY)

    [row] = readers.consents(ANN)
    assert (row.action, row.at, row.status, row.cadence) == (
        "added",
        readers.now,
        "active",
        "daily",
    )
    assert (row.wording, row.source, row.remote) == (
        "Yes, weekly.",
        "box on https://miasfeed.example",
        "192.0.2.7",
    )


def test_adding_is_idempotent(readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY)

    assert readers.add(ANN, Cadence.DAILY) is Signup.UNCHANGED
    assert readers.add(ANN) is Signup.UNCHANGED

    assert len(readers.all()) == len(readers.consents(ANN)) == 1


def test_adding_an_active_reader_with_another_cadence_changes_it_and_says_so(
    readers: Readers,
) -> None:
    readers.add(ANN, Cadence.DAILY, watermark=readers.now)

    assert readers.add(ANN, Cadence.MONTHLY) is Signup.CHANGED

    assert readers.get(ANN).watermark == readers.now
    assert readers.actions(ANN)[-1] == ("cadence", "monthly", "active", 1)


def test_adding_a_paused_reader_does_not_end_the_pause(readers: Readers) -> None:
    readers.add(ANN)
    readers.change(
        ANN,
        lambda s, r: preferences.pause(s, r, until=None, origin=readers.origin, now=readers.now),
    )

    assert readers.add(ANN) is Signup.UNCHANGED
    assert readers.get(ANN).status == Status.PAUSED


def test_an_unsubscribed_reader_is_added_again_only_with_a_new_consent(readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY, watermark=readers.now)
    leave(readers, ANN)

    with pytest.raises(Conflict) as raised:
        readers.add(ANN)

    assert "--again" in str(raised.value.hint)
    assert readers.get(ANN).status == Status.UNSUBSCRIBED


def test_a_new_consent_increments_the_generation_and_clears_the_watermark(readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY, watermark=readers.now)
    leave(readers, ANN)
    later = readers.now + timedelta(days=30)

    assert readers.add(ANN, again=True, now=later) is Signup.AGAIN

    reader = readers.get(ANN)
    assert (reader.status, reader.cadence, reader.generation) == ("active", "daily", 2)
    assert (reader.watermark, reader.subscribed_at) == (None, later)
    assert readers.actions(ANN)[-1] == ("added", "daily", "active", 2)


def test_a_pending_reader_is_confirmed_by_the_operator(readers: Readers) -> None:
    readers.add(ANN, status=Status.PENDING, subscribed_at=None)

    assert readers.add(ANN, Cadence.MONTHLY) is Signup.CONFIRMED

    reader = readers.get(ANN)
    assert (reader.status, reader.cadence, reader.generation) == ("active", "monthly", 1)
    assert reader.subscribed_at == readers.now


@pytest.mark.parametrize("again", [False, True])
def test_a_suppressed_address_is_refused_with_a_hint(readers: Readers, again: bool) -> None:
    with sessions.writing(readers.engine) as session:
        suppress.suppress(
            session,
            ANN,
            grounds=Grounds(Cause.COMPLAINT, "complaint", "t"),
            now=readers.now,
            keyring=readers.keyring,
        )

    with pytest.raises(Conflict) as raised:
        readers.add(ANN, again=again)

    assert f"newsletter suppression remove {ANN}" in str(raised.value.hint)
    assert readers.all() == []


def test_a_forgotten_person_is_refused(readers: Readers) -> None:
    with sessions.writing(readers.engine) as session:
        suppression.forget(session, ANN, now=readers.now, keyring=readers.keyring)

    with pytest.raises(Conflict, match="suppressed"):
        readers.add(ANN, again=True)


def test_ten_sign_ups_at_once_make_one_reader(readers: Readers) -> None:
    with ThreadPoolExecutor(10) as pool:
        came_to = list(pool.map(lambda _: readers.add(ANN), range(10)))

    assert sorted(came_to) == [Signup.ADDED, *[Signup.UNCHANGED] * 9]
    assert len(readers.all()) == len(readers.consents(ANN)) == 1
