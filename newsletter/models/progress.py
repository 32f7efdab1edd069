"""Progress: how far the sending has come, as far as this database knows."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant


class Progress(SQLModel, table=True):
    """The one row that a worker moves on while it sends (see `newsletter.db.witness`)."""

    id: int = Field(default=1, primary_key=True)
    worked_until: datetime = Field(sa_type=Instant)
