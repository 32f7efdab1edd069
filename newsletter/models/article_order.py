"""The order that an editor has given to the articles of the next edition of a cadence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Column
from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class ArticleOrder(Table, table=True):
    """One order, which waits for the next edition of its cadence; the freeze deletes it."""

    __tablename__ = "article_order"

    cadence: str = Field(max_length=8, primary_key=True)
    #: The ids of the articles that come first, in their order.
    article_ids: list[int] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    changed_at: datetime = Field(sa_type=Instant)
