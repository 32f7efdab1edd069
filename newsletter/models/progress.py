"""Progress: the send serial of this database."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column
from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class Progress(Table, table=True):
    """The one row that workers advance while they send (see `newsletter.db.restore_guard`)."""

    id: int = Field(default=1, primary_key=True)
    #: A number that increases whenever mail is being sent.
    serial: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    worked_until: datetime = Field(sa_type=Instant)
    #: The last reply of a server that ended or deferred a delivery, as of the last renewal.
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
