"""All queries about subscribers; use cases in this package call them, their callers commit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Row,
    String,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    union_all,
)
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import tally
from newsletter.cadences import Cadence
from newsletter.db import dialects
from newsletter.ledger import holding, reports
from newsletter.models import (
    Consent,
    Delivery,
    Edition,
    Kind,
    Mailing,
    State,
    Status,
    Subscriber,
    Suppression,
)
from newsletter.models.columns import Instant
from newsletter.models.delivery import OPEN

#: Rows that a stream of subscribers fetches at a time.
CHUNK = 2_000

_id = col(Subscriber.id)
_status = col(Subscriber.status)
_paused_until = col(Subscriber.paused_until)


# One subscriber


def find(session: Session, address: str) -> Subscriber | None:
    """Return the subscriber of an address; `locking.locked_subscriber` locks the row, too."""
    return session.exec(select(Subscriber).where(with_address(address))).one_or_none()


def find_public(session: Session, public_id: str) -> Subscriber | None:
    """Return the subscriber with a `public_id`, which is the id in links."""
    return session.exec(select(Subscriber).where(with_public_id(public_id))).one_or_none()


def consents(session: Session, subscriber: Subscriber) -> list[Consent]:
    """Return the consent rows of a subscriber, oldest first."""
    return list(
        session.exec(
            select(Consent)
            .where(Consent.subscriber_id == subscriber.id)
            .order_by(col(Consent.at), col(Consent.id))
        )
    )


def deliveries(
    session: Session, subscriber: Subscriber, *, limit: int | None
) -> Sequence[Row[Any]]:
    """Return a subscriber's newest deliveries: at, kind, edition, subject, state, reply, reason.

    Verdict and text of the last report about each delivery are returned, too.
    """
    return session.execute(
        select_columns(
            col(Delivery.state_at).label("at"),
            col(Mailing.kind).label("kind"),
            col(Edition.cadence).label("cadence"),
            col(Edition.period).label("period"),
            col(Mailing.subject).label("subject"),
            holding.state().label("state"),
            reports.last_verdict().label("returned"),
            reports.last_reply().label("returned_reply"),
            col(Delivery.code).label("code"),
            col(Delivery.reply).label("reply"),
            col(Delivery.reason).label("reason"),
        )
        .join(Mailing, col(Mailing.id) == col(Delivery.mailing_id))
        .outerjoin(Edition, col(Edition.id) == col(Mailing.edition_id))
        .where(col(Delivery.reference) == subscriber.public_id)
        .order_by(col(Delivery.id).desc())
        .limit(limit)
    ).all()


def former_addresses(session: Session, subscriber: Subscriber) -> set[str]:
    """Return the other addresses to which mails were sent for a subscriber."""
    found = session.execute(
        select_columns(col(Delivery.address))
        .where(col(Delivery.reference) == subscriber.public_id)
        .distinct()
    )
    return set(found.scalars()) - {subscriber.address, ""}


# Many subscribers


class Present(NamedTuple):
    """The current state of a reader."""

    address: str
    generation: int


def present(session: Session, public_ids: Collection[str]) -> dict[str, Present]:
    """Return the current state of readers by public id."""
    if not public_ids:
        return {}
    public_id = col(Subscriber.public_id)
    columns = (public_id, col(Subscriber.address), col(Subscriber.generation))
    found = session.execute(select_columns(*columns).where(public_id.in_(public_ids)))
    return {one: Present(address, generation) for one, address, generation in found}


def listing(
    session: Session,
    *,
    status: Status | None = None,
    cadence: Cadence | None = None,
    limit: int | None = None,
) -> list[Subscriber]:
    """Return subscribers in the order of their ids."""
    query = select(Subscriber).where(*_chosen(status, cadence)).order_by(_id).limit(limit)
    return list(session.exec(query))


def count(session: Session, *, status: Status | None = None, cadence: Cadence | None = None) -> int:
    """Return how many subscribers there are of a status and a cadence."""
    return sum(
        number
        for (their_cadence, their_status), number in tally.readers(session).items()
        if cadence in {None, their_cadence} and status in {None, their_status}
    )


def has_only_local(session: Session) -> bool:
    """Return whether there are recipients, and all of them are at localhost or a subdomain.

    Recipients are those of open deliveries, and active, pending and paused subscribers.
    """
    mailed = union_all(
        select_columns(col(Delivery.address)).where(col(Delivery.state).in_(OPEN)),
        select_columns(col(Subscriber.address)).where(
            _status.in_((Status.ACTIVE, Status.PENDING, Status.PAUSED))
        ),
    ).subquery()
    is_local = mailed.c.address.like("%@localhost") | mailed.c.address.like("%.localhost")
    anybody, anybody_else = session.execute(
        select_columns(
            exists(select_columns(mailed)), exists(select_columns(mailed).where(~is_local))
        )
    ).one()
    return anybody and not anybody_else


def counts(session: Session) -> dict[tuple[Cadence, Status], int]:
    """Return how many subscribers there are of each cadence and status."""
    return tally.readers(session)


def stream(
    session: Session, *, status: Status | None = None, cadence: Cadence | None = None
) -> Iterator[Sequence[Row[Any]]]:
    """Yield subscribers ordered by address, in chunks of rows.

    Columns: id, address, cadence, status, subscribed_at, paused_until, created_at, language,
    timezone, and the cause of the suppression of the address.
    """
    query = (
        select_columns(
            _id,
            col(Subscriber.address),
            col(Subscriber.cadence),
            _status,
            col(Subscriber.subscribed_at),
            _paused_until,
            col(Subscriber.created_at),
            col(Subscriber.language),
            col(Subscriber.timezone),
            col(Suppression.cause),
        )
        .outerjoin(Suppression, col(Suppression.address) == col(Subscriber.address))
        .where(*_chosen(status, cadence))
        .order_by(col(Subscriber.address))
    )
    yield from session.execute(query, execution_options={"yield_per": CHUNK}).partitions()


def histories(session: Session, ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    """Return the consents of subscribers, by subscriber id, oldest first."""
    found: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    rows = session.execute(
        select_columns(
            col(Consent.subscriber_id),
            col(Consent.action),
            col(Consent.at),
            col(Consent.remote),
            col(Consent.source),
            col(Consent.wording),
            col(Consent.evidence),
        )
        .where(col(Consent.subscriber_id).in_(ids))
        .order_by(col(Consent.subscriber_id), col(Consent.at), col(Consent.id))
    )
    for row in rows:
        found[row.subscriber_id].append(row)
    return found


def insert_missing(
    session: Session, columns: Mapping[str, Sequence[Any]], *, status: Status, now: datetime
) -> ColumnElement[bool]:
    """Insert the subscribers whose address is new; return a condition that selects them.

    With an active or paused `status`, their consent begins now unless `columns` has another time.
    """
    newest = session.exec(select(func.max(_id))).one()
    constants = {"status": status, "generation": 1, "created_at": now, "updated_at": now}
    if status in {Status.ACTIVE, Status.PAUSED}:
        constants["subscribed_at"] = now
    constants = {name: value for name, value in constants.items() if name not in columns}
    added = dialects.insert_missing(
        session, Subscriber, columns, constants=constants, returning="cadence"
    )
    readers = Counter({tally.reader(cadence, status): 0 for cadence in columns["cadence"]})
    readers.update(tally.reader(cadence, status) for cadence in added)
    # The same statements for an address that is known: timing must not disclose who subscribes.
    tally.add_readers(session, readers, now=now, with_zeros=True)
    # Subscribers of other transactions have a consent, as both are committed together. (A condition
    # on thousands of public ids would take longer than the insert.)
    recorded = exists().where(col(Consent.subscriber_id) == _id)
    return (_id > (newest or 0)) & ~recorded


def remove(
    session: Session, chosen: ColumnElement[bool], addresses: Collection[str], *, now: datetime
) -> None:
    """Delete the chosen subscribers that have one of `addresses`; they must have no consents."""
    if addresses:
        tally.delete_readers(session, chosen & col(Subscriber.address).in_(addresses), now=now)


def with_address(address: str) -> ColumnElement[bool]:
    """Return a condition that selects the subscriber of an address."""
    return col(Subscriber.address) == address


def with_public_id(public_id: str) -> ColumnElement[bool]:
    """Return a condition that selects a subscriber by the id in links."""
    return col(Subscriber.public_id) == public_id


def with_ids(ids: Sequence[int]) -> ColumnElement[bool]:
    """Return a condition that selects subscribers by id."""
    return _id.in_(ids)


def is_overdue(status: Status, now: datetime) -> ColumnElement[bool]:
    """Return a condition that selects subscribers in `status` whose `paused_until` has passed."""
    # The first condition is always true, but allows an index whose first column is the cadence.
    return col(Subscriber.cadence).in_(list(Cadence)) & (_status == status) & (_paused_until <= now)


def are_in(addresses: Sequence[str], statuses: Sequence[Status]) -> ColumnElement[bool]:
    """Return a condition that selects the subscribers of `addresses` in `statuses`."""
    return col(Subscriber.address).in_(addresses) & _status.in_(statuses)


def are_any(public_ids: Collection[str], addresses: Collection[str]) -> ColumnElement[bool]:
    """Return a condition that selects subscribers by public id or by address."""
    return col(Subscriber.public_id).in_(public_ids) | col(Subscriber.address).in_(addresses)


def are_unconfirmed(*, until: datetime) -> ColumnElement[bool]:
    """Return a condition that selects subscribers pending and unchanged since `until`.

    Includes those suppressed before they confirmed; the suppression of the address stays.
    """
    done = ("asked", "suppressed")
    did_more = exists().where(col(Consent.subscriber_id) == _id, col(Consent.action).not_in(done))
    was_pending = (
        (_status == Status.SUPPRESSED) & col(Subscriber.subscribed_at).is_(None) & ~did_more
    )
    # The first condition is always true, but allows an index whose first column is the cadence.
    return (
        col(Subscriber.cadence).in_(list(Cadence))
        & _status.in_((Status.PENDING, Status.SUPPRESSED))
        & ((_status == Status.PENDING) | was_pending)
        & (col(Subscriber.updated_at) <= until)
    )


def are_imported() -> ColumnElement[bool]:
    """Return a condition that selects the subscribers known only by imports."""
    return ~exists().where(col(Consent.subscriber_id) == _id, col(Consent.action) != "imported")


def suppressed_late(session: Session, *, limit: int) -> list[str]:
    """Return suppressed addresses whose subscribers do not have that status yet.

    Pending ones are left out: they get only confirm letters, and the claim of such a letter checks
    the cause of the suppression.
    """
    found = session.execute(
        select_columns(col(Subscriber.address))
        .join(Suppression, col(Suppression.address) == col(Subscriber.address))
        .where(_status.not_in((Status.SUPPRESSED.value, Status.PENDING.value)))
        .order_by(col(Subscriber.address))
        .limit(limit)
    )
    return list(found.scalars())


def change(
    session: Session,
    chosen: ColumnElement[bool],
    values: Mapping[str, Any],
    *,
    now: datetime,
) -> int:
    """Update the chosen subscribers and return how many."""
    return tally.update_readers(session, chosen, {**values, "updated_at": now}, now=now)


def move(
    session: Session,
    subscriber: Subscriber,
    *,
    status: Status | None = None,
    cadence: Cadence | None = None,
    now: datetime,
) -> None:
    """Change the status or cadence of a subscriber whose row is locked.

    Only this function and `change` may do so, because they update the counts of readers.
    """
    before = tally.reader(subscriber.cadence, subscriber.status)
    subscriber.status = status or subscriber.status
    subscriber.cadence = cadence or subscriber.cadence
    counts = Counter({tally.reader(subscriber.cadence, subscriber.status): 1})
    counts.subtract({before: 1})
    tally.add_readers(session, counts, now=now)


def add_consents(
    session: Session,
    chosen: ColumnElement[bool],
    *,
    action: str,
    event: str,
    source: str,
    wording: str,
    remote: str | None,
    now: datetime,
) -> int:
    """Insert a consent row with the present state of each chosen subscriber; return how many.

    They are counted as `event` of the day (see `newsletter.tally`).
    """
    written = session.execute(
        insert(Consent).from_select(
            ["subscriber_id", "at", "action", "cadence", "status", "generation",
             "wording", "source", "remote"],
            select_columns(
                _id, literal(now, Instant()), literal(action), col(Subscriber.cadence), _status,
                col(Subscriber.generation), literal(wording), literal(source),
                literal(remote, String()),
            ).where(chosen),
        ),
        # SQLAlchemy counts inserted rows only on request.
        execution_options={"preserve_rowcount": True},
    )  # fmt: skip
    recorded = _rows(written)
    # Also for none: timing must not disclose who subscribes.
    tally.add_events(session, {event: recorded}, now=now)
    return recorded


class Said(NamedTuple):
    """The values of a consent row about its change."""

    #: What it is counted as (see `newsletter.tally`).
    event: str
    source: str
    wording: str
    remote: str | None = None
    #: The evidence as JSON, see `evidence.to_json`.
    evidence: str | None = None


def add_consents_each(
    session: Session,
    chosen: ColumnElement[bool],
    said: Mapping[str, Said],
    *,
    otherwise: Said,
    action: str,
    now: datetime,
) -> int:
    """Insert a consent row for each chosen subscriber, with values by address.

    Returns how many were inserted.
    """
    # Executed on the connection, because a session takes longer for each row.
    found = session.connection().execute(
        select_columns(
            _id, col(Subscriber.address), col(Subscriber.cadence), _status,
            col(Subscriber.generation),
        ).where(chosen)
    ).all()  # fmt: skip
    if not found:
        return 0
    ids, addresses, cadences, statuses, generations = zip(*found, strict=True)
    events, sources, wordings, remotes, evidence = zip(
        *(said.get(one, otherwise) for one in addresses), strict=True
    )
    columns = {
        "subscriber_id": ids,
        "cadence": cadences,
        "status": statuses,
        "generation": generations,
        "wording": wordings,
        "source": sources,
        "remote": remotes,
        "evidence": evidence,
    }
    dialects.insert_missing(session, Consent, columns, constants={"action": action, "at": now})
    tally.add_events(session, Counter(events), now=now)
    return len(ids)


def before_suppression(session: Session, ids: Sequence[int]) -> dict[int, str]:
    """Return the status that subscribers had before they were suppressed, by id.

    For subscribers who have unsubscribed since, it is unsubscribed.
    """
    has_left = col(Consent.action) == "unsubscribed"
    latest_first = func.row_number().over(
        partition_by=col(Consent.subscriber_id), order_by=col(Consent.id).desc()
    )
    numbered = (
        select_columns(
            col(Consent.subscriber_id),
            case((has_left, Status.UNSUBSCRIBED.value), else_=col(Consent.status)).label("status"),
            latest_first.label("place"),
        )
        .where(
            col(Consent.subscriber_id).in_(ids),
            or_(has_left, col(Consent.status) != Status.SUPPRESSED),
        )
        .subquery()
    )
    found = session.execute(
        select_columns(numbered.c.subscriber_id, numbered.c.status).where(numbered.c.place == 1)
    )
    return {row.subscriber_id: row.status for row in found}


def has_left(session: Session, subscriber: Subscriber) -> bool:
    """Return whether a suppressed subscriber was unsubscribed before, or has unsubscribed since."""
    assert subscriber.id is not None
    before = before_suppression(session, [subscriber.id])
    return before.get(subscriber.id) == Status.UNSUBSCRIBED


def imported_at(session: Session, subscriber: Subscriber) -> datetime | None:
    """Return when a reader was last imported; None for never."""
    found: datetime | None = session.execute(
        select_columns(func.max(col(Consent.at))).where(
            col(Consent.subscriber_id) == subscriber.id, col(Consent.action) == "imported"
        )
    ).scalar()
    return found


def covered_until(session: Session, subscriber: Subscriber) -> datetime | None:
    """Return the end of coverage of the digests that a reader has got, or may have got.

    Digests under all consents count; None if there are none.
    """
    found: datetime | None = session.execute(
        select_columns(func.max(col(Edition.coverage_end)))
        .join(Mailing, col(Mailing.edition_id) == col(Edition.id))
        .join(Delivery, col(Delivery.mailing_id) == col(Mailing.id))
        .where(
            col(Mailing.kind) == Kind.DIGEST,
            col(Delivery.reference) == subscriber.public_id,
            col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN)),
        )
    ).scalar()
    return found


# Erasure


def deliveries_of(public_ids: Sequence[str], *, address: str | None = None) -> ColumnElement[bool]:
    """Return a condition that selects deliveries by reader, or also by address."""
    theirs = col(Delivery.reference).in_(public_ids)
    return theirs if address is None else or_(theirs, col(Delivery.address) == address)


def erase(session: Session, ids: Sequence[int | None], *, now: datetime) -> int:
    """Delete subscribers with their consents; return how many consents there were."""
    consents_gone = session.execute(delete(Consent).where(col(Consent.subscriber_id).in_(ids)))
    tally.delete_readers(session, _id.in_(ids), now=now)
    return _rows(consents_gone)


def _chosen(status: Status | None, cadence: Cadence | None) -> list[ColumnElement[bool]]:
    chosen = [col(Subscriber.cadence) == cadence] if cadence else []
    return [*chosen, _status == status] if status else chosen


def _rows(result: object) -> int:
    found: int = getattr(result, "rowcount", 0)
    return found
