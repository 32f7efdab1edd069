"""A process at work: a worker that claims deliveries, or a web server; alive while its lease is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class ProcessKind(StrEnum):
    """What a process is there for."""

    #: It claims deliveries: `worker`, `send`, `cron`, and `serve` for its letters.
    WORKER = "worker"
    #: It serves the readers' pages.
    WEB = "web"


class Worker(SQLModel, table=True):
    """One running process; what it holds is taken over when it is dead or its lease has ended."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: Random; also the name of the lock file whose lock dies with the process.
    name: str = Field(max_length=32, unique=True)
    kind: str = Field(default=ProcessKind.WORKER, max_length=8)
    #: The program's version, None before processes told it.
    version: str | None = Field(default=None, max_length=32)
    host: str = Field(max_length=64)
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    lease_until: datetime = Field(sa_type=Instant)
