"""An attempt: one SMTP try of a delivery that was not accepted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, SmallInteger
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Attempt(Table, table=True):
    """One try and its outcome; an accepted try is recorded in the delivery row only."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    delivery_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("delivery.id"), nullable=False, index=True)
    )
    number: int = Field(sa_column=Column(SmallInteger, nullable=False))
    at: datetime = Field(sa_type=Instant)
    #: The outcome: deferred, refused or unknown.
    outcome: str = Field(max_length=10)
    #: Phase of the SMTP session: connect, mail, rcpt, data, body.
    phase: str = Field(max_length=10)
    code: int | None = Field(default=None, sa_column=Column(SmallInteger, nullable=True))
    enhanced: str | None = Field(default=None, max_length=12)
    reply: str | None = Field(default=None, max_length=512)
