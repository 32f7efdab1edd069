"""A finding of the doctor that stands until a later run of the same checks replaces it."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from newsletter.models.columns import Instant
from newsletter.models.table import Table


class KeptFinding(Table, table=True):
    """One finding, as `newsletter doctor` last said it; see `doctor.findings.Finding`."""

    __tablename__ = "finding"

    id: str = Field(max_length=64, primary_key=True)
    #: Which of several it is about; empty where there is one.
    subject: str = Field(max_length=254, primary_key=True)
    #: The group of checks that it is of, see `doctor.findings.Checks`.
    checks: str = Field(max_length=16)
    level: str = Field(max_length=12)
    sentence: str
    hint: str
    record: str
    #: When it was first found, and when it was last found again.
    first_at: datetime = Field(sa_type=Instant)
    last_at: datetime = Field(sa_type=Instant)
