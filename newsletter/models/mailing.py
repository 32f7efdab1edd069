"""A mailing: a compiled, frozen message with slots, and the articles in it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, ForeignKey, Integer
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class Kind(StrEnum):
    """What a mailing is: one variant of an edition's digest, a letter, or a correction."""

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


class Role(StrEnum):
    """How an article stands in a mailing."""

    LEAD = "lead"
    STORY = "story"
    RELATED = "related"


def _count() -> Column[int]:
    return Column(Integer, nullable=False, server_default="0")


class Mailing(SQLModel, table=True):
    """One compiled message: the bytes never change after the freeze."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: Stands in every Message-ID of this mailing.
    public_id: str = Field(max_length=16, unique=True)
    kind: str = Field(max_length=12)
    edition_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("edition.id"), nullable=True, index=True),
    )
    #: Corrections only: the edition of which an article is corrected. It is no part of its books.
    corrects_id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger, ForeignKey("edition.id"), nullable=True, index=True),
    )
    #: The hash of what a letter or a correction says, so that equal ones share a mailing.
    key: str | None = Field(default=None, max_length=64, unique=True)
    subject: str
    #: The literal octets between the slots, joined (see `CompiledMessage.dump`).
    body: bytes
    #: JSON of [[offset, slot, place], ...].
    fields: str
    #: What its slots are written with. Frozen like the body: a retry has the same bytes even if
    #: the settings have changed since.
    domain: str = Field(max_length=253)
    timezone: str = Field(max_length=64)
    language: str = Field(max_length=35)
    #: The name of the key that signs its links (see `Keyring.newest`).
    signing_key: str = Field(max_length=8)
    #: The HTML as a browser shows it, with the slots empty.
    html: str
    created_at: datetime = Field(sa_type=Instant)
    #: How many of its deliveries were pruned, by the state in which they had ended.
    pruned_accepted: int = Field(default=0, sa_column=_count())
    pruned_refused: int = Field(default=0, sa_column=_count())
    pruned_skipped: int = Field(default=0, sa_column=_count())
    pruned_cancelled: int = Field(default=0, sa_column=_count())


class MailingArticle(SQLModel, table=True):
    """One article as it stood in one mailing."""

    __tablename__ = "mailing_article"

    mailing_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("mailing.id"), primary_key=True)
    )
    article_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("article.id"), primary_key=True, index=True)
    )
    position: int
    role: str = Field(max_length=8)
    #: How readers know it: an edit since may have changed both.
    title: str
    link: str
    #: The article's content hash at the freeze.
    content_hash: str = Field(max_length=64)
