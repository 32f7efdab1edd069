"""The last run of the scheduler: of `newsletter cron`, or of a worker with --schedule."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class SchedulerRun(Table, table=True):
    """The one row that each run writes at its end."""

    __tablename__ = "scheduler_run"

    id: int = Field(default=1, primary_key=True)
    #: The command: cron or worker.
    command: str = Field(max_length=16)
    host: str = Field(max_length=64)
    pid: int
    began_at: datetime = Field(sa_type=Instant)
    ended_at: datetime = Field(sa_type=Instant)
    #: The first error of the run; None if it succeeded.
    error: str | None = Field(default=None)
    #: The end of the last run without an error.
    succeeded_at: datetime | None = Field(default=None, sa_type=Instant)
