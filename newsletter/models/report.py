"""A report: a bounce, a complaint or another event about a delivery."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, SmallInteger, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table

#: The condition of unplaced reports, which have no known delivery.
UNPLACED = "report.delivery_id IS NULL"


class Report(Table, table=True):
    """One report about a delivery, in addition to its outcome, or one without a known delivery.

    A delivery has at most one report of each verdict: a repeated one, read twice or from another
    source, has no effect.
    """

    __table_args__ = (
        UniqueConstraint("delivery_id", "verdict", name="uq_report_delivery_verdict"),
        Index("ix_report_books", "mailing_id", "kind", "delivery_id"),
        # A partial index, which the migration creates; see `Delivery`.
        Index("ix_report_unplaced", "at", info={"where": UNPLACED}),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: The delivery; None if it is not known, and then the report has no effect.
    delivery_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("delivery.id"), nullable=True)
    )
    #: The mailing for which the report is counted if the delivery was accepted; None if it is not.
    mailing_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("mailing.id"), nullable=True)
    )
    #: The source: mail, or the provider's name.
    source: str = Field(max_length=12)
    #: The kind: bounce, complaint, unsubscribe, auto, delayed, delivered or other.
    kind: str = Field(max_length=12)
    #: See `feedback.reports.Verdict`.
    verdict: str = Field(max_length=10)
    #: The recipient in the report; empty if there is none.
    recipient: str = Field(max_length=254)
    code: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    enhanced: str | None = Field(default=None, max_length=12)
    phase: str | None = Field(default=None, max_length=10)
    reply: str | None = Field(default=None, max_length=512)
    #: Why the report has less effect than its verdict, or no effect.
    reason: str | None = Field(default=None, max_length=64)
    #: Whether the report has no effect, as it belongs to an earlier consent or a mail never
    #: accepted.
    is_void: bool = Field(default=False)
    at: datetime = Field(sa_type=Instant)


class Receipt(Table, table=True):
    """The receipt of a mail, an event or a signature, so that it counts only once."""

    #: The hash of source and id.
    key: str = Field(max_length=48, primary_key=True)
    at: datetime = Field(sa_type=Instant, index=True)


class Rejection(Table, table=True):
    """The number of rejected reports by source and cause: forged, replayed, malformed."""

    source: str = Field(max_length=12, primary_key=True)
    cause: str = Field(max_length=24, primary_key=True)
    count: int
    #: The time of the last rejection.
    at: datetime = Field(sa_type=Instant)
