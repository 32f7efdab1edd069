"""An edition: one digest of one cadence and one period."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class EditionState(StrEnum):
    """The state of an edition."""

    OPEN = "open"
    FINISHED = "finished"
    SKIPPED = "skipped"
    PAUSED = "paused"
    CANCELLED = "cancelled"


class Edition(Table, table=True):
    """One digest; the unique key makes creation idempotent, across any number of machines."""

    __table_args__ = (UniqueConstraint("cadence", "period", name="uq_edition_cadence_period"),)

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    cadence: str = Field(max_length=8)
    #: The local calendar date on which it is due.
    period: date
    state: str = Field(max_length=12)
    #: Why it was skipped or cancelled.
    reason: str | None = Field(default=None)
    #: The rates, of bounced or complained, that have paused it; each does so once.
    alarmed: str | None = Field(default=None, max_length=24)
    #: Start of the coverage for readers without a watermark.
    coverage_start: datetime = Field(sa_type=Instant)
    #: The instant of the freeze.
    coverage_end: datetime = Field(sa_type=Instant)
    #: Number of readers; the counts of its deliveries by state sum to this at every instant.
    audience: int = Field(default=0)
    created_at: datetime = Field(sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    #: When the watermarks of its readers were last settled with no row open.
    settled_at: datetime | None = Field(default=None, sa_type=Instant)
