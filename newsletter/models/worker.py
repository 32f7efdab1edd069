"""A worker: a process that claims deliveries, alive while its lease is."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class Worker(SQLModel, table=True):
    """One running sender; what it holds is taken over when it is dead or its lease has ended."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: Random; also the name of the lock file whose lock dies with the process.
    name: str = Field(max_length=32, unique=True)
    host: str = Field(max_length=64)
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    lease_until: datetime = Field(sa_type=Instant)
