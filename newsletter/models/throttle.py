"""Throttle: how often something was done lately, one row for each limit and whom it binds."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant


class Throttle(SQLModel, table=True):
    """One window of one limit; it begins with the first use and is written over by the next."""

    #: The limit's name and a keyed hash: no address of a person or a machine stands here.
    key: str = Field(max_length=80, primary_key=True)
    began_at: datetime = Field(sa_type=Instant)
    #: When the row means nothing any more.
    ends_at: datetime = Field(sa_type=Instant, index=True)
    count: int
