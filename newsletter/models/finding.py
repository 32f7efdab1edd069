"""A finding of the doctor, stored until a later run of the same checks replaces it."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class KeptFinding(Table, table=True):
    """The last result of `newsletter doctor` for one finding; see `doctor.findings.Finding`."""

    __tablename__ = "finding"

    id: str = Field(max_length=64, primary_key=True)
    #: The feed, relay or domain of the finding; empty if the check has only one object.
    subject: str = Field(max_length=254, primary_key=True)
    #: The group of checks of the finding, see `doctor.findings.Checks`.
    checks: str = Field(max_length=16)
    level: str = Field(max_length=12)
    sentence: str
    hint: str
    record: str
    #: When it was first found, and when it was last found again.
    first_at: datetime = Field(sa_type=Instant)
    last_at: datetime = Field(sa_type=Instant)
