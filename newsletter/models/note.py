"""A note: the editor's text above the articles of one edition."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Note(Table, table=True):
    """One note; at most one per cadence waits for the next edition."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    cadence: str = Field(max_length=8)
    #: The text as Markdown.
    text: str
    created_at: datetime = Field(sa_type=Instant)
    #: The edition with this note; None while it waits.
    edition_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("edition.id"), nullable=True, index=True),
    )
