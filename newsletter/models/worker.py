"""A registered process: a worker that claims deliveries, or a web server."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Column
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class ProcessKind(StrEnum):
    """The kind of a registered process."""

    #: Claims deliveries: `worker`, `send`, `cron`, and `serve` for its letters.
    WORKER = "worker"
    #: Serves the readers' pages.
    WEB = "web"


class Worker(Table, table=True):
    """One running process; its rows are taken over after a crash or when its lease has expired."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: A random name, which is also a part of the name of the lock file (the liveness lock).
    name: str = Field(max_length=32, unique=True)
    kind: str = Field(default=ProcessKind.WORKER, max_length=8)
    #: The program's version; None for versions that did not record it.
    version: str | None = Field(default=None, max_length=32)
    host: str = Field(max_length=64)
    pid: int
    started_at: datetime = Field(sa_type=Instant)
    lease_until: datetime = Field(sa_type=Instant)
    #: Ids of the deliveries whose bodies may be leaving; each commit replaces the whole array.
    in_flight: list[int] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
