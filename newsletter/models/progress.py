"""Progress: the send serial of this database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant


class Progress(SQLModel, table=True):
    """The one row that workers advance while they send (see `newsletter.db.restore_guard`)."""

    id: int = Field(default=1, primary_key=True)
    #: Increases whenever mail is being sent.
    serial: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    worked_until: datetime = Field(sa_type=Instant)
