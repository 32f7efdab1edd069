"""Who may use the operator's desk: links to sign in, and the sessions that they open."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class DeskLogin(Table, table=True):
    """A link with which a person signs in once; the link itself is not stored."""

    __tablename__ = "desk_login"

    #: SHA-256 of the link's token, in hexadecimal.
    token_hash: str = Field(max_length=64, primary_key=True)
    #: The person, as the audit log names them: "mia".
    name: str = Field(max_length=90)
    expires_at: datetime = Field(sa_type=Instant, index=True)
    #: The time at which the link was used; None before.
    used_at: datetime | None = Field(default=None, sa_type=Instant)


class DeskSession(Table, table=True):
    """A signed-in browser; the value of its cookie is not stored."""

    __tablename__ = "desk_session"

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: SHA-256 of the cookie's token, in hexadecimal.
    token_hash: str = Field(max_length=64, unique=True)
    name: str = Field(max_length=90)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant, index=True)
    #: The time at which the session was ended by its person or an operator.
    ended_at: datetime | None = Field(default=None, sa_type=Instant)
