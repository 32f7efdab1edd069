"""Pace: how fast mail may go, in all and to each destination that has asked for less."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, SmallInteger
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant

#: The key of the row that is about all mail.
EVERYONE = "*"


class Pace(SQLModel, table=True):
    """One destination domain, or everyone."""

    key: str = Field(max_length=253, primary_key=True)
    #: When the next message may go.
    next_at: datetime = Field(sa_type=Instant)
    #: How many messages at a time; none for as many as there are connections.
    connections: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    #: Messages that were accepted since there was one connection more.
    successes: int = 0
    #: Until when nothing goes there.
    paused_until: datetime | None = Field(default=None, sa_type=Instant)
    #: What the server said.
    reply: str = Field(default="", max_length=512)
    changed_at: datetime = Field(sa_type=Instant)


class RateWindow(SQLModel, table=True):
    """How many messages of one limit were let go in one slice of its window."""

    __tablename__ = "rate_window"

    #: hour, day.
    name: str = Field(max_length=8, primary_key=True)
    began_at: datetime = Field(sa_type=Instant, primary_key=True)
    count: int
