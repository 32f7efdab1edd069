"""The audit log of changes by operators and editors. Rows are added, and never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlmodel import Session, col, select

from newsletter.models import Audit


def record(
    session: Session,
    action: str,
    subjects: Mapping[str, str],
    *,
    actor: str,
    at: datetime,
    before: str = "",
    after: str = "",
) -> None:
    """Add one row for each subject, with its detail, in the transaction of the change.

    `actor` is the interface and the person, such as "cli:mia"; `action` is noun and verb, such as
    "articles.hold". `before` and `after` are the values that the action has changed.
    """
    session.add_all(
        Audit(
            at=at,
            actor=actor,
            action=action,
            subject=subject,
            detail=detail,
            before=before,
            after=after,
        )
        for subject, detail in subjects.items()
    )
    session.flush()


def of(session: Session, subjects: Iterable[str]) -> list[Audit]:
    """Return the rows of some subjects, the oldest first."""
    return list(
        session.exec(
            select(Audit)
            .where(col(Audit.subject).in_(list(subjects)))
            .order_by(col(Audit.at), col(Audit.id))
        )
    )


def latest(session: Session, *, limit: int, before: int | None = None) -> list[Audit]:
    """Return the newest rows, the newest first; with `before`, only those with a smaller id."""
    chosen = select(Audit).order_by(col(Audit.id).desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(col(Audit.id) < before)
    return list(session.exec(chosen))
