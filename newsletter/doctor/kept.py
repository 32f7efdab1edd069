"""Stores the doctor's latest findings, and since when each one has existed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, tuple_
from sqlmodel import Session, col, select

from newsletter.db import dialects
from newsletter.doctor.findings import Checks, Finding, Level
from newsletter.logs.lines import printable
from newsletter.models import KeptFinding

#: Maximum characters of a subject that are kept: those of the longest domain.
_LONGEST_SUBJECT = 254


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A finding of the last run that made its checks."""

    finding: Finding
    checks: Checks
    #: When it was first found, without a break since, and when it was last found again.
    first_at: datetime
    last_at: datetime


def keep(session: Session, found: Mapping[Checks, Iterable[Finding]], *, now: datetime) -> None:
    """Replace the findings of each checked group.

    Groups that are not in `found` do not change; a finding that was there before keeps its
    `first_at`. Rows are written in the order of their keys, so that two runs do not deadlock. Texts
    are made printable, because they may quote strangers, and PostgreSQL stores no null character.
    """
    rows = {
        (one.id, printable(one.subject)[:_LONGEST_SUBJECT]): (one, checks)
        for checks, findings in found.items()
        for one in findings
    }
    gone = delete(KeptFinding).where(col(KeptFinding.checks).in_(list(found)))
    if rows:
        key = tuple_(col(KeptFinding.id), col(KeptFinding.subject))
        gone = gone.where(key.not_in(sorted(rows)))
    session.execute(gone)
    for (id_, subject), (finding, checks) in sorted(rows.items(), key=lambda item: item[0]):
        said = {
            "checks": checks.value,
            "level": finding.level.value,
            "sentence": printable(finding.sentence),
            "hint": printable(finding.hint),
            "record": printable(finding.record),
            "last_at": now,
        }
        row = dialects.insert_into(session, KeptFinding).values(
            id=id_, subject=subject, first_at=now, **said
        )
        session.execute(row.on_conflict_do_update(index_elements=["id", "subject"], set_=said))


def all(session: Session) -> list[Kept]:  # noqa: A001 - read as kept.all
    """Return all stored findings, ordered by id and subject."""
    rows = session.exec(select(KeptFinding).order_by(KeptFinding.id, KeptFinding.subject)).all()
    return [_kept(row) for row in rows]


def _kept(row: KeptFinding) -> Kept:
    finding = Finding(
        id=row.id,
        level=Level(row.level),
        sentence=row.sentence,
        hint=row.hint,
        subject=row.subject,
        record=row.record,
    )
    return Kept(
        finding=finding, checks=Checks(row.checks), first_at=row.first_at, last_at=row.last_at
    )
