"""A feed: where articles come from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class Feed(SQLModel, table=True):
    """One RSS, RDF, Atom or JSON feed, by URL or by absolute path of a file."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    url: str = Field(unique=True)
    title: str = Field(default="")
    #: Validators of the last answer, for a conditional request (RFC 9110 13.1).
    etag: str | None = Field(default=None)
    last_modified: str | None = Field(default=None)
    added_at: datetime = Field(sa_type=Instant)
    #: The last try, and the last one that went well.
    fetched_at: datetime | None = Field(default=None, sa_type=Instant)
    succeeded_at: datetime | None = Field(default=None, sa_type=Instant)
    #: Why the last try failed; none when it went well.
    error: str | None = Field(default=None)
    #: Failures in a row.
    failures: int = Field(default=0)
    #: How many items its document had when it was last read in full.
    items: int = Field(default=0)
    #: Not asked earlier, unless an edition is due; none for at once (see `articles.polling`).
    next_fetch_at: datetime | None = Field(default=None, sa_type=Instant)
    #: After a failure: back_off, retry_after, or gone for never again.
    waits_for: str | None = Field(default=None, max_length=16)
    #: How long the document says that it may be kept (RSS `ttl`).
    ttl_minutes: int | None = Field(default=None)
    #: Hours of the week in UTC, 0 for Monday's first, in which it does not want to be asked.
    skip_hours: list[int] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    #: When the operator was last told that it fails; none when they know that it does not.
    reported_at: datetime | None = Field(default=None, sa_type=Instant)
