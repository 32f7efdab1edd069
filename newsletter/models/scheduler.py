"""The scheduler's last run: that of `newsletter cron`, or of a worker that keeps the calendar."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant


class SchedulerRun(SQLModel, table=True):
    """The one row that each run writes when it has ended."""

    __tablename__ = "scheduler_run"

    id: int = Field(default=1, primary_key=True)
    #: cron, worker.
    command: str = Field(max_length=16)
    host: str = Field(max_length=64)
    pid: int
    began_at: datetime = Field(sa_type=Instant)
    ended_at: datetime = Field(sa_type=Instant)
    #: What kept it from doing all of its work; none when it went well.
    error: str | None = Field(default=None)
