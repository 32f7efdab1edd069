"""Suppression: an address that must never be mailed, and why."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Column, Index, String
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class Cause(StrEnum):
    """Why an address is suppressed; `suppression.RULES` has the consequences.

    In order of severity: a later cause replaces an earlier one.
    """

    FULL = "full"
    DEAD = "dead"
    BOUNCE = "bounce"
    IMPORTED = "imported"
    ERASED = "erased"
    OPERATOR = "operator"
    OPT_OUT = "opt-out"
    COMPLAINT = "complaint"


class Suppression(Table, table=True):
    """One address that is never mailed; after an erasure only its keyed hash and cause remain."""

    # For lists by pages, and counts by cause.
    __table_args__ = (Index("ix_suppression_cause", "cause", "id"),)

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: The address; None after the erasure of the person.
    address: str | None = Field(default=None, max_length=254, unique=True)
    #: `Keyring.fingerprints` of the address under the newest key at that time.
    address_hash: str = Field(max_length=48, unique=True)
    cause: str = Field(
        sa_column=Column(String(10), nullable=False, server_default=Cause.OPERATOR.value)
    )
    reason: str
    source: str = Field(default="")
    created_at: datetime = Field(sa_type=Instant)
