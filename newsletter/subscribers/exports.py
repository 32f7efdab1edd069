"""Gives readers out as a sheet, in constant memory, with no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from sqlmodel import Session

from newsletter.cadence import Cadence
from newsletter.models import Status
from newsletter.subscribers import sheet, store

COLUMNS = ("address", "cadence", "status", "subscribed_at", "paused_until", "created_at")


def write(
    session: Session,
    stream: TextIO,
    *,
    status: Status | None = None,
    cadence: Cadence | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write a line for each subscriber and return how many; the import reads them back."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    written = 0
    for row in store.stream(session, status=status, cadence=cadence):
        writer.writerow([sheet.guard(_cell(value)) for value in row])
        written += 1
        if written % store.CHUNK == 0:
            progress(written)
    return written


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)
