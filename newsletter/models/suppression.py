"""Suppression: an address that must never be mailed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from newsletter.models.columns import Instant, RowId


class Suppression(SQLModel, table=True):
    """One address that is never mailed; after erasure only its keyed hash is left."""

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: None once the person was erased.
    address: str | None = Field(default=None, max_length=254, unique=True)
    #: `Keyring.fingerprints` of the address under the key that was newest then.
    address_hash: str = Field(max_length=48, unique=True)
    reason: str
    source: str = Field(default="")
    created_at: datetime = Field(sa_type=Instant)
