"""An article: one item of a feed, or one added by hand."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, UniqueConstraint
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class ArticleState(StrEnum):
    """The state of an article; editions use only those in state OUT."""

    OUT = "out"
    QUARANTINED = "quarantined"
    HELD = "held"
    REJECTED = "rejected"


class Article(Table, table=True):
    """One article; `newsletter.articles.matching` decides which feed item is which article."""

    __table_args__ = (UniqueConstraint("feed_id", "guid", name="uq_article_feed_guid"),)

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    feed_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("feed.id", ondelete="SET NULL"), nullable=True),
    )
    guid: str | None = Field(default=None)
    #: The canonical link; items of one feed may share it.
    link: str = Field(index=True)
    title: str
    #: The teaser as plain text, one or two sentences.
    standfirst: str = Field(default="")
    image_url: str | None = Field(default=None)
    image_width: int | None = Field(default=None)
    image_height: int | None = Field(default=None)
    image_alt: str | None = Field(default=None)
    author: str | None = Field(default=None)
    source: str | None = Field(default=None)
    categories: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    #: Reading time, in minutes.
    minutes: int = Field(default=1)
    published_at: datetime | None = Field(default=None, sa_type=Instant)
    #: The time of arrival, set under the freeze lock; None while no edition may have the article.
    seen_at: datetime | None = Field(default=None, sa_type=Instant, index=True)
    quarantined_at: datetime | None = Field(default=None, sa_type=Instant)
    #: `quarantine.Reason`: ancient, future, republished, archive, flood.
    quarantine_reason: str | None = Field(default=None, max_length=16)
    #: The time at which an editor held the article, before any edition had it; None after its
    #: release.
    held_at: datetime | None = Field(default=None, sa_type=Instant)
    #: The time at which an editor rejected the article permanently.
    rejected_at: datetime | None = Field(default=None, sa_type=Instant)
    #: The time at which the article was pinned; it leads the next edition of each cadence.
    pinned_at: datetime | None = Field(default=None, sa_type=Instant)
    #: The title and standfirst that an editor has written for the mail; None for the feed's own.
    mail_title: str | None = Field(default=None)
    mail_standfirst: str | None = Field(default=None)
    #: SHA-256 of the fields of the feed that readers see.
    content_hash: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=Instant)
    updated_at: datetime = Field(sa_type=Instant)

    @property
    def shown_title(self) -> str:
        """The title in mails: the editor's, or else that of the feed."""
        return self.title if self.mail_title is None else self.mail_title

    @property
    def shown_standfirst(self) -> str:
        """The standfirst in mails: the editor's, or else that of the feed."""
        return self.standfirst if self.mail_standfirst is None else self.mail_standfirst

    @property
    def mailed_hash(self) -> str:
        """SHA-256 of the fields that readers of a mail see, with the editor's words."""
        if self.mail_title is None and self.mail_standfirst is None:
            return self.content_hash
        words = (self.content_hash, self.mail_title, self.mail_standfirst)
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()

    @property
    def state(self) -> ArticleState:
        """The state of the article, derived from its times."""
        if self.seen_at is not None:
            return ArticleState.OUT
        if self.rejected_at is not None:
            return ArticleState.REJECTED
        return ArticleState.QUARANTINED if self.held_at is None else ArticleState.HELD


class ArticleAlias(Table, table=True):
    """The GUID, link and title of another feed's article in this feed."""

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
