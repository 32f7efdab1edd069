from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from readers import Readers
from sqlalchemy import event

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import Conflict, InvalidInput
from newsletter.ledger import books
from newsletter.models import State, Status
from newsletter.subscribers import preferences

ANN = "ann@x.org"
DAY = timedelta(days=1)


def change_cadence(readers: Readers, cadence: Cadence) -> bool:
    return readers.change(
        ANN,
        lambda s, r: preferences.change_cadence(
            s, r, cadence, origin=readers.origin, now=readers.now + DAY
        ),
    )


def pause(readers: Readers, until: datetime | None = None, *, address: str = ANN) -> bool:
    return readers.change(
        address,
        lambda s, r: preferences.pause(s, r, until=until, origin=readers.origin, now=readers.now),
    )


def resume(readers: Readers) -> bool:
    return readers.change(
        ANN, lambda s, r: preferences.resume(s, r, origin=readers.origin, now=readers.now)
    )


def resume_due(readers: Readers, now: datetime) -> int:
    with sessions.writing(readers.engine) as session:
        return preferences.resume_due(session, now)


def test_a_daily_reader_who_moves_to_weekly_keeps_the_watermark(readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY, watermark=readers.now)

    assert change_cadence(readers, Cadence.WEEKLY)

    reader = readers.get(ANN)
    assert (reader.cadence, reader.watermark) == ("weekly", readers.now)
    assert reader.updated_at == readers.now + DAY
    assert readers.actions(ANN)[-1] == ("cadence", "weekly", "active", 1)


def test_the_same_cadence_again_is_no_change(readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY)

    assert not change_cadence(readers, Cadence.DAILY)
    assert len(readers.consents(ANN)) == 1


@pytest.mark.parametrize("status", [Status.UNSUBSCRIBED, Status.SUPPRESSED])
def test_an_unsubscribed_reader_cannot_change_preferences(readers: Readers, status: Status) -> None:
    readers.add(ANN, status=status)

    with pytest.raises(Conflict, match=status):
        change_cadence(readers, Cadence.DAILY)
    with pytest.raises(Conflict, match=status):
        pause(readers)
    with pytest.raises(Conflict, match=status):
        resume(readers)


def test_a_pause_cancels_open_deliveries(readers: Readers) -> None:
    readers.add(ANN, watermark=readers.now)
    readers.deliver(ANN, [State.QUEUED, State.ACCEPTED])

    assert pause(readers, readers.now + DAY)

    reader = readers.get(ANN)
    assert (reader.status, reader.paused_until) == ("paused", readers.now + DAY)
    assert reader.watermark == readers.now
    assert [row.state for row in readers.deliveries()] == ["cancelled", "accepted"]
    assert readers.actions(ANN)[-1] == ("paused", "weekly", "paused", 1)


@pytest.mark.parametrize("ends", ["by the reader", "by its date"])
def test_what_is_held_for_a_paused_reader_may_be_tried_again_after_the_pause(
    readers: Readers, ends: str
) -> None:
    readers.add(ANN)
    readers.deliver(ANN, [State.UNKNOWN])
    ids = [row.id or 0 for row in readers.deliveries()]

    def retry() -> int:
        with sessions.writing(readers.engine) as session:
            return books.retry_now(session, ids=ids, now=readers.now)

    pause(readers, readers.now + DAY)
    assert retry() == 0

    if ends == "by the reader":
        resume(readers)
    else:
        with sessions.writing(readers.engine) as session:
            assert preferences.resume_due(session, readers.now + 2 * DAY) == 1
    assert retry() == 1


def test_a_pause_may_be_lengthened_and_repeating_it_is_no_change(readers: Readers) -> None:
    readers.add(ANN)

    assert pause(readers, readers.now + DAY)
    assert not pause(readers, readers.now + DAY)
    assert pause(readers, readers.now + 2 * DAY)
    assert pause(readers, None)

    assert readers.get(ANN).paused_until is None


def test_a_pause_that_has_ended_already_is_refused(readers: Readers) -> None:
    readers.add(ANN)

    with pytest.raises(InvalidInput, match="future"):
        pause(readers, readers.now)


def test_a_pending_reader_cannot_pause(readers: Readers) -> None:
    readers.add(ANN, status=Status.PENDING)

    with pytest.raises(Conflict, match="not confirmed"):
        pause(readers)


def test_a_reader_ends_a_pause(readers: Readers) -> None:
    readers.add(ANN)
    pause(readers, readers.now + DAY)

    assert resume(readers)
    assert not resume(readers)

    reader = readers.get(ANN)
    assert (reader.status, reader.paused_until) == ("active", None)
    assert [row[0] for row in readers.actions(ANN)] == ["added", "paused", "resumed"]


def test_a_pause_ends_when_it_is_over_and_not_before(readers: Readers) -> None:
    for number, until in enumerate([DAY, 2 * DAY, None]):
        address = f"reader{number}@x.org"
        readers.add(address, watermark=readers.now)
        pause(readers, readers.now + until if until else None, address=address)

    assert resume_due(readers, readers.now + DAY) == 1

    assert [reader.status for reader in readers.all()] == ["active", "paused", "paused"]
    back = readers.get("reader0@x.org")
    assert (back.paused_until, back.watermark) == (None, readers.now)
    assert readers.actions("reader0@x.org")[-1] == ("resumed", "weekly", "active", 1)
    assert [row[0] for row in readers.actions("reader1@x.org")] == ["added", "paused"]


def test_pauses_end_once(readers: Readers) -> None:
    readers.add(ANN)
    pause(readers, readers.now + DAY)

    assert resume_due(readers, readers.now + DAY) == 1
    assert resume_due(readers, readers.now + DAY) == 0

    assert len(readers.consents(ANN)) == 3


def test_a_thousand_pauses_end_in_as_many_statements_as_one(readers: Readers) -> None:
    def statements(count: int) -> int:
        for number in range(count):
            readers.add(
                f"{count}-{number}@x.org", status=Status.PAUSED, paused_until=readers.now + DAY
            )
        seen: list[str] = []
        event.listen(
            readers.engine, "before_cursor_execute", lambda c, k, sql, *_: seen.append(sql)
        )
        assert resume_due(readers, readers.now + DAY) == count
        return len(seen)

    assert statements(1) == statements(100)
