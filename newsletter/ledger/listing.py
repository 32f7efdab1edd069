"""Lists deliveries with their addresses and replies for operators, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Select, text
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter.ledger import holding, message_ids, reports
from newsletter.models import Delivery, Mailing, State
from newsletter.models.delivery import UNKNOWN


def deliveries(
    session: Session,
    *,
    state: State | None = None,
    mailings: Select[Any] | None = None,
    reference: str | None = None,
    limit: int | None = None,
) -> Iterator[Mapping[str, object]]:
    """Yield deliveries, oldest first, each with the Message-ID that mail servers log."""
    wanted = select_columns(
        Delivery,
        holding.state(),
        reports.last_verdict(),
        col(Mailing.public_id),
        col(Mailing.domain),
        col(Mailing.subject),
    ).join(Mailing, col(Mailing.id) == col(Delivery.mailing_id))
    if state is not None:
        wanted = wanted.where(holding.state() == state)
    if mailings is not None:
        wanted = wanted.where(col(Delivery.mailing_id).in_(mailings))
    if reference is not None:
        wanted = wanted.where(col(Delivery.reference) == reference)
    wanted = wanted.order_by(col(Delivery.id)).limit(limit)
    streamed = wanted.execution_options(yield_per=1000)
    for delivery, now, returned, mailing, domain, subject in session.execute(streamed):
        yield {
            "id": delivery.id,
            "address": delivery.address,
            "state": now,
            # The verdict of the last report about the delivery.
            "returned": returned,
            "attempts": delivery.attempts,
            "code": delivery.code,
            "enhanced": delivery.enhanced,
            "reply": delivery.reply,
            "reason": delivery.reason,
            "state_at": delivery.state_at,
            "due_at": delivery.due_at,
            "blocked_domain": delivery.blocked_domain,
            # Name of `blocked_domain` before 0.2; kept for one release.
            "lane": delivery.blocked_domain,
            "subject": subject,
            "message_id": message_ids.make(mailing, delivery.reference, domain),
        }


def unknown(session: Session, *, limit: int) -> list[Delivery]:
    """Return the latest deliveries that may or may not have arrived, found by their index."""
    chosen = select_columns(Delivery).where(text(UNKNOWN)).order_by(col(Delivery.state_at).desc())
    return list(session.execute(chosen.limit(limit)).scalars())
