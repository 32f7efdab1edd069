"""What an operator does with a reader or an address: use cases, each with its audit row.

Audit rows name a reader by public id, and hold no address: so an erasure leaves none in them.
Readers are chosen by a condition of `store`; NotFound is raised if there is none.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import Session

from newsletter import audit, suppression
from newsletter.cadences import Cadence
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.models import AddressChange, Status, Subscriber, Suppression
from newsletter.publication import Publication
from newsletter.subscribers import address_change, preferences, signup, store, suppress
from newsletter.subscribers import forget as erasure
from newsletter.subscribers import unsubscribe as goodbye
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.forget import Forgotten
from newsletter.subscribers.locking import find_subscriber
from newsletter.subscribers.signup import Signup
from newsletter.subscribers.unsubscribe import Goodbye
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

_UNSUBSCRIBED = "Unsubscribed by the operator."


def subject(public_id: str) -> str:
    """Return the subject of a reader's audit rows."""
    return f"reader:{public_id}"


def state(reader: Subscriber) -> str:
    """Return a reader's cadence and status, as audit rows have them before and after a change."""
    is_limited = reader.status == Status.PAUSED and reader.paused_until is not None
    until = f" until {reader.paused_until:%Y-%m-%d %H:%M} UTC" if is_limited else ""
    return f"{reader.cadence}, {reader.status}{until}"


def add(
    session: Session,
    address: str,
    *,
    cadence: Cadence | None,
    again: bool,
    actor: str,
    source: str,
    now: datetime,
    keyring: Keyring,
) -> tuple[Subscriber, Signup]:
    """Add a reader on the operator's word; arguments and errors are those of `signup.add`."""
    known = store.find(session, address)
    before = state(known) if known else ""
    reader, came_to = signup.add(
        session,
        address,
        cadence=cadence,
        origin=Origin(source, wording=signup.VOUCHED),
        now=now,
        keyring=keyring,
        again=again,
    )
    if came_to is not Signup.UNCHANGED:
        _record(session, "subscribers.add", reader, actor=actor, now=now, before=before)
    return reader, came_to


def change_cadence(
    session: Session,
    chosen: ColumnElement[bool],
    cadence: Cadence,
    *,
    actor: str,
    source: str,
    now: datetime,
) -> bool:
    """Give a reader another cadence; return False if they have it already."""
    reader = found(session, chosen, ends=True)
    before = state(reader)
    if not preferences.change_cadence(session, reader, cadence, origin=Origin(source), now=now):
        return False
    _record(session, "subscribers.change", reader, actor=actor, now=now, before=before)
    return True


def pause(
    session: Session,
    chosen: ColumnElement[bool],
    *,
    until: datetime | None,
    actor: str,
    source: str,
    now: datetime,
) -> bool:
    """Pause a reader until an instant, or until they resume; return False if nothing changes."""
    reader = found(session, chosen, ends=True)
    before = state(reader)
    if not preferences.pause(session, reader, until=until, origin=Origin(source), now=now):
        return False
    _record(session, "subscribers.pause", reader, actor=actor, now=now, before=before)
    return True


def resume(
    session: Session, chosen: ColumnElement[bool], *, actor: str, source: str, now: datetime
) -> bool:
    """End a reader's pause; return False if there is none."""
    reader = found(session, chosen, ends=False)
    before = state(reader)
    if not preferences.resume(session, reader, origin=Origin(source), now=now):
        return False
    _record(session, "subscribers.resume", reader, actor=actor, now=now, before=before)
    return True


def unsubscribe(
    session: Session, chosen: ColumnElement[bool], *, actor: str, source: str, now: datetime
) -> Goodbye:
    """End a reader's consent."""
    reader = found(session, chosen, ends=True)
    before = state(reader)
    origin = Origin(source, wording=_UNSUBSCRIBED)
    came_to = goodbye.unsubscribe(
        session, reader.public_id, generation=None, origin=origin, now=now
    )
    if came_to is Goodbye.DONE:
        session.refresh(reader)
        _record(session, "subscribers.unsubscribe", reader, actor=actor, now=now, before=before)
    return came_to


def ask_for_address(
    session: Session,
    chosen: ColumnElement[bool],
    address: str,
    *,
    actor: str,
    publication: Publication,
    now: datetime,
) -> AddressChange:
    """Ask the owner of a new address by a letter to confirm it; return what waits for that.

    Raises Conflict if no letter is sent, and TooManyRequests for the limit of the reader. The
    caller rolls back then, and with it the notice to the present address.
    """
    # Not locked: `address_change.ask` locks throttle rows first.
    reader = found(session, chosen, ends=None)
    old = reader.address
    came_to = address_change.ask(session, reader, address, publication=publication, now=now)
    _check_asked(came_to, old=old, new=address)
    change = address_change.pending(session, reader, now=now)
    assert change is not None
    subjects = {subject(reader.public_id): ""}
    audit.record(session, "subscribers.ask-address", subjects, actor=actor, at=now)
    return change


def forget(
    session: Session, address: str, *, actor: str, now: datetime, keyring: Keyring
) -> Forgotten:
    """Erase the person of a normalised address; the caller sweeps afterwards."""
    reader = store.find(session, address)
    gone = erasure.forget(session, address, now=now, keyring=keyring)
    if reader is not None:
        subjects = {subject(reader.public_id): ""}
        audit.record(session, "subscribers.forget", subjects, actor=actor, at=now)
    return gone


def suppress_address(
    session: Session,
    address: str,
    *,
    cause: Cause,
    reason: str,
    actor: str,
    source: str,
    now: datetime,
    keyring: Keyring,
) -> tuple[Suppression, bool]:
    """Suppress a normalised address; return its row, and False if it was suppressed already.

    A graver cause replaces a lesser one. Raises InvalidInput for the cause of erased persons.
    """
    if cause is Cause.ERASED:
        raise InvalidInput(
            "To suppress erases nobody.", hint=f"`newsletter subscribers forget {address}` does."
        )
    known = suppression.find(session, address, keyring=keyring)
    before = known.cause if known else ""
    added = suppress.suppress(
        session, address, grounds=Grounds(cause, reason, source), now=now, keyring=keyring
    )
    row = suppression.find(session, address, keyring=keyring)
    assert row is not None
    if row.cause != before:
        subjects = {f"suppression:{row.id}": ""}
        audit.record(
            session,
            "suppression.add",
            subjects,
            actor=actor,
            at=now,
            before=before,
            after=row.cause,
        )
    return row, added


def release_address(
    session: Session, address: str, *, actor: str, source: str, now: datetime, keyring: Keyring
) -> bool:
    """Lift the suppression of a normalised address; return False if there was none."""
    row = suppression.find(session, address, keyring=keyring)
    if row is None:
        return False
    # Kept, since the row is gone afterwards.
    subjects, cause = {f"suppression:{row.id}": ""}, row.cause
    if not suppress.release(session, address, origin=Origin(source), now=now, keyring=keyring):
        return False
    audit.record(session, "suppression.remove", subjects, actor=actor, at=now, before=cause)
    return True


def found(session: Session, chosen: ColumnElement[bool], *, ends: bool | None) -> Subscriber:
    """Return a reader, locked as by `find_subscriber`; raises NotFound."""
    reader = find_subscriber(session, chosen, ends=ends)
    if reader is None:
        raise NotFound("There is no such reader.", hint="They may have been erased.")
    return reader


def _record(
    session: Session, action: str, reader: Subscriber, *, actor: str, now: datetime, before: str
) -> None:
    subjects = {subject(reader.public_id): ""}
    after = state(reader)
    audit.record(session, action, subjects, actor=actor, at=now, before=before, after=after)


def _check_asked(came_to: address_change.Asked, *, old: str, new: str) -> None:
    """Raise Conflict, with a hint, for each result that sends no confirmation link."""
    refusals = {
        "same": (f"{new} is their address already.", None),
        "reader": (
            f"{new} is another reader's address, and two readers are never merged.",
            f"If they want mail there alone: `newsletter subscribers unsubscribe {old}`.",
        ),
        "suppressed": (
            f"{new} is suppressed, so it must not be mailed.",
            f"If it may be mailed again, run `newsletter suppression remove {new}` first.",
        ),
        "nothing": (
            f"{new} has had a letter today, or three in 30 days that it did not confirm.",
            "A link that was sent works for 72 hours; else ask again when that time is over.",
        ),
    }
    if came_to in refusals:
        message, hint = refusals[came_to]
        raise Conflict(message, hint=hint)
