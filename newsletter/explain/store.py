"""Reads the facts about one address, by index and with limits on rows; changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from newsletter import suppression
from newsletter.editions import store as editions
from newsletter.explain.facts import Facts, Made, Mail, Reply
from newsletter.ledger import holding, message_ids
from newsletter.models import (
    AddressChange,
    Announcement,
    Attempt,
    Delivery,
    Edition,
    Mailing,
    Report,
    Subscriber,
)
from newsletter.publication import Publication
from newsletter.sender import domain_limits
from newsletter.sender import limits as rates
from newsletter.sender.limits import Limits
from newsletter.subscribers import changes, next_digest
from newsletter.subscribers import store as readers

#: Maximum of mails of a reader on one page, the newest ones.
MAILS = 20
#: Maximum of mails made after an edition, which may have replaced it.
_AFTER = 5
#: Maximum of editions of each cadence that are read, the newest ones.
_EDITIONS = 60
#: Maximum of tries and of reports of a mail, the newest ones.
_REPLIES = 12

_corrected = aliased(Edition)
_reference = col(Delivery.reference)
_made_at = col(Delivery.created_at)


def read(
    session: Session,
    address: str,
    *,
    publication: Publication,
    limits: Limits,
    now: datetime,
    edition: Edition | None = None,
) -> Facts:
    """Return the facts about a normalised address, or those about one edition.

    Keyed hashes of erased people are not searched, so that an erased address seems unknown.
    """
    reader = readers.find(session, address)
    change = _change(session, reader, address, now)
    known = {
        "address": address,
        "now": now,
        "times": publication.send_times,
        "reader": reader,
        "suppression": suppression.named(session, address),
        "change": change,
    }
    if reader is None and change is None:
        return Facts(**known)  # type: ignore[arg-type] # by their names
    references = [one.public_id for one in (reader, change) if one is not None]
    mails = _mails(session, references, edition)
    consents = readers.consents(session, reader) if reader else []
    had = [edition.cadence] if edition else sorted({row.cadence for row in consents})
    return Facts(
        **known,  # type: ignore[arg-type] # by their names
        consents=consents,
        mails=mails,
        mails_in_all=_count(session, references),
        editions=[one for each in had for one in _editions(session, each, edition)],
        skipped=next_digest.skipped_ahead(session, now=now),
        began_at=editions.began_at(session),
        **_waits(session, mails, limits, now),
    )


def _change(
    session: Session, reader: Subscriber | None, address: str, now: datetime
) -> AddressChange | None:
    found = changes.of(session, reader) if reader else []
    if reader is None:
        wanted = select(AddressChange).where(AddressChange.address == address)
        found = list(session.exec(wanted.limit(1)))
    return next((one for one in found if one.done_at is None and one.expires_at > now), None)


def _count(session: Session, references: Sequence[str]) -> int:
    counted = select_columns(func.count()).where(_reference.in_(references))
    found: int = session.execute(counted).scalar_one()
    return found


def _mails(session: Session, references: Sequence[str], edition: Edition | None) -> list[Mail]:
    theirs = _reference.in_(references)
    if edition is None:
        rows = _rows(session, theirs, newest=True, limit=MAILS)
    else:
        before = _rows(session, theirs, _made_at <= edition.created_at, newest=True, limit=MAILS)
        after = _rows(session, theirs, _made_at > edition.created_at, newest=False, limit=_AFTER)
        of_it = (col(Mailing.edition_id) == edition.id) | (col(Mailing.corrects_id) == edition.id)
        own = _rows(session, theirs, of_it, newest=True, limit=MAILS)
        each = {row.id: row for row in (*after, *own, *before)}
        rows = sorted(each.values(), key=lambda row: row.id, reverse=True)
    ids = [row.id for row in rows]
    tries, returned = _tries(session, ids), _returned(session, ids)
    return [_mail(row, tries[row.id], returned[row.id]) for row in rows]


def _rows(
    session: Session, *chosen: ColumnElement[bool], newest: bool, limit: int
) -> Sequence[Row[Any]]:
    # The + 0 keep the query planner from using the primary key, with the rows of all readers, and
    # from scanning all mailings.
    order, mailing_id = col(Delivery.id) + 0, col(Delivery.mailing_id) + 0
    return session.execute(
        select_columns(
            col(Delivery.id),
            col(Mailing.kind),
            col(Mailing.subject),
            col(Delivery.address),
            col(Mailing.public_id),
            _reference,
            col(Mailing.domain),
            Edition,
            col(_corrected.cadence).label("corrected_cadence"),
            col(_corrected.period).label("corrected_period"),
            holding.state().label("state"),
            _made_at,
            col(Delivery.state_at),
            col(Delivery.due_at),
            col(Delivery.blocked_domain),
            col(Delivery.reason),
            col(Delivery.code),
            col(Delivery.enhanced),
            col(Delivery.reply),
        )
        .join(Mailing, col(Mailing.id) == mailing_id)
        .outerjoin(Edition, col(Edition.id) == col(Mailing.edition_id))
        .outerjoin(_corrected, col(_corrected.id) == col(Mailing.corrects_id))
        .where(*chosen)
        .order_by(order.desc() if newest else order)
        .limit(limit)
    ).all()


def _mail(row: Row[Any], tries: Sequence[Reply], returned: Sequence[Reply]) -> Mail:
    is_correction = row.corrected_cadence is not None
    answered = row.code is not None or row.reply is not None
    return Mail(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        address=row.address,
        message_id=message_ids.make(row.public_id, row.reference, row.domain),
        edition=_made(row.Edition, 0) if row.Edition else None,
        corrects=f"{row.corrected_cadence}-{row.corrected_period}" if is_correction else None,
        state=row.state,
        created_at=row.created_at,
        state_at=row.state_at,
        due_at=row.due_at,
        blocked_domain=row.blocked_domain,
        reason=row.reason,
        last=Reply(
            at=row.state_at,
            result=row.state,
            code=row.code,
            enhanced=row.enhanced,
            text=row.reply,
        )
        if answered
        else None,
        tries=tries,
        returned=returned,
    )


def _tries(session: Session, ids: Sequence[int]) -> defaultdict[int, list[Reply]]:
    """Return the tries of some deliveries that were not accepted, oldest first."""
    found: defaultdict[int, list[Reply]] = defaultdict(list)
    chosen = select(Attempt).where(col(Attempt.delivery_id).in_(ids)).order_by(col(Attempt.id))
    for one in session.exec(chosen):
        found[one.delivery_id].append(
            Reply(
                at=one.at,
                result=one.outcome,
                phase=one.phase,
                code=one.code,
                enhanced=one.enhanced,
                text=one.reply,
            )
        )
    return defaultdict(list, {id_: tries[-_REPLIES:] for id_, tries in found.items()})


def _returned(session: Session, ids: Sequence[int]) -> defaultdict[int, list[Reply]]:
    """Return the reports about some deliveries, oldest first."""
    found: defaultdict[int, list[Reply]] = defaultdict(list)
    chosen = select(Report).where(col(Report.delivery_id).in_(ids)).order_by(col(Report.id))
    for one in session.exec(chosen):
        assert one.delivery_id is not None
        found[one.delivery_id].append(
            Reply(
                at=one.at,
                result=one.verdict,
                phase=one.phase,
                code=one.code,
                enhanced=one.enhanced,
                text=one.reply,
                reason=one.reason,
            )
        )
    return found


def _editions(session: Session, cadence: str, edition: Edition | None) -> list[Made]:
    if edition is not None:
        chosen = [edition]
    else:
        newest = select(Edition).where(Edition.cadence == cadence)
        newest = newest.order_by(col(Edition.period).desc()).limit(_EDITIONS)
        chosen = list(session.exec(newest))
    ids = [one.id for one in chosen]
    gone, audiences = _pruned(session, ids), _audiences(session, ids)
    return [_made(one, gone.get(one.id, 0), audiences.get(one.id)) for one in chosen]


def _audiences(session: Session, ids: Sequence[int | None]) -> dict[int | None, str]:
    """Return the audiences of those editions that are announcements."""
    chosen = select(Announcement).where(col(Announcement.edition_id).in_(ids))
    return {one.edition_id: one.audience for one in session.exec(chosen)}


def _pruned(session: Session, ids: Sequence[int | None]) -> dict[int | None, int]:
    """Return how many deliveries of editions were pruned."""
    rows = (
        col(Mailing.pruned_accepted)
        + col(Mailing.pruned_refused)
        + col(Mailing.pruned_skipped)
        + col(Mailing.pruned_cancelled)
    )
    found = session.execute(
        select_columns(col(Mailing.edition_id), func.sum(rows))
        .where(col(Mailing.edition_id).in_(ids))
        .group_by(col(Mailing.edition_id))
    )
    return {edition_id: int(count) for edition_id, count in found}


def _made(edition: Edition, pruned: int, audience: str | None = None) -> Made:
    return Made(
        cadence=edition.cadence,
        period=edition.period,
        state=edition.state,
        reason=edition.reason,
        at=edition.created_at,
        pruned=pruned,
        audience=audience,
    )


def _waits(session: Session, mails: Sequence[Mail], rules: Limits, now: datetime) -> dict[str, Any]:
    """Return paused domains and limits for open mail; reads nothing if no mail is open."""
    if not any(mail.is_open for mail in mails):
        return {}
    return {
        "domains_paused": domain_limits.paused(session, now),
        "opens_at": rates.opens_at(session, rules, now),
    }
