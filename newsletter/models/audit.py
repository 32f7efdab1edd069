"""The audit: what operators and editors did, by whom and when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class Audit(SQLModel, table=True):
    """One act; rows are only ever added, in the transaction of the act itself."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    at: datetime = Field(sa_type=Instant, index=True)
    #: The door and the person: "cli:mia".
    actor: str = Field(max_length=100)
    #: Noun and verb, as the command has them: "articles.hold".
    action: str = Field(max_length=40)
    #: What it was done to: "article:12", "edition:weekly-2026-12-07", "note:weekly".
    subject: str = Field(max_length=64, index=True)
    #: What the subject was called at that time, or what was said.
    detail: str = Field(default="")
