"""A mailing: a compiled, frozen message with slots, and its articles."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, ForeignKey, Integer
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Kind(StrEnum):
    """The kind of a mailing: a variant of a digest, an announcement, a correction, or a letter."""

    DIGEST = "digest"
    CONFIRM = "confirm"
    WELCOME = "welcome"
    GOODBYE = "goodbye"
    PRESENT = "present"
    ERASE = "erase"
    DATA = "data"
    NEW_ADDRESS = "new_address"
    OLD_ADDRESS = "old_address"
    CORRECTION = "correction"
    ANNOUNCEMENT = "announcement"


#: Kinds of mail to many readers; the others are letters to one person.
BULK = (Kind.DIGEST, Kind.CORRECTION, Kind.ANNOUNCEMENT)


class Role(StrEnum):
    """The place of an article in a mailing."""

    LEAD = "lead"
    STORY = "story"
    RELATED = "related"


def _count() -> Column[int]:
    return Column(Integer, nullable=False, server_default="0")


class Mailing(Table, table=True):
    """One compiled message: the bytes never change after the freeze."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: Part of every Message-ID of this mailing.
    public_id: str = Field(max_length=16, unique=True)
    kind: str = Field(max_length=12)
    edition_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("edition.id"), nullable=True, index=True),
    )
    #: Corrections only: the edition of the corrected article, whose counts exclude this mailing.
    corrects_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("edition.id"), nullable=True, index=True),
    )
    #: Hash of the text of a letter, a correction or an announcement; equal texts share a mailing.
    key: str | None = Field(default=None, max_length=64, unique=True)
    subject: str
    #: The literal octets between the slots, joined (see `CompiledMessage.dump`).
    body: bytes
    #: The slots as JSON: [[offset, slot, place], ...].
    fields: str
    #: Values for the slots. They are frozen like the body, so that a retry has the same bytes even
    #: if the settings have changed since.
    domain: str = Field(max_length=253)
    timezone: str = Field(max_length=64)
    language: str = Field(max_length=35)
    #: The name of the key that signs the links (see `Keyring.newest`).
    signing_key: str = Field(max_length=8)
    #: The HTML for a browser, with empty slots.
    html: str
    created_at: datetime = Field(sa_type=Instant)
    #: The numbers of pruned deliveries, by final state.
    pruned_accepted: int = Field(default=0, sa_column=_count())
    pruned_refused: int = Field(default=0, sa_column=_count())
    pruned_skipped: int = Field(default=0, sa_column=_count())
    pruned_cancelled: int = Field(default=0, sa_column=_count())
    #: The numbers of pruned accepted deliveries that bounced, and that caused a complaint.
    pruned_bounced: int = Field(default=0, sa_column=_count())
    pruned_complained: int = Field(default=0, sa_column=_count())


class MailingArticle(Table, table=True):
    """One article as it was in one mailing."""

    __tablename__ = "mailing_article"

    mailing_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("mailing.id"), primary_key=True)
    )
    article_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("article.id"), primary_key=True, index=True)
    )
    position: int
    role: str = Field(max_length=8)
    #: Title and link as readers received them; the article may have been edited since.
    title: str
    link: str
    #: The article's content hash at the freeze.
    content_hash: str = Field(max_length=64)
