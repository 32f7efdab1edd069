"""A subscriber: one address, one cadence, one status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column, Index
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Status(StrEnum):
    """The status of a subscriber; editions go to ACTIVE ones only."""

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"


class Subscriber(Table, table=True):
    """One reader of the publication."""

    __table_args__ = (
        Index("ix_subscriber_audience", "cadence", "status", "watermark"),
        # For lists by pages.
        Index("ix_subscriber_newest", "cadence", "status", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: The id in links, instead of the address: 16 random base64url characters.
    public_id: str = Field(max_length=16, unique=True)
    address: str = Field(max_length=254, unique=True)
    cadence: str = Field(max_length=8)
    status: str = Field(max_length=12)
    #: The number of the consent; links made under an earlier one are void.
    generation: int = Field(default=1)
    #: Coverage end of the last edition accepted for the reader; None before the first one.
    watermark: datetime | None = Field(default=None, sa_type=Instant)
    #: The time at which the current consent began.
    subscribed_at: datetime | None = Field(default=None, sa_type=Instant)
    paused_until: datetime | None = Field(default=None, sa_type=Instant)
    #: The language as a BCP 47 tag, if known.
    language: str | None = Field(default=None, max_length=35)
    #: The time zone as an IANA name, if known.
    timezone: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)
