"""Sign-up with double opt-in: a letter asks for confirmation, upon which the consent begins.

The response to a sign-up on the web, and as far as possible its work, does not depend on whether
the address is known, so it does not disclose who subscribes. Each new consent after an unsubscribe
increments the generation, which voids the links of the earlier one, and clears the watermark: the
reader starts with the next edition.
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
from newsletter.ledger import cancellation
from newsletter.ledger.reasons import Reason
from newsletter.models import Consent, Status, Subscriber, Suppression
from newsletter.publication import Publication
from newsletter.rendering.letter import Latest
from newsletter.subscribers import (
    consent,
    letters,
    next_digest,
    preferences,
    store,
    suppress,
)
from newsletter.subscribers.consent import Action, Origin
from newsletter.subscribers.locking import find_subscriber, inserted_subscriber, locked_subscriber
from newsletter.suppression import Cause
from newsletter.throttle import Limit
from newsletter.tokens import Bearer, Keyring

#: The wording recorded for subscribers whom the operator adds.
VOUCHED = "The operator says that this reader has asked for the newsletter."
#: Rate limit of sign-ups per mailbox; more are ignored.
ASKS = Limit("ask", 10, timedelta(hours=24))
#: Rate limit of letters to a mailbox that a sign-up, by anybody, may cause.
LETTERS = Limit("letter", 1, timedelta(hours=24))
#: Rate limits of confirm letters to a mailbox that confirms none of them, and of letters to a
#: reader whose address is signed up again.
UNCONFIRMED = Limit("unanswered", 3, timedelta(days=30))
PRESENTS = Limit("present", 3, timedelta(days=30))
#: Time within which an unsubscribe can be undone without a new confirmation.
UNDO = timedelta(hours=24)


class Signup(StrEnum):
    """The result of adding an address."""

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
    """Make a normalised address an active reader, on the operator's authority.

    An existing reader gets the cadence, if one is given. For a reader who has unsubscribed, `again`
    is required, and begins a new consent. Raises Conflict without it, and for a suppressed address.
    """
    # `ends`, because an existing reader may get another cadence.
    subscriber, is_new = _find_or_insert(
        session, address, cadence or Cadence.WEEKLY, now, ends=cadence is not None
    )
    # Checked after the row lock, which serialises it with a concurrent erasure or suppression.
    _check_mailable(session, address, keyring=keyring)
    if is_new:
        return subscriber, _begin(session, subscriber, Signup.ADDED, origin, now, keyring=keyring)
    if subscriber.status in {Status.ACTIVE, Status.PAUSED}:
        return subscriber, _keep(session, subscriber, cadence, origin, now)
    if subscriber.status != Status.PENDING:
        _check_again(subscriber, again=again)
    return subscriber, _rejoin(session, subscriber, cadence, origin, now, keyring=keyring)


class Asked(StrEnum):
    """The result of a sign-up; for tests and counts alone, never shown to a visitor."""

    CONFIRM = "confirm"
    PRESENT = "present"
    #: No letter, because a rate limit is exhausted or the address must not be mailed.
    NOTHING = "nothing"


@dataclass(frozen=True)
class Confirmed:
    """The reader of a confirmed sign-up."""

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
    """Process a sign-up with a normalised address; queue at most one letter.

    1. Count against the rate limits of the address, known or not.
    2. An address whose suppression only the operator lifts gets nothing.
    3. A reader gets "you are subscribed", and none of their data changes.
    4. All others get a confirm letter for the cadence of the newest sign-up, and keep their status
       until they confirm.

    The statements are the same in all cases; a condition in
    them keeps rows unchanged, so that timing does not disclose who subscribes.
    """
    may_write = may_write_to(session, address, now=now, keyring=publication.keyring)
    if may_write is None:
        return Asked.NOTHING
    subscriber, is_new = _find_or_insert(session, address, cadence, now, ends=False)
    # Read after the row lock, which serialises it with a concurrent erasure or suppression.
    suppressed = suppression.find(session, address, keyring=publication.keyring)
    is_reader = _is_mailed(subscriber, suppressed)
    is_asked = not is_reader and _may_begin(subscriber, suppressed)
    store.remove(session, literal(is_new and not is_asked), [address], now=now)
    limit = PRESENTS if is_reader else UNCONFIRMED
    may_write = may_write and throttle.take(
        session, limit, addresses.mailbox(address), now=now, keyring=publication.keyring
    )
    is_recorded = is_asked and (may_write or subscriber.cadence != cadence)
    _record_asked(session, subscriber, cadence, is_recorded=is_recorded, origin=origin, now=now)
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
    """Begin the consent of a confirm link, and queue the welcome letter; idempotent.

    Lifts the suppression of the address, if there is one. Raises OutdatedToken if the consent
    cannot begin, because the reader has unsubscribed or returned since, or only the operator can
    lift the suppression.
    """
    subscriber = awaited(session, bearer, publication=publication, ends=False)
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
    session: Session, bearer: Bearer, *, publication: Publication, ends: bool | None = None
) -> Subscriber:
    """Return the subscriber whose consent a confirm link begins, or began; raises OutdatedToken.

    Locks the row unless `ends` is None, see `find_subscriber`.
    """
    subscriber = find_subscriber(session, store.with_public_id(bearer.public_id), ends=ends)
    if subscriber is None:
        raise OutdatedToken
    suppressed = suppression.find(session, subscriber.address, keyring=publication.keyring)
    is_reader = _is_mailed(subscriber, suppressed)
    begins = subscriber.generation if is_reader else _generation_asked(subscriber)
    if not _may_begin(subscriber, suppressed) or begins != bearer.generation:
        raise OutdatedToken(has_returned=is_reader)
    return subscriber


def asked_by(session: Session, bearer: Bearer) -> Subscriber | None:
    """Return the subscriber of an expired confirm link; None if it has nothing left to confirm."""
    subscriber = store.find_public(session, bearer.public_id)
    if subscriber is None or bearer.generation < subscriber.generation:
        return None
    return subscriber


def come_back(session: Session, bearer: Bearer, *, origin: Origin, now: datetime) -> Subscriber:
    """Undo an unsubscribe within a day; idempotent.

    The same consent and watermark continue, so no article is missed or sent twice. Raises
    OutdatedToken if it is too late.
    """
    chosen = store.with_public_id(bearer.public_id)
    subscriber = locked_subscriber(session, chosen, ends=False)
    if subscriber is None or subscriber.generation != bearer.generation:
        raise OutdatedToken
    if subscriber.status in {Status.ACTIVE, Status.PAUSED}:
        return subscriber
    if not can_come_back(session, subscriber, now=now):
        raise OutdatedToken
    before = _before_goodbye(session, subscriber)
    until = subscriber.paused_until
    is_paused = before.status == Status.PAUSED and (until is None or until > now)
    subscriber.paused_until = until if is_paused else None
    store.move(
        session,
        subscriber,
        status=Status.PAUSED if is_paused else Status.ACTIVE,
        # Restored, because a sign-up by anybody may have changed the cadence in the meantime.
        cadence=Cadence(before.cadence),
        now=now,
    )
    consent.record(session, subscriber, Action.RETURNED, origin=origin, now=now)
    cancellation.lift(
        session,
        references=(subscriber.public_id,),
        reasons=(Reason.UNSUBSCRIBED, Reason.PAUSED),
        instead=Reason.PAUSED if is_paused else None,
    )
    return subscriber


def _before_goodbye(session: Session, subscriber: Subscriber) -> Consent:
    """Return the last consent row before the unsubscribe."""
    consents = _own_consents(session, subscriber)
    return next(row for row in reversed(consents) if row.action != Action.UNSUBSCRIBED)


def _own_consents(session: Session, subscriber: Subscriber) -> list[Consent]:
    """Return the rows of the present consent, except sign-ups, as anybody can enter an address."""
    return [
        row
        for row in store.consents(session, subscriber)
        if row.generation == subscriber.generation and row.action != Action.ASKED
    ]


def can_come_back(session: Session, subscriber: Subscriber, *, now: datetime) -> bool:
    """Return whether an unsubscribe can still be undone."""
    if subscriber.status != Status.UNSUBSCRIBED or subscriber.subscribed_at is None:
        return False
    *_, last = _own_consents(session, subscriber)
    return last.action == Action.UNSUBSCRIBED and now - last.at <= UNDO


def may_write_to(session: Session, address: str, *, now: datetime, keyring: Keyring) -> bool | None:
    """Count a sign-up; return whether a letter is allowed, None if the sign-up is ignored.

    Lock order: throttle rows before the subscriber row; UNCONFIRMED is counted after it.
    """
    mailbox = addresses.mailbox(address)
    if not throttle.take(session, ASKS, mailbox, now=now, keyring=keyring):
        return None
    return throttle.take(session, LETTERS, mailbox, now=now, keyring=keyring)


def _is_mailed(subscriber: Subscriber, suppressed: Suppression | None) -> bool:
    return subscriber.status in {Status.ACTIVE, Status.PAUSED} and suppressed is None


def _may_begin(subscriber: Subscriber, suppressed: Suppression | None) -> bool:
    """Return whether a confirmation may begin a consent, and lift a suppression."""
    if suppressed is None:
        return subscriber.status != Status.SUPPRESSED
    return suppression.is_liftable(suppressed.cause)


def _record_asked(
    session: Session,
    subscriber: Subscriber,
    cadence: Cadence,
    *,
    is_recorded: bool,
    origin: Origin,
    now: datetime,
) -> None:
    assert subscriber.id is not None
    theirs = store.with_ids([subscriber.id]) & literal(is_recorded)
    store.change(session, theirs, {"cadence": cadence}, now=now)
    consent.record_all(session, theirs, Action.ASKED, origin=origin, now=now)


def _generation_asked(subscriber: Subscriber) -> int:
    """Return the generation that a confirm letter begins: a new one unless still pending."""
    is_new = subscriber.status == Status.PENDING
    return subscriber.generation if is_new else subscriber.generation + 1


def _find_or_insert(
    session: Session, address: str, cadence: Cadence, now: datetime, *, ends: bool
) -> tuple[Subscriber, bool]:
    """Return the subscriber of an address, with the row locked, and whether it is new."""
    public_id = tokens.new_public_id()
    row = {"public_id": public_id, "address": address, "cadence": cadence}
    subscriber = inserted_subscriber(session, row, now=now, ends=ends)
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
    """Start an active consent now, and reset the limit of unconfirmed letters."""
    throttle.reset(session, UNCONFIRMED, addresses.mailbox(subscriber.address), keyring=keyring)
    store.move(session, subscriber, status=Status.ACTIVE, now=now)
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
            hint="If they have asked for the newsletter anew, say so; by the command: `--again`.",
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
    store.move(session, subscriber, cadence=cadence, now=now)
    if subscriber.status == Status.PENDING:
        return _begin(session, subscriber, Signup.CONFIRMED, origin, now, keyring=keyring)
    subscriber.generation += 1
    return _begin(session, subscriber, Signup.AGAIN, origin, now, keyring=keyring)
