"""The freeze lock: the one row whose lock orders freezes and `seen_at` instants."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class FreezeLock(Table, table=True):
    """The one row whose lock is the freeze lock (see `newsletter.db.session.freeze_lock`)."""

    __tablename__ = "freeze_lock"

    id: int = Field(default=1, primary_key=True)
    created_at: datetime = Field(sa_type=Instant)
    #: The latest instant used as `seen_at` or coverage end; the next one must be later.
    latest_instant: datetime = Field(sa_type=Instant)
    #: The time at which a fetch of all feeds last ended, by the clock of its process.
    fetched_at: datetime | None = Field(default=None, sa_type=Instant)
