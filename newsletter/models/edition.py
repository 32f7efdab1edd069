"""An edition: one digest of one cadence and one period, or one announcement."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field

from newsletter import cadences
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
    """One digest or announcement.

    The unique key makes the creation of a digest idempotent, across any number of machines.
    """

    __table_args__ = (UniqueConstraint("cadence", "period", name="uq_edition_cadence_period"),)

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: For an announcement, `extra`, or `extra-2` for the second one of the same date.
    cadence: str = Field(max_length=8)
    #: The local calendar date on which the edition is due; for an announcement, that of its freeze.
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
    #: The time at which the readers' watermarks were last settled while no row was open. An
    #: announcement has no part in watermarks, and is settled from the beginning.
    settled_at: datetime | None = Field(default=None, sa_type=Instant)

    @property
    def name(self) -> str:
        """The name in commands, URLs and the audit log: weekly-2026-11-23."""
        return cadences.slug(self.cadence, self.period)

    @property
    def is_announcement(self) -> bool:
        """Whether the edition is an announcement, and no digest."""
        return cadences.is_extra(self.cadence)
