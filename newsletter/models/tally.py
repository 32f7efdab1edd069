"""Kept counts: how many rows there are of a kind, and how often something happened."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import RowId
from newsletter.models.table import Table


class TallyPart(Table, table=True):
    """A part of a count: the count is the sum of the parts that have the same name and key.

    Rows without a worker are only added, and folded later; those of a worker are changed by that
    worker alone. So no two transactions wait for each other to count. See `newsletter.tally`.
    """

    __tablename__ = "tally"
    __table_args__ = (
        # NULLs are distinct: any number of rows without a worker.
        UniqueConstraint("worker_id", "name", "mailing_id", "key", name="uq_tally"),
        Index("ix_tally_mailing", "mailing_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: The worker that counts in this row; None for any other transaction; 0 for what was folded.
    worker_id: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    #: What is counted: see `newsletter.tally.Name`.
    name: str = Field(max_length=12)
    #: Of which mailing; 0 for what is not counted by mailing.
    mailing_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: Words, separated by spaces: "accepted", "weekly active".
    key: str = Field(max_length=40)
    #: How many more, or fewer.
    change: int = Field(sa_column=Column(BigInteger, nullable=False))
