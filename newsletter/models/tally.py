"""Kept counts, of rows by kind and of events."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import RowId
from newsletter.models.table import Table


class TallyPart(Table, table=True):
    """A part of a count, which is the sum of all parts with the same name, mailing and key.

    Rows without a worker are only inserted, and later replaced by their sums; rows of a worker are
    changed by that worker only. So transactions never wait for each other. See `newsletter.tally`.
    """

    __tablename__ = "tally"
    __table_args__ = (
        # NULLs are distinct, so any number of rows without a worker is allowed.
        UniqueConstraint("worker_id", "name", "mailing_id", "key", name="uq_tally"),
        Index("ix_tally_mailing", "mailing_id"),
        Index("ix_tally_name", "name", "key"),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: The worker that updates this row; None for any other transaction; 0 for folded rows.
    worker_id: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    #: The name of the count: see `newsletter.tally.Name`.
    name: str = Field(max_length=12)
    #: The id of the mailing; 0 for counts without a mailing.
    mailing_id: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    #: Words separated by spaces, such as "accepted" or "weekly active".
    key: str = Field(max_length=40)
    #: The change of the count, positive or negative.
    change: int = Field(sa_column=Column(BigInteger, nullable=False))
