"""An edition: one digest of one cadence and one period."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field

from newsletter import cadences
from newsletter.cadences import Cadence
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
    #: The local calendar date on which the edition is due.
    period: date
    state: str = Field(max_length=12)
    #: Why the edition was skipped or cancelled.
    reason: str | None = Field(default=None)
    #: The alarms (bounced, complained) that have paused the edition; each one does so once.
    alarmed: str | None = Field(default=None, max_length=24)
    #: Start of the coverage for readers without a watermark.
    coverage_start: datetime = Field(sa_type=Instant)
    #: The instant of the freeze.
    coverage_end: datetime = Field(sa_type=Instant)
    #: Number of readers, which is the sum of the edition's deliveries by state at any time.
    audience: int = Field(default=0)
    created_at: datetime = Field(sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    #: The time at which the readers' watermarks were last settled while no row was open.
    settled_at: datetime | None = Field(default=None, sa_type=Instant)

    @property
    def name(self) -> str:
        """The name in commands, URLs and the audit log: weekly-2026-11-23."""
        return cadences.slug(Cadence(self.cadence), self.period)
