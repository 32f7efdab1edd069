"""The audit log: what operators and editors did, by whom and when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Audit(Table, table=True):
    """One action; append-only, written in the transaction of the action itself."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    at: datetime = Field(sa_type=Instant, index=True)
    #: Interface and person: "cli:mia".
    actor: str = Field(max_length=100)
    #: Noun and verb, as the command has them: "articles.hold".
    action: str = Field(max_length=40)
    #: The object of the action: "article:12", "edition:weekly-2026-12-07", "note:weekly".
    subject: str = Field(max_length=64, index=True)
    #: The subject's title at that time, or the text of a note.
    detail: str = Field(default="")
    #: The changed value before and after, as text; empty where an action has none.
    before: str = Field(default="")
    after: str = Field(default="")
