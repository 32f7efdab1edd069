"""Looks at what an import would do with the readers that there are, and changes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from sqlalchemy import Engine
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.errors import InvalidInput
from newsletter.models import Subscriber
from newsletter.subscribers import csv_rows, imports
from newsletter.subscribers.csv_rows import Entry, Rejection, Survey
from newsletter.subscribers.imports import Import

#: The first lines that are kept to be shown.
FIRST = 10
#: Different reasons of refused lines that are counted, each by its first words.
_REASONS, _WORDS = 20, 200
_MOST_COLUMNS = 100


@dataclass
class Preview:
    """The lines of a file by what would become of them."""

    #: Readers who would be added, by their status.
    added: Counter[str] = field(default_factory=Counter)
    #: Readers who are there already; they may only become stricter.
    known: int = 0
    #: Addresses that must not be mailed, by the file or by what is known here.
    suppressed: int = 0
    #: Lines that repeat an address.
    repeated: int = 0
    #: Lines that cannot be used, and why.
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    #: The first lines: line, address, cadence and what it becomes; or the reason of a refusal.
    first: list[dict[str, Any]] = field(default_factory=list)
    #: Each column, with what it is read as.
    columns: list[dict[str, str]] = field(default_factory=list)
    #: The system whose export it is, and what had to be assumed about its letters.
    tool: str | None = None
    assumed: str | None = None


def look(engine: Engine, stream: BinaryIO, how: Import) -> Preview:
    """Return what an import of a seekable stream would do, by batches in constant memory.

    A repeated address is counted as such within a batch. Raises InvalidInput if a state in the file
    is not understood.
    """
    found = Preview()
    start = stream.tell()
    survey = csv_rows.survey(stream, how.choice)
    found.columns, found.assumed = described(survey), survey.encoding.assumed
    found.tool = survey.columns.tool.name if survey.columns and survey.columns.tool else None
    tally = imports.ImportTally()

    def reject(line: Rejection) -> None:
        _reject(found, line)

    with imports.lines(stream, start, survey, how) as read:
        for batch in imports.batches(read, how, tally, reject):
            with sessions.reading(engine) as session:
                _count(session, found, batch, how)
    found.rejected, found.repeated = tally.rejected, tally.unchanged
    return found


def described(survey: Survey) -> list[dict[str, str]]:
    """Return each column with a description of its role."""
    columns = []
    for column in survey.columns.all if survey.columns else ():
        parts = [str(column.role)] if column.role else []
        parts += ["state"] if column.meaning and column.role != "state" else []
        columns.append({"name": column.name, "read_as": ", ".join(parts) or "not read"})
    return columns


def names(stream: BinaryIO) -> list[dict[str, str]]:
    """Return the columns of a file whose states are not understood, none of them described."""
    try:
        found = csv_rows.columns(stream)
    except InvalidInput:
        return []
    return [{"name": column.name, "read_as": ""} for column in found[:_MOST_COLUMNS]]


def _count(session: Session, found: Preview, batch: dict[str, Entry], how: Import) -> None:
    address = col(Subscriber.address)
    known = set(session.execute(select_columns(address).where(address.in_(batch))).scalars())
    suppressed = suppression.suppressed_among(session, batch, keyring=how.keyring)
    for entry in batch.values():
        if entry.cause is not None or entry.address in suppressed:
            found.suppressed += 1
            becomes = "suppressed"
        elif entry.address in known:
            found.known += 1
            becomes = "known"
        else:
            becomes = str(imports.status_of(entry, how))
            found.added[becomes] += 1
        if len(found.first) < FIRST:
            cadence = str(entry.cadence or how.cadence)
            found.first.append(
                {
                    "line": entry.line,
                    "address": entry.address,
                    "cadence": cadence,
                    "becomes": becomes,
                }
            )


def _reject(found: Preview, line: Rejection) -> None:
    reason = line.reason[:_WORDS]
    if reason in found.reasons or len(found.reasons) < _REASONS:
        found.reasons[reason] += 1
    else:
        found.reasons["other reasons"] += 1
