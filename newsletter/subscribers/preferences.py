"""The choices of a reader: a cadence, and a pause. Neither changes the watermark.

So a reader who changes the cadence gets no article twice and misses none, and a reader who resumes
after a pause catches up.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from newsletter.cadences import Cadence
from newsletter.errors import Conflict, InvalidInput
from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import Status, Subscriber
from newsletter.subscribers import consent, store
from newsletter.subscribers.consent import Action, Origin

#: The longest pause, which keeps dates after a pause within the range of `datetime`.
LONGEST_PAUSE = timedelta(days=36_525)

_RESUMED = Origin("pause ended")


def change_cadence(
    session: Session, subscriber: Subscriber, cadence: Cadence, *, origin: Origin, now: datetime
) -> bool:
    """Give a reader another cadence; return False if they have it already."""
    _check_reading(subscriber)
    if subscriber.cadence == cadence:
        return False
    settle_watermark(session, subscriber)
    store.move(session, subscriber, cadence=cadence, now=now)
    consent.record(session, subscriber, Action.CADENCE, origin=origin, now=now)
    return True


def pause(
    session: Session,
    subscriber: Subscriber,
    *,
    until: datetime | None,
    origin: Origin,
    now: datetime,
) -> bool:
    """Pause a reader until `until`, or until they resume; return False if nothing changes.

    Open deliveries are cancelled; their articles are part of the first edition after the pause.
    """
    _check_reading(subscriber)
    if until is not None and until <= now:
        raise InvalidInput("A pause ends in the future.")
    if until is not None and until > now + LONGEST_PAUSE:
        raise InvalidInput(
            "A pause ends within a hundred years.",
            hint="Pause without a date: until they come back.",
        )
    if subscriber.status == Status.PENDING:
        raise Conflict(f"{subscriber.address} has not confirmed yet: there is nothing to pause.")
    if subscriber.status == Status.PAUSED and subscriber.paused_until == until:
        return False
    settle_watermark(session, subscriber)
    store.move(session, subscriber, status=Status.PAUSED, now=now)
    subscriber.paused_until = until
    consent.record(session, subscriber, Action.PAUSED, origin=origin, now=now)
    cancellation.cancel(session, references=[subscriber.public_id], reason=Reason.PAUSED, now=now)
    return True


def resume(session: Session, subscriber: Subscriber, *, origin: Origin, now: datetime) -> bool:
    """End a pause; return False if there is none."""
    _check_reading(subscriber)
    if subscriber.status != Status.PAUSED:
        return False
    store.move(session, subscriber, status=Status.ACTIVE, now=now)
    subscriber.paused_until = None
    consent.record(session, subscriber, Action.RESUMED, origin=origin, now=now)
    cancellation.lift(session, references=(subscriber.public_id,), reasons=(Reason.PAUSED,))
    return True


def resume_due(session: Session, now: datetime) -> int:
    """End every pause that is over, and return how many.

    1. Make those readers active, which locks their rows; `paused_until` still selects them.
    2. Write their consents and lift what the pause cancelled. 3. Clear `paused_until`.
    """
    due = store.is_overdue(Status.PAUSED, now)
    resumed = store.change(session, due, {"status": Status.ACTIVE}, now=now)
    if resumed:
        active = store.is_overdue(Status.ACTIVE, now)
        consent.record_all(session, active, Action.RESUMED, origin=_RESUMED, now=now)
        cancellation.lift(
            session,
            references=select(col(Subscriber.public_id)).where(active),
            reasons=(Reason.PAUSED,),
        )
        store.change(session, active, {"paused_until": None}, now=now)
    return resumed


def initial_watermark(cadence: Cadence, subscribed_at: datetime) -> datetime:
    """Return the initial watermark of a reader: one period before the subscription.

    It is rounded down to the hour, so that many readers share it, and thus a variant of the
    edition.
    """
    return (subscribed_at - cadence.length).replace(minute=0, second=0, microsecond=0)


def settle_watermark(session: Session, subscriber: Subscriber) -> None:
    """Set the watermark of a reader without one, before a change of cadence, address or pause.

    It is not before the coverage of editions under an earlier consent, so that no article is sent
    twice.
    """
    if subscriber.watermark is not None or subscriber.subscribed_at is None:
        return
    # The consent of an imported reader may be far older than the import.
    imported_at = store.imported_at(session, subscriber) or subscriber.subscribed_at
    came_at = max(subscriber.subscribed_at, imported_at)
    begins_at = initial_watermark(Cadence(subscriber.cadence), came_at)
    arrived_until = store.covered_until(session, subscriber)
    subscriber.watermark = max(begins_at, arrived_until or begins_at)


def _check_reading(subscriber: Subscriber) -> None:
    if subscriber.status in {Status.UNSUBSCRIBED, Status.SUPPRESSED}:
        raise Conflict(
            f"{subscriber.address} is {subscriber.status}.",
            hint=f"A new consent: `newsletter subscribers add {subscriber.address} --again`.",
        )
