"""A change of address: requested by a reader, and done when the new address is confirmed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey
from sqlmodel import Field

from newsletter.models.columns import Instant, RowId
from newsletter.models.table import Table


class AddressChange(Table, table=True):
    """One change of address, open or done; at most one per reader, deleted when it expires."""

    __tablename__ = "address_change"

    id: int | None = Field(default=None, sa_column=Column(RowId, primary_key=True))
    #: The id in the link of the letter to the new address, in place of the reader's public id.
    public_id: str = Field(max_length=16, unique=True)
    subscriber_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("subscriber.id"), nullable=False, unique=True)
    )
    #: The new address.
    address: str = Field(max_length=254, index=True)
    asked_at: datetime = Field(sa_type=Instant)
    #: The time at which the link expires.
    expires_at: datetime = Field(sa_type=Instant, index=True)
    #: The time at which the owner of the new address confirmed the change.
    done_at: datetime | None = Field(default=None, sa_type=Instant)
