"""The delivery queue: one row per recipient and mailing, changed by set-wise statements.

    queued -> claimed -> in_flight -> accepted | deferred | refused | unknown
    and skipped (with a reason) or cancelled, by `cancellation`.

A row is written when its outcome is known, so once for a message that is accepted. `claimed` and
`in_flight` are stored in the worker's registration (`holding`), in the same transactions.

Write-ahead: the mark (in flight) is committed before a body leaves, and the outcome after the
reply. After a crash a claimed row is safe to send again, and at most one row per connection is
uncertain. Delivery is at-least-once with `unknown_policy = "resend"`, at-most-once with "hold".

Lease: a claimed row belongs to a worker for as long as that worker is registered. A worker whose
rows were taken over is no longer registered, and cannot commit.

Idempotent: each statement checks the state that it changes, so a transaction that is repeated
because the reply to its commit was lost changes nothing twice.

Lock order on PostgreSQL: freeze lock, subscriber, suppression, delivery. A worker takes its own row
of `worker` first. Claims lock no delivery that another transaction has locked, so workers never
wait for each other's rows.

Every function takes the Session of a transaction that its caller owns and commits.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    bindparam,
    column,
    func,
    insert,
    literal,
    text,
)
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter import suppression, tally
from newsletter.db import dialects
from newsletter.db.dialects import Statement
from newsletter.ledger import cancellation, holding, statements
from newsletter.ledger.holding import Hold
from newsletter.ledger.reasons import Reason
from newsletter.ledger.retry import LETTER_LIFE, Decision
from newsletter.models import Delivery, Mailing, State
from newsletter.models.columns import Instant
from newsletter.models.delivery import BLOCKED, CLAIMABLE, OPEN
from newsletter.smtp.outcome import Kind, Outcome
from newsletter.tally import Name

_id = col(Delivery.id)
_state = col(Delivery.state)
_mailing = col(Delivery.mailing_id)
_reason = col(Delivery.reason)
_INSTANT = Instant()


class Claim(NamedTuple):
    """A delivery claimed by a worker, with all values that are needed to fill and send it."""

    id: int
    mailing_id: int
    address: str
    reference: str
    generation: int
    since_at: datetime | None
    created_at: datetime
    attempts: int
    #: Letters (0) go before corrections (1) and digests (2).
    priority: int = 2

    @property
    def give_up_at(self) -> datetime | None:
        """The end of retries; None for a digest, which ends when its edition is stale."""
        return None if self.priority > 1 else self.created_at + LETTER_LIFE


class BlockedDomain(NamedTuple):
    """The rows of a mailing that wait for a rate limit or pause of their domain."""

    mailing_id: int
    domain: str


class Verdict(NamedTuple):
    """The outcome of one try, and the row's next state."""

    delivery_id: int
    address: str
    outcome: Outcome
    decision: Decision


def enqueue(
    session: Session, *, mailing_id: int, recipients: Select[Any], priority: int, now: datetime
) -> int:
    """Insert a row for each of `recipients` and return how many.

    `recipients` selects address, reference, generation and since_at; it runs inside the INSERT.
    Rows are inserted in the order of their references, which are random: into an index that is
    larger than the cache, keys in random order cost more than sorting them.
    """
    chosen = recipients.subquery()
    inserted = session.execute(
        insert(Delivery).from_select(
            [
                "mailing_id", "address", "reference", "generation", "since_at",
                "state", "priority", "due_at", "attempts", "state_at", "created_at",
            ],
            select_columns(
                literal(mailing_id), chosen.c.address, chosen.c.reference, chosen.c.generation,
                chosen.c.since_at, literal(State.QUEUED.value), literal(priority),
                literal(now, Instant()), literal(0), literal(now, Instant()),
                literal(now, Instant()),
            ).order_by(chosen.c.reference),
        ),
        # SQLAlchemy counts the rows of an INSERT only on request.
        execution_options={"preserve_rowcount": True},
    )  # fmt: skip
    made = statements.row_count(inserted)
    # A count of zero is written, too, so that the time of a sign-up does not depend on whether a
    # letter is queued: timing must not disclose who subscribes.
    tally.add(session, Name.DELIVERY, {State.QUEUED: made}, mailing_id=mailing_id, with_zeros=True)
    return made


# Functions for workers


def claim(
    session: Session,
    hold: Hold,
    *,
    limit: int,
    now: datetime,
    mailings: Select[Any] | None = None,
    excluded: Select[Any] | None = None,
) -> list[Claim]:
    """Claim up to `limit` due rows for a worker: letters first, then the mailing longest due.

    Rows are those of `mailings`, if given, and never those of `excluded`. Rows of an address that
    was suppressed in the meantime are skipped, except confirm letters if the cause allows them. The
    cost depends on `limit`, the number of rows that workers hold and the number of mailings with
    due rows, not on the number of rows.
    """
    holding.lock_claims(session)
    hold.take(())
    taken: list[Claim] = []
    for mailing_id in _agenda(session, now, mailings, excluded):
        while wanted := limit - len(taken):
            found, is_all = _claim_batch(
                session, statements.BATCH, hold, now, mailing=mailing_id, limit=wanted
            )
            taken += found
            if is_all:
                break
    return taken


def mark(session: Session, hold: Hold, *, ids: Collection[int], now: datetime) -> set[int]:
    """Lock the rows that `Hold.begin` marked, and return those that may be sent.

    The others have ended meanwhile, and are not held any more. Write-ahead: a body may leave only
    after the transaction of its mark has been committed. Idempotent: marks are repeated after a
    commit whose reply was lost, and after a try that failed before the body left.
    """
    ((found,),) = statements.MARKED.run(session, ids=json.dumps(list(ids)))
    marked = set(json.loads(found or "[]"))
    if denied := set(ids) - marked:
        # Rows that an earlier call marked and that were ended since; their bodies have not left.
        cancellation.end_denied(session, denied, now=now)
        hold.deny(session, denied)
    return marked


def blocked_domains(
    session: Session,
    *,
    limit: int,
    after: BlockedDomain | None = None,
    mailings: Select[Any] | None = None,
    excluded: Select[Any] | None = None,
) -> list[BlockedDomain]:
    """Return up to `limit` blocked domains with rows, beginning after `after`.

    They are in the order of their mailings; fewer than `limit` means that the end is reached. The
    cost depends on `limit`, not on the number of domains or rows.
    """
    ids = [row[-1] for row in sorted(_with_blocked(mailings, excluded).run(session))]
    if after is not None and after.mailing_id in ids:
        del ids[: ids.index(after.mailing_id)]
    found: list[BlockedDomain] = []
    for mailing_id in ids:
        begin = after.domain if after is not None and after.mailing_id == mailing_id else ""
        wanted = limit - len(found)
        rows = statements.BLOCKED_DOMAINS.run(
            session, mailing=mailing_id, after=begin, limit=wanted
        )
        found += [BlockedDomain(mailing_id, domain) for (domain,) in rows]
        if len(found) == limit:
            break
    return found


def claim_of_domain(
    session: Session,
    hold: Hold,
    blocked_domain: BlockedDomain,
    *,
    limit: int,
    now: datetime,
) -> list[Claim]:
    """Claim up to `limit` rows of a blocked domain, as `claim` does."""
    holding.lock_claims(session)
    of = {"mailing": blocked_domain.mailing_id, "blocked_domain": blocked_domain.domain}
    taken: list[Claim] = []
    is_all = False
    while not is_all and (wanted := limit - len(taken)):
        found, is_all = _claim_batch(
            session, statements.BATCH_OF_DOMAIN, hold, now, limit=wanted, **of
        )
        taken += found
    return taken


def put_back(
    session: Session, hold: Hold, *, blocked_domains: Mapping[int, str | None], now: datetime
) -> None:
    """Give back claimed rows that cannot be sent yet, each with its blocked domain if it has one.

    Rows that another transaction is changing keep their present domain.
    """
    if blocked_domains:
        hold.give_back(blocked_domains)
        rows = [(one, blocked_domains[one]) for one in _lock_free(session, blocked_domains)]
        statements.BLOCK.change(session, rows=json.dumps(rows), now=_stored(session, now))


def record(session: Session, hold: Hold, *, verdicts: Sequence[Verdict], now: datetime) -> None:
    """Write the outcomes of tries; rows that have ended meanwhile are not changed."""
    accepted = [v for v in verdicts if v.decision.state is State.ACCEPTED]
    others = [v for v in verdicts if v.decision.state is not State.ACCEPTED]
    if accepted:
        _record_accepted(session, hold, accepted, now)
    if others:
        _record_others(session, hold, others, now)
        hold.give_back(
            # A refused row has ended, and cannot be claimed again.
            verdict.delivery_id
            for verdict in others
            if verdict.outcome.kind is not Kind.REFUSED
        )


def withheld(session: Session, ids: Collection[int], excluded: Select[Any]) -> set[int]:
    """Return the mailings of `ids` that are in `excluded`."""
    found = session.execute(
        select_columns(col(Mailing.id)).where(
            col(Mailing.id).in_(ids), col(Mailing.id).in_(excluded)
        )
    )
    return set(found.scalars())


def held(session: Session, mailings: Select[Any]) -> set[int]:
    """Return the ids of the open rows of `mailings` that workers hold."""
    found = session.execute(
        # The + 0 keeps the planner from using the index over all rows of a mailing, as few are
        # held.
        select_columns(_id).where(holding.is_held(), (_mailing + 0).in_(mailings))
    )
    return set(found.scalars())


def next_due(session: Session, mailings: Select[Any] | None = None) -> datetime | None:
    """Return when the next row is due, without those of blocked domains; None if there is none."""
    earliest = select_columns(func.min(_WAITING.c.due_at)).where(
        *_narrowed(_WAITING, mailings, None)
    )
    found: datetime | None = session.execute(earliest).scalar()
    return found


def _agenda(
    session: Session, now: datetime, mailings: Select[Any] | None, excluded: Select[Any] | None
) -> Sequence[int]:
    """Return the mailings that have a due row, in sending order."""
    found = _due(mailings, excluded).run(session, now=_stored(session, now))
    return [row[-1] for row in sorted(found)]


@lru_cache(maxsize=16)
def _due(mailings: Select[Any] | None, excluded: Select[Any] | None) -> Statement:
    agenda = select_columns(_WAITING.c.priority, _WAITING.c.due_at, _WAITING.c.mailing_id)
    is_due = _WAITING.c.due_at <= bindparam("now", None, type_=_INSTANT)
    return Statement.of(agenda.where(is_due, *_narrowed(_WAITING, mailings, excluded)))


@lru_cache(maxsize=16)
def _with_blocked(mailings: Select[Any] | None, excluded: Select[Any] | None) -> Statement:
    agenda = select_columns(_BLOCKED_ROWS.c.priority, _BLOCKED_ROWS.c.mailing_id)
    is_free = _BLOCKED_ROWS.c.priority.is_not(None)
    return Statement.of(agenda.where(is_free, *_narrowed(_BLOCKED_ROWS, mailings, excluded)))


def _narrowed(
    agenda: Subquery, mailings: Select[Any] | None, excluded: Select[Any] | None
) -> Sequence[ColumnElement[bool]]:
    chosen = []
    if mailings is not None:
        chosen.append(agenda.c.mailing_id.in_(mailings))
    if excluded is not None:
        chosen.append(agenda.c.mailing_id.not_in(excluded))
    return chosen


def _mailings_with(rows: str, order: str) -> Subquery:
    """Select the mailings with such rows, with priority and due time of the first free row.

    A free row is one that no worker holds; without any, both columns are NULL. This is a loose
    index scan, whose cost is the same for a mailing with ten rows as for one with a million, such
    as that of a paused edition.
    """
    is_free = "id NOT IN (SELECT delivery_id FROM held)"
    return (
        text(
            f"""
            WITH RECURSIVE waiting(mailing_id) AS (
                SELECT min(mailing_id) FROM delivery WHERE {rows}
                UNION ALL
                SELECT (
                    SELECT min(mailing_id) FROM delivery
                    WHERE {rows} AND mailing_id > waiting.mailing_id
                ) FROM waiting WHERE waiting.mailing_id IS NOT NULL
            )
            SELECT
                mailing_id,
                (
                    SELECT priority FROM delivery
                    WHERE {rows} AND delivery.mailing_id = waiting.mailing_id AND {is_free}
                    ORDER BY {order} LIMIT 1
                ) AS priority,
                (
                    SELECT due_at FROM delivery
                    WHERE {rows} AND delivery.mailing_id = waiting.mailing_id AND {is_free}
                    ORDER BY {order} LIMIT 1
                ) AS due_at
            FROM waiting WHERE mailing_id IS NOT NULL
            """  # noqa: S608 - constants
        )
        .columns(column("mailing_id"), column("priority"), column("due_at", Instant()))
        .subquery("agenda")
    )


_WAITING = _mailings_with(CLAIMABLE, "due_at")
_BLOCKED_ROWS = _mailings_with(BLOCKED, "blocked_domain, due_at")


def _claim_batch(
    session: Session, batch: Statement, hold: Hold, now: datetime, *, limit: int, **of: object
) -> tuple[list[Claim], bool]:
    """Claim the rows of a batch for a worker; also return whether these were the last ones."""
    seen = json.dumps(list(hold.seen))
    ((found,),) = batch.run(session, now=_stored(session, now), seen=seen, limit=limit, **of)
    rows = json.loads(found or "[]")
    # Each distinct instant is parsed once, because all rows of a digest have the same ones.
    instant = {at: _instant(at) for at in {at for row in rows for at in row[5:7]}}
    found_ids = {row[0] for row in rows}
    claims, ended = _without_suppressed(
        session,
        [
            Claim(one, mailing, address, reference, generation, instant[since], instant[at], *rest)
            for one, mailing, address, reference, generation, since, at, *rest in rows
        ],
        now,
    )
    hold.seen |= found_ids - ended
    hold.take(claim.id for claim in claims)
    return claims, len(rows) < limit


def _instant(stored: str | None) -> Any:  # noqa: ANN401 - None only where the column may be
    """Parse an instant of a batch; SQLite's have no time zone and are in UTC."""
    if stored is None:
        return None
    found = datetime.fromisoformat(stored)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _without_suppressed(
    session: Session, claims: list[Claim], now: datetime
) -> tuple[list[Claim], set[int]]:
    """Skip the rows of suppressed addresses; return the other claims, and the ids of skipped rows.

    A row of a suppressed address that another transaction is changing is in neither result.
    """
    if not claims:
        return claims, set()
    addresses = json.dumps([claim.address for claim in claims])
    causes = dict(statements.SUPPRESSED.run(session, addresses=addresses))
    if not causes:
        return claims, set()
    asking = _asking(session, [claim for claim in claims if claim.address in causes])
    barred = {
        claim.id
        for claim in claims
        if claim.address in causes
        and not (claim.mailing_id in asking and suppression.is_liftable(causes[claim.address]))
    }
    ended = _lock_free(session, barred)
    cancellation.close(session, State.SKIPPED, Reason.SUPPRESSED, now, _id.in_(ended))
    return [claim for claim in claims if claim.id not in barred], ended


def _asking(session: Session, claims: Sequence[Claim]) -> set[int]:
    """Return the mailings that are confirm letters, because confirming lifts some suppressions."""
    mailings = json.dumps([*{claim.mailing_id for claim in claims}])
    return {row[0] for row in statements.ASKING.run(session, mailings=mailings)}


def _lock_free(session: Session, ids: Collection[int]) -> set[int]:
    """Lock the rows that no other transaction has locked, and return them."""
    return {row[0] for row in statements.UNLOCKED.run(session, ids=json.dumps(list(ids)))}


def _stored(session: Session, now: datetime) -> object:
    """Return the time in the form that raw statements need."""
    return dialects.stored(session, _INSTANT, now)


def _record_accepted(
    session: Session, hold: Hold, verdicts: Sequence[Verdict], now: datetime
) -> None:
    rows = [(v.delivery_id, v.outcome.code, v.outcome.enhanced, v.outcome.text) for v in verdicts]
    statements.ACCEPT.run(
        session, worker=hold.worker_id, now=_stored(session, now),
        ids=json.dumps([row[0] for row in rows]), rows=json.dumps(rows),
    )  # fmt: skip


def _record_others(
    session: Session, hold: Hold, verdicts: Sequence[Verdict], now: datetime
) -> None:
    rows = [
        (
            v.delivery_id,
            v.outcome.code,
            v.outcome.enhanced,
            v.outcome.text,
            v.outcome.kind,
            v.outcome.phase,
            v.decision.state,
            v.decision.state in OPEN,
            v.outcome.kind is not Kind.REFUSED,
            State.CANCELLED if v.decision.state in OPEN else v.decision.state,
            str(_stored(session, v.decision.due_at)),
            int(v.decision.is_charged),
            v.outcome.reaction,
        )
        for v in verdicts
    ]
    parameters = {
        "now": _stored(session, now), "worker": hold.worker_id, "rows": json.dumps(rows)
    }  # fmt: skip
    # The rows are locked first, so that an earlier erasure also keeps the reply from the attempt.
    ids = json.dumps([verdict.delivery_id for verdict in verdicts])
    statements.LOCK.run(session, ids=ids)
    statements.ATTEMPTED.change(session, **parameters)
    statements.MOVED.run(session, ids=ids, **parameters)
