"""Exports subscribers as CSV, in constant memory; cells that look like formulas are escaped.

The export is lossless: imported into an empty database and exported again, it gives the same file,
with states and their times, the evidence of consent, and the causes of suppressions.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from typing import Any, TextIO

from sqlalchemy import Row
from sqlmodel import Session

from newsletter.cadences import Cadence
from newsletter.models import Status
from newsletter.subscribers import csv_rows, evidence, store
from newsletter.subscribers.csv_rows import cells

COLUMNS = (
    *("address", "cadence", "status", "subscribed_at", "paused_until", "created_at"),
    *("language", "timezone", "suppression"),
    *("opted_in_at", "opted_in_from", "confirmed_at", "confirmed_from"),
    *("consent_source", "consent_wording"),
)


def write(
    session: Session,
    stream: TextIO,
    *,
    status: Status | None = None,
    cadence: Cadence | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write a line for each subscriber, ordered by address, and return how many."""
    written = 0
    for text, count in pieces(session, status=status, cadence=cadence):
        stream.write(text)
        written += count
        progress(written)
    return written


def pieces(
    session: Session, *, status: Status | None = None, cadence: Cadence | None = None
) -> Iterator[tuple[str, int]]:
    """Yield the file in pieces, the header first, each with the number of its subscribers."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    yield buffer.getvalue(), 0
    for chunk in store.stream(session, status=status, cadence=cadence):
        buffer.seek(0)
        buffer.truncate()
        histories = store.histories(session, [row.id for row in chunk])
        for row in chunk:
            said = _evidence(histories.get(row.id, []))
            writer.writerow([csv_rows.guard(_cell(value)) for value in (*row[1:], *said)])
        yield buffer.getvalue(), len(chunk)


def _evidence(history: list[Row[Any]]) -> tuple[object, ...]:
    found = evidence.of_history(history)
    return found._replace(
        opted_in_from=cells.ip(found.opted_in_from or ""),
        confirmed_from=cells.ip(found.confirmed_from or ""),
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)
