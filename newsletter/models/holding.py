"""The claims of workers: one row for each registered worker."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey
from sqlmodel import Field

from newsletter.models.table import Table


class Holding(Table, table=True):
    """The deliveries that a worker has claimed, in one array that is replaced whole.

    It is a table of its own, because the worker's row is rewritten with every commit, and an array
    of hundreds of ids would be copied each time.
    """

    worker_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("worker.id"), primary_key=True, autoincrement=False)
    )
    #: Ids of deliveries, possibly including some that have ended since.
    ids: list[int] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
