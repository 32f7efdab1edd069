"""An article: one item of a feed, or one added by hand."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, UniqueConstraint
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class ArticleState(StrEnum):
    """Whether editions may have an article: only one that is out."""

    OUT = "out"
    QUARANTINED = "quarantined"
    HELD = "held"
    REJECTED = "rejected"


class Article(SQLModel, table=True):
    """One article; `newsletter.articles.matching` says which item of a feed it is."""

    __table_args__ = (UniqueConstraint("feed_id", "guid", name="uq_article_feed_guid"),)

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    feed_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("feed.id", ondelete="SET NULL"), nullable=True),
    )
    guid: str | None = Field(default=None)
    #: Canonical; items of one feed may share it.
    link: str = Field(index=True)
    title: str
    #: Plain text, one or two sentences.
    standfirst: str = Field(default="")
    image_url: str | None = Field(default=None)
    image_width: int | None = Field(default=None)
    image_height: int | None = Field(default=None)
    image_alt: str | None = Field(default=None)
    author: str | None = Field(default=None)
    source: str | None = Field(default=None)
    categories: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    #: Reading time.
    minutes: int = Field(default=1)
    published_at: datetime | None = Field(default=None, sa_type=Instant)
    #: When we first had it, given under the freeze lock; none while no edition may have it.
    seen_at: datetime | None = Field(default=None, sa_type=Instant, index=True)
    quarantined_at: datetime | None = Field(default=None, sa_type=Instant)
    #: ancient, future, republished, archive, flood.
    quarantine_reason: str | None = Field(default=None, max_length=16)
    #: When the editor took it back before any edition had it, until it is released.
    held_at: datetime | None = Field(default=None, sa_type=Instant)
    #: When the editor refused it, for good.
    rejected_at: datetime | None = Field(default=None, sa_type=Instant)
    #: When it was chosen to lead: it leads the first edition of each cadence after this.
    pinned_at: datetime | None = Field(default=None, sa_type=Instant)
    #: SHA-256 of what a reader sees of it.
    content_hash: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)

    @property
    def state(self) -> ArticleState:
        """Where it stands between the feed and an edition."""
        if self.seen_at is not None:
            return ArticleState.OUT
        if self.rejected_at is not None:
            return ArticleState.REJECTED
        return ArticleState.QUARANTINED if self.held_at is None else ArticleState.HELD


class ArticleAlias(SQLModel, table=True):
    """What a feed calls an article that it shares with another feed, whose article it is."""

    __tablename__ = "article_alias"

    feed_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("feed.id", ondelete="CASCADE"), primary_key=True)
    )
    article_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("article.id", ondelete="CASCADE"), primary_key=True)
    )
    guid: str | None = Field(default=None)
    link: str = Field(index=True)
    title: str
