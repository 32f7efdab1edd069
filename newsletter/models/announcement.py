"""An announcement: a text of the publisher to chosen readers, as a draft or sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Announcement(Table, table=True):
    """One announcement; it can be changed until its edition is made, and never after."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: Empty only in a draft.
    subject: str
    #: The text as Markdown.
    text: str
    #: Whose readers get it: "all", a cadence, or the name of an edition that they got.
    audience: str = Field(max_length=40)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)
    #: The edition with its deliveries; None for a draft.
    edition_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("edition.id"), nullable=True, unique=True),
    )
