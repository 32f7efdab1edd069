"""Signing up: from a stranger, or a reader who had left, to an active reader.

Whoever asks on the web is asked by a letter, and nothing begins before they have confirmed; whoever
they are, the answer is the same, and so, as far as can be, is the work. Every new consent after a
goodbye counts the generation up, so that links made under the earlier one no longer act, and starts
the reader at the next edition, without a watermark of old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import literal
from sqlmodel import Session

from newsletter import address as addresses
from newsletter import suppression, throttle, tokens
from newsletter.cadences import Cadence
from newsletter.errors import Conflict, OutdatedToken
from newsletter.ledger import queue
from newsletter.models import Consent, Status, Subscriber, Suppression
from newsletter.rendering.letter import Latest
from newsletter.subscribers import (
    consent,
    letters,
    next_digest,
    preferences,
    store,
    suppress,
    unsubscribe,
)
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.letters import Publication
from newsletter.suppression import Cause
from newsletter.throttle import Limit
from newsletter.tokens import Bearer, Keyring

#: What an operator's word stands for in the record.
VOUCHED = "The operator says that this reader has asked for the newsletter."
#: How often a mailbox may be entered; more is not looked at any more.
ASKS = Limit("ask", 10, timedelta(hours=24))
#: How often somebody may cause a letter to a mailbox.
LETTERS = Limit("letter", 1, timedelta(hours=24))
#: How many confirm letters go to a mailbox that confirms none of them, and how many letters that
#: somebody else may have caused go to a reader.
UNCONFIRMED = Limit("unanswered", 3, timedelta(days=30))
PRESENTS = Limit("present", 3, timedelta(days=30))
#: For how long a goodbye can be undone without a new letter.
UNDO = timedelta(hours=24)


class Signup(StrEnum):
    """What adding an address came to."""

    ADDED = "added"
    CONFIRMED = "confirmed"
    AGAIN = "again"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


def add(
    session: Session,
    address: str,
    *,
    cadence: Cadence | None,
    origin: Origin,
    now: datetime,
    keyring: Keyring,
    again: bool = False,
) -> tuple[Subscriber, Signup]:
    """Make an active reader of an address, in its one spelling, on the operator's word.

    A reader who is there gets the cadence, if one is given. One who has left needs `again`: a new
    consent. Raises Conflict for those, and for an address that must never be mailed.
    """
    subscriber, is_new = _found_or_made(session, address, cadence or Cadence.WEEKLY, now)
    # With the row in hand: whoever erases or suppresses them at this moment has it before or after.
    _check_mailable(session, address, keyring=keyring)
    if is_new:
        return subscriber, _begin(session, subscriber, Signup.ADDED, origin, now, keyring=keyring)
    if subscriber.status in {Status.ACTIVE, Status.PAUSED}:
        return subscriber, _keep(session, subscriber, cadence, origin, now)
    if subscriber.status != Status.PENDING:
        _check_again(subscriber, again=again)
    return subscriber, _rejoin(session, subscriber, cadence, origin, now, keyring=keyring)


class Asked(StrEnum):
    """What became of a sign-up; for tests and counts alone, never for whoever asked."""

    CONFIRM = "confirm"
    PRESENT = "present"
    #: They have had a letter already, or must not get one.
    NOTHING = "nothing"


@dataclass(frozen=True)
class Confirmed:
    """A reader who has confirmed, now or before."""

    subscriber: Subscriber
    was_already: bool


def ask(
    session: Session,
    address: str,
    *,
    cadence: Cadence,
    origin: Origin,
    publication: Publication,
    now: datetime,
) -> Asked:
    """Answer somebody who has entered an address, in its one spelling, with at most one letter.

    1. Every address counts against its limits, known or not. 2. Who is suppressed for a cause that
    the operator alone lifts gets nothing. 3. A reader gets "you are subscribed", and nothing of
    theirs is changed. 4. Everybody else gets a confirm letter for the cadence asked last; who has
    left or is suppressed stays so until then. The statements are the same for all of them, and
    change no row where nothing is to be changed.
    """
    may_write = _may_write(session, address, now=now, keyring=publication.keyring)
    if may_write is None:
        return Asked.NOTHING
    subscriber, is_new = _found_or_made(session, address, cadence, now)
    # With the row in hand: whoever erases or suppresses them at this moment has it before or after.
    suppressed = suppression.find(session, address, keyring=publication.keyring)
    is_reader = _is_mailed(subscriber, suppressed)
    is_asked = not is_reader and _may_begin(subscriber, suppressed)
    store.remove(session, literal(is_new and not is_asked), [address])
    limit = PRESENTS if is_reader else UNCONFIRMED
    may_write = may_write and throttle.take(
        session, limit, addresses.mailbox(address), now=now, keyring=publication.keyring
    )
    is_news = is_asked and (may_write or subscriber.cadence != cadence)
    _record_asked(session, subscriber, cadence, is_news=is_news, origin=origin, now=now)
    skipped = next_digest.skipped_ahead(session, now=now)
    if is_reader:
        letters.present(
            session,
            subscriber,
            is_sent=may_write,
            skipped=skipped,
            publication=publication,
            now=now,
        )
        return Asked.PRESENT if may_write else Asked.NOTHING
    letters.confirm(
        session,
        subscriber,
        cadence=cadence,
        generation=_generation_asked(subscriber),
        is_sent=is_asked and may_write,
        publication=publication,
        now=now,
    )
    return Asked.CONFIRM if is_asked and may_write else Asked.NOTHING


def confirm(
    session: Session,
    bearer: Bearer,
    *,
    origin: Origin,
    latest: Latest | None,
    publication: Publication,
    now: datetime,
) -> Confirmed:
    """Begin the consent that a confirm link was made for, and welcome the reader.

    Their address may be mailed again, if it was suppressed. Doing it again changes nothing. Raises
    OutdatedToken for a link whose consent cannot begin: they have left or come back since, or the
    operator alone lets them be mailed.
    """
    subscriber = awaited(session, bearer, publication=publication, locked=True)
    is_reader = subscriber.status in {Status.ACTIVE, Status.PAUSED}
    if is_reader and subscriber.generation == bearer.generation:
        return Confirmed(subscriber, was_already=True)
    address, keyring = subscriber.address, publication.keyring
    suppress.release(session, address, origin=origin, now=now, keyring=keyring)
    subscriber.generation = bearer.generation
    _begin(session, subscriber, Signup.CONFIRMED, origin, now, keyring=keyring)
    letters.welcome(session, subscriber, latest=latest, publication=publication, now=now)
    return Confirmed(subscriber, was_already=False)


def awaited(
    session: Session, bearer: Bearer, *, publication: Publication, locked: bool = False
) -> Subscriber:
    """Return whom a confirm link may begin a consent for, or has; raises OutdatedToken."""
    subscriber = store.find_public(session, bearer.public_id, locked=locked)
    if subscriber is None:
        raise OutdatedToken
    suppressed = suppression.find(session, subscriber.address, keyring=publication.keyring)
    is_reader = _is_mailed(subscriber, suppressed)
    begins = subscriber.generation if is_reader else _generation_asked(subscriber)
    if not _may_begin(subscriber, suppressed) or begins != bearer.generation:
        raise OutdatedToken(has_returned=is_reader)
    return subscriber


def asked_by(session: Session, bearer: Bearer) -> Subscriber | None:
    """Return to whom an old confirm link was sent, None if nothing of it is left to confirm."""
    subscriber = store.find_public(session, bearer.public_id)
    if subscriber is None or bearer.generation < subscriber.generation:
        return None
    return subscriber


def come_back(session: Session, bearer: Bearer, *, origin: Origin, now: datetime) -> Subscriber:
    """Undo a goodbye, within a day of it: the same consent, and nothing missed or read twice.

    Doing it again changes nothing. Raises OutdatedToken when it is too late.
    """
    subscriber = store.find_public(session, bearer.public_id, locked=True)
    if subscriber is None or subscriber.generation != bearer.generation:
        raise OutdatedToken
    if subscriber.status in {Status.ACTIVE, Status.PAUSED}:
        return subscriber
    if not can_come_back(session, subscriber, now=now):
        raise OutdatedToken
    before = _before_goodbye(session, subscriber)
    until = subscriber.paused_until
    is_paused = before.status == Status.PAUSED and (until is None or until > now)
    subscriber.status = Status.PAUSED if is_paused else Status.ACTIVE
    subscriber.paused_until = until if is_paused else None
    # Somebody else may have asked for another one in the meantime.
    subscriber.cadence = before.cadence
    consent.record(session, subscriber, Action.RETURNED, origin=origin, now=now)
    queue.lift(
        session,
        references=(subscriber.public_id,),
        reasons=(unsubscribe.REASON, preferences.PAUSED),
        instead=preferences.PAUSED if is_paused else None,
    )
    return subscriber


def _before_goodbye(session: Session, subscriber: Subscriber) -> Consent:
    """Return what a reader was before they left."""
    consents = _own_consents(session, subscriber)
    return next(row for row in reversed(consents) if row.action != Action.UNSUBSCRIBED)


def _own_consents(session: Session, subscriber: Subscriber) -> list[Consent]:
    """Return what a reader has done under their present consent; asking can be anybody."""
    return [
        row
        for row in store.consents(session, subscriber)
        if row.generation == subscriber.generation and row.action != Action.ASKED
    ]


def can_come_back(session: Session, subscriber: Subscriber, *, now: datetime) -> bool:
    """Tell whether a goodbye can be undone."""
    if subscriber.status != Status.UNSUBSCRIBED or subscriber.subscribed_at is None:
        return False
    *_, last = _own_consents(session, subscriber)
    return last.action == Action.UNSUBSCRIBED and now - last.at <= UNDO


def may_ask(session: Session, address: str, *, now: datetime, keyring: Keyring) -> bool:
    """Count a letter that asks its reader to confirm something; tell whether it may go."""
    if not _may_write(session, address, now=now, keyring=keyring):
        return False
    return throttle.take(session, UNCONFIRMED, addresses.mailbox(address), now=now, keyring=keyring)


def _may_write(session: Session, address: str, *, now: datetime, keyring: Keyring) -> bool | None:
    """Count somebody's asking; tell whether a letter may go, None if it is not even looked at."""
    mailbox = addresses.mailbox(address)
    if not throttle.take(session, ASKS, mailbox, now=now, keyring=keyring):
        return None
    return throttle.take(session, LETTERS, mailbox, now=now, keyring=keyring)


def _is_mailed(subscriber: Subscriber, suppressed: Suppression | None) -> bool:
    return subscriber.status in {Status.ACTIVE, Status.PAUSED} and suppressed is None


def _may_begin(subscriber: Subscriber, suppressed: Suppression | None) -> bool:
    """Tell whether a reader may be asked to confirm, and by that lifts what suppresses them."""
    if suppressed is None:
        return subscriber.status != Status.SUPPRESSED
    return suppression.is_liftable(suppressed.cause)


def _record_asked(
    session: Session,
    subscriber: Subscriber,
    cadence: Cadence,
    *,
    is_news: bool,
    origin: Origin,
    now: datetime,
) -> None:
    assert subscriber.id is not None
    theirs = store.with_ids([subscriber.id]) & literal(is_news)
    store.change(session, theirs, {"cadence": cadence}, now=now)
    consent.record_all(session, theirs, Action.ASKED, origin=origin, now=now)


def _generation_asked(subscriber: Subscriber) -> int:
    """Return the consent that a confirm letter speaks of: the next one for who had left."""
    is_new = subscriber.status == Status.PENDING
    return subscriber.generation if is_new else subscriber.generation + 1


def _found_or_made(
    session: Session, address: str, cadence: Cadence, now: datetime
) -> tuple[Subscriber, bool]:
    """Return the subscriber of an address, held, and whether this made it."""
    public_id = tokens.new_public_id()
    row = {"public_id": public_id, "address": address, "cadence": cadence}
    # Who is there at the insert may have been erased by the time that the row can be held.
    subscriber = None
    while subscriber is None:
        store.insert_missing(session, [row], status=Status.PENDING, now=now)
        subscriber = store.find(session, address, locked=True)
    return subscriber, subscriber.public_id == public_id


def _begin(
    session: Session,
    subscriber: Subscriber,
    signup: Signup,
    origin: Origin,
    now: datetime,
    *,
    keyring: Keyring,
) -> Signup:
    """Start an active consent now; letters that nobody had confirmed count no more."""
    throttle.reset(session, UNCONFIRMED, addresses.mailbox(subscriber.address), keyring=keyring)
    subscriber.status = Status.ACTIVE
    subscriber.watermark = None
    subscriber.paused_until = None
    subscriber.subscribed_at = now
    action = Action.CONFIRMED if signup is Signup.CONFIRMED else Action.ADDED
    consent.record(session, subscriber, action, origin=origin, now=now)
    return signup


def _keep(
    session: Session,
    subscriber: Subscriber,
    cadence: Cadence | None,
    origin: Origin,
    now: datetime,
) -> Signup:
    if cadence is None:
        return Signup.UNCHANGED
    changed = preferences.change_cadence(session, subscriber, cadence, origin=origin, now=now)
    return Signup.CHANGED if changed else Signup.UNCHANGED


def _check_mailable(session: Session, address: str, *, keyring: Keyring) -> None:
    found = suppression.find(session, address, keyring=keyring)
    if found is None:
        return
    rule = suppression.RULES[Cause(found.cause)]
    hint = f"If it may be mailed again, run `newsletter suppression remove {address}` first."
    if rule.is_liftable:
        hint = f"Its reader may sign up again and confirm. {hint}"
    raise Conflict(
        f"{address} is suppressed ({found.cause}: {rule.meaning}), so it must not be mailed.",
        hint=hint,
    )


def _check_again(subscriber: Subscriber, *, again: bool) -> None:
    if not again:
        raise Conflict(
            f"{subscriber.address} has unsubscribed.",
            hint="If they have asked for the newsletter anew, add them with --again.",
        )


def _rejoin(
    session: Session,
    subscriber: Subscriber,
    cadence: Cadence | None,
    origin: Origin,
    now: datetime,
    *,
    keyring: Keyring,
) -> Signup:
    subscriber.cadence = cadence or subscriber.cadence
    if subscriber.status == Status.PENDING:
        return _begin(session, subscriber, Signup.CONFIRMED, origin, now, keyring=keyring)
    subscriber.generation += 1
    return _begin(session, subscriber, Signup.AGAIN, origin, now, keyring=keyring)
