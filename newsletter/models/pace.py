"""Pace: rate limits and pauses, in all and per destination domain."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, SmallInteger
from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table

#: The key of the row for all mail.
EVERYONE = "*"


class Pace(Table, table=True):
    """The limits of one destination domain, or of all mail."""

    key: str = Field(max_length=253, primary_key=True)
    #: The time at which the next message may be sent.
    next_at: datetime = Field(sa_type=Instant)
    #: Maximum number of concurrent messages; None if only the number of connections limits it.
    connections: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    #: Messages accepted since the last increase of `connections`.
    successes: int = 0
    #: The end of a pause, before which no message is sent to the domain.
    paused_until: datetime | None = Field(default=None, sa_type=Instant)
    #: The reply that caused the pause.
    reply: str = Field(default="", max_length=512)
    changed_at: datetime = Field(sa_type=Instant)


class RateWindow(Table, table=True):
    """Messages counted against one rate limit in one slice of its window."""

    __tablename__ = "rate_window"

    #: The length of the window: hour or day.
    name: str = Field(max_length=8, primary_key=True)
    began_at: datetime = Field(sa_type=Instant, primary_key=True)
    count: int
