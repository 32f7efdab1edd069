"""Consent: the append-only record of what readers agreed to and did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Text
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Consent(Table, table=True):
    """One change of status or cadence (GDPR art. 7: consent must be demonstrable)."""

    __table_args__ = (Index("ix_consent_action_at", "action", "at"),)

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    subscriber_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("subscriber.id"), nullable=False, index=True)
    )
    at: datetime = Field(sa_type=Instant)
    #: The change: added, imported, asked, confirmed, cadence, paused, resumed, unsubscribed ...
    action: str = Field(max_length=16)
    cadence: str = Field(max_length=8)
    status: str = Field(max_length=12)
    generation: int
    #: The wording that the reader agreed to, or the operator's reason.
    wording: str = Field(default="")
    #: The source of the change: `command line`, `import readers.csv`, `box on https://...`.
    source: str = Field(default="")
    #: The reader's IP address, if there was one.
    remote: str | None = Field(default=None, max_length=64)
    #: Another system's record of an imported sign-up, see `subscribers.evidence`.
    evidence: str | None = Field(default=None, sa_type=Text)
