"""Throttle: rate limits of the web, one row per limit and client or address."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class Throttle(Table, table=True):
    """One window of one limit; it begins at the first use, and the next window overwrites it."""

    #: The limit's name and a keyed hash: no e-mail or IP address is stored.
    key: str = Field(max_length=80, primary_key=True)
    began_at: datetime = Field(sa_type=Instant)
    #: The end of the window, after which the row can be deleted.
    ends_at: datetime = Field(sa_type=Instant, index=True)
    count: int
