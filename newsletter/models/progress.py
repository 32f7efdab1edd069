"""Progress: how far the sending has come, as far as this database knows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant


class Progress(SQLModel, table=True):
    """The one row that a worker moves on while it sends (see `newsletter.db.restore_guard`)."""

    id: int = Field(default=1, primary_key=True)
    #: How many times it was moved on.
    serial: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    worked_until: datetime = Field(sa_type=Instant)
