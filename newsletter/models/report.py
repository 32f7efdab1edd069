"""A report: what a bounce, a complaint or a provider's event says of a delivery."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, SmallInteger, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table

#: Reports that name no delivery of ours, for the operator.
UNPLACED = "report.delivery_id IS NULL"


class Report(Table, table=True):
    """What came back of one delivery, beside its outcome; or a report that could not be placed.

    A delivery has one report of each verdict: the same one again, from elsewhere or read twice,
    says nothing new.
    """

    __table_args__ = (
        UniqueConstraint("delivery_id", "verdict", name="uq_report_delivery_verdict"),
        Index("ix_report_books", "mailing_id", "kind", "delivery_id"),
        # The migration creates it, see `Delivery`.
        Index("ix_report_unplaced", "at", info={"where": UNPLACED}),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: None if it names no delivery of ours: then it has no effect.
    delivery_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("delivery.id"), nullable=True)
    )
    #: The mailing of the delivery, in whose books it counts if the delivery was accepted.
    mailing_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("mailing.id"), nullable=True)
    )
    #: mail, or the provider's name.
    source: str = Field(max_length=12)
    #: bounce, complaint, unsubscribe, auto, delayed, delivered, other.
    kind: str = Field(max_length=12)
    #: See `feedback.bounce.Verdict`.
    verdict: str = Field(max_length=10)
    #: Whom the report names; empty if nobody.
    recipient: str = Field(max_length=254)
    code: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    enhanced: str | None = Field(default=None, max_length=12)
    phase: str | None = Field(default=None, max_length=10)
    reply: str | None = Field(default=None, max_length=512)
    #: Why it has less effect than it says, or none.
    reason: str | None = Field(default=None, max_length=64)
    #: Whether it has none: it is of an earlier consent, or of what was never accepted.
    is_void: bool = Field(default=False)
    at: datetime = Field(sa_type=Instant)


class Receipt(Table, table=True):
    """A mail, an event or a signature that has been seen: it counts once."""

    #: Keyed by source and id, hashed.
    key: str = Field(max_length=48, primary_key=True)
    at: datetime = Field(sa_type=Instant, index=True)


class Rejection(Table, table=True):
    """How many reports of a source were rejected for a cause: forged, replayed, malformed."""

    source: str = Field(max_length=12, primary_key=True)
    cause: str = Field(max_length=24, primary_key=True)
    count: int
    #: The last one.
    at: datetime = Field(sa_type=Instant)
