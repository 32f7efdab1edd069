"""A delivery: one recipient's row of one mailing. These rows are the ledger."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, ForeignKey, Index, SmallInteger, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class State(StrEnum):
    """The state of a delivery.

    The column has no states for the work of a worker: rows stay queued or deferred until a try is
    over. `claimed` and `in_flight` are derived from the worker's registration (`ledger.holding`).
    """

    QUEUED = "queued"
    CLAIMED = "claimed"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


#: States of rows that can still be sent.
OPEN = (State.QUEUED, State.DEFERRED)

# Literals instead of parameters, because SQLite uses a partial index only if the query contains its
# condition literally.
CLAIMABLE = "delivery.state IN ('queued', 'deferred') AND delivery.blocked_domain IS NULL"
# The row waits for a rate limit or pause of its domain.
BLOCKED = "delivery.blocked_domain IS NOT NULL"
# Deliveries that were refused, which pages list by their replies.
REFUSED = "delivery.state = 'refused'"
# Deliveries that may or may not have arrived, which the operator must decide about.
UNKNOWN = "delivery.state = 'unknown'"


class Delivery(Table, table=True):
    """One recipient of one mailing, with an address and a reference, as an entry of an SMTP queue.

    It has no foreign key to subscriber or edition.
    """

    # Conditions of partial indexes are kept in `info`: as dialect options they would import both
    # dialects in every command. The migrations create the indexes.
    __table_args__ = (
        UniqueConstraint("mailing_id", "reference", name="uq_delivery_mailing_reference"),
        Index(
            "ix_delivery_claimable",
            "mailing_id",
            "due_at",
            "id",
            info={"where": CLAIMABLE},
        ),
        Index(
            "ix_delivery_blocked_domain",
            "mailing_id",
            "blocked_domain",
            "due_at",
            "id",
            info={"where": BLOCKED},
        ),
        Index("ix_delivery_refused", "mailing_id", "code", "enhanced", info={"where": REFUSED}),
        Index("ix_delivery_reference", "reference"),
        Index("ix_delivery_unknown", "state_at", info={"where": UNKNOWN}),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    mailing_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing.id"), nullable=False))
    address: str = Field(max_length=254)
    #: The recipient's public id, for links and the Message-ID.
    reference: str = Field(max_length=16)
    #: The generation of the recipient's consent when the row was made.
    generation: int
    #: The time at which the recipient subscribed, for the footer.
    since_at: datetime | None = Field(default=None, sa_type=Instant)
    state: str = Field(max_length=10)
    #: The priority: 0 for letters, 1 for corrections, 2 for digests; the lowest is sent first.
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    due_at: datetime = Field(sa_type=Instant)
    #: The domain whose rate limit or pause the row waits for, although it is due.
    blocked_domain: str | None = Field(default=None, max_length=253)
    #: The number of tries with a reply about the reader, or whose message may have arrived.
    attempts: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False))
    #: The time of the last change of state.
    state_at: datetime = Field(sa_type=Instant)
    #: The last reply: basic code, enhanced code (RFC 3463), text.
    code: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    enhanced: str | None = Field(default=None, max_length=12)
    reply: str | None = Field(default=None, max_length=512)
    #: Why the delivery was skipped or cancelled.
    reason: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(sa_type=Instant)
