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

    Rows have no state for what a worker does with them at the moment: they stay queued or deferred
    until it is over. `claimed` and `in_flight` are derived from what the worker has registered
    (`ledger.holding`).
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

# Literals, not parameters: SQLite uses a partial index only if the query has its literal condition.
CLAIMABLE = "delivery.state IN ('queued', 'deferred') AND delivery.blocked_domain IS NULL"
# Waits for a rate limit or pause of its domain.
BLOCKED = "delivery.blocked_domain IS NOT NULL"


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
        Index("ix_delivery_reference", "reference"),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    mailing_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing.id"), nullable=False))
    address: str = Field(max_length=254)
    #: The recipient's public id, for links and the Message-ID.
    reference: str = Field(max_length=16)
    #: The generation of their consent when the row was made.
    generation: int
    #: When they subscribed, for the footer.
    since_at: datetime | None = Field(default=None, sa_type=Instant)
    state: str = Field(max_length=10)
    #: 0 letters, 1 corrections, 2 digests; the lowest is sent first.
    priority: int = Field(sa_column=Column(SmallInteger, nullable=False))
    due_at: datetime = Field(sa_type=Instant)
    #: The domain whose rate limit or pause the row waits for, although it is due.
    blocked_domain: str | None = Field(default=None, max_length=253)
    #: Tries that the reader's server answered or that may have reached it.
    attempts: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False))
    #: When the state last changed.
    state_at: datetime = Field(sa_type=Instant)
    #: The last reply: basic code, enhanced code (RFC 3463), text.
    code: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    enhanced: str | None = Field(default=None, max_length=12)
    reply: str | None = Field(default=None, max_length=512)
    #: Why it was skipped or cancelled.
    reason: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(sa_type=Instant)
