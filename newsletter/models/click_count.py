"""How often the articles of an edition were opened from its mails."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column
from sqlmodel import Field

from newsletter.models.table import Table


class ClickCount(Table, table=True):
    """The part of a count that one web process has counted; the count is the sum of its parts.

    Each process changes its own rows only, so processes never wait for each other. There is nothing
    of a reader here. Edition and article are as the links have them; after a restored backup they
    may be unknown, so they are no foreign keys.
    """

    __tablename__ = "click_count"

    #: The name of the edition: weekly-2026-11-23.
    edition: str = Field(max_length=18, primary_key=True)
    article_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    #: A random number of the process; 0 for the row of an article that is added with the edition.
    process_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    clicks: int = Field(sa_column=Column(BigInteger, nullable=False))
