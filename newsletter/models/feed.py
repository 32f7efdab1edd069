"""A feed: a source of articles."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Column
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Feed(Table, table=True):
    """One RSS, RDF, Atom or JSON feed, by URL or by absolute path of a file."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    url: str = Field(unique=True)
    title: str = Field(default="")
    #: Validators of the last response, for a conditional request (RFC 9110 13.1).
    etag: str | None = Field(default=None)
    last_modified: str | None = Field(default=None)
    added_at: datetime = Field(sa_type=Instant)
    #: The time of the last fetch, and of the last successful one.
    fetched_at: datetime | None = Field(default=None, sa_type=Instant)
    succeeded_at: datetime | None = Field(default=None, sa_type=Instant)
    #: Why the last fetch failed; None if it succeeded.
    error: str | None = Field(default=None)
    #: The number of consecutive failures.
    failures: int = Field(default=0)
    #: The number of items when the document was last read completely.
    items: int = Field(default=0)
    #: The earliest time of the next fetch, unless an edition is due; None for now (see
    #: `articles.polling`).
    next_fetch_at: datetime | None = Field(default=None, sa_type=Instant)
    #: After a failure: back_off, retry_after, or gone (not polled again).
    waits_for: str | None = Field(default=None, max_length=16)
    #: How long the document may be cached (RSS `ttl`), in minutes.
    ttl_minutes: int | None = Field(default=None)
    #: Hours of the week in UTC without polling; 0 begins Monday 00:00 (RSS `skipHours`,
    #: `skipDays`).
    skip_hours: list[int] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    #: The time of the last notice to the operator about the failure; None if there is no failure.
    reported_at: datetime | None = Field(default=None, sa_type=Instant)
