"""The states of an edition after its freeze: pause, resume, cancel, expire, finish."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select
from sqlmodel import Session

from newsletter import cadences
from newsletter.cadences import Cadence, SendTimes
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import store
from newsletter.editions.store import Summary
from newsletter.errors import Conflict
from newsletter.ledger import queue
from newsletter.models import Edition, EditionState
from newsletter.subscribers import changes, suppress

_UNFINISHED = (EditionState.OPEN, EditionState.PAUSED)


def finish(engine: Engine, *, now: datetime) -> list[str]:
    """Finish the editions that have no open row left; return their names.

    Also suppresses the readers whose addresses were found dead, and deletes changes of address that
    were not confirmed in time.
    """
    is_left = True
    while is_left:
        with sessions.writing(engine) as session:
            is_left = suppress.catch_up(session, now=now) > 0
    with sessions.writing(engine) as session:
        changes.prune(session, now=now)
        return store.finish(session, now=now)


def expire(engine: Engine, *, now: datetime, times: SendTimes) -> list[str]:
    """Skip the open deliveries of editions older than their cadence; return their names.

    Their readers catch up with the next edition: watermarks move only for accepted mail.

    Raises Conflict for a restored backup, whose open deliveries may have been sent.
    """
    with sessions.writing(engine) as session:
        restore_guard.check(session, engine)
        stale = _stale(session, _UNFINISHED, now=now, times=times)
        ids = [edition.id for edition in stale]
        if ids:
            mailings = store.mailings_of(ids)
            queue.skip_mailings(session, mailings=mailings, reason="stale", now=now)
            store.finish(session, now=now)
        return [_slug(edition) for edition in stale]


def over_mailings(session: Session, *, now: datetime, times: SendTimes) -> Select[Any]:
    """Select the mailings that are no longer sent: of cancelled or stale editions."""
    among = [*_UNFINISHED, EditionState.FINISHED]
    stale = [edition.id for edition in _stale(session, among, now=now, times=times)]
    return store.cancelled_mailings(and_of=stale)


def pause(engine: Engine, slug: str) -> Summary:
    """Pause an edition: no worker claims its deliveries until it is resumed."""
    return _set_state(engine, slug, EditionState.PAUSED, among=_UNFINISHED)


def resume(engine: Engine, slug: str) -> Summary:
    """Resume a paused edition."""
    return _set_state(engine, slug, EditionState.OPEN, among=_UNFINISHED)


def cancel(engine: Engine, slug: str, *, now: datetime, reason: str) -> tuple[Summary, int]:
    """Cancel an edition and its corrections; only the corrections if the edition is finished.

    Readers who did not get it catch up with the next edition. Also returns the number of cancelled
    deliveries of corrections.
    """
    with sessions.writing(engine) as session:
        edition = store.by_slug(session, slug)
        stopped = queue.cancel_mailings(
            session,
            mailings=store.corrections_of(edition),
            reason="edition cancelled",
            now=now,
        )
        if edition.state in _UNFINISHED or not stopped:
            _require(session, edition, EditionState.CANCELLED, among=_UNFINISHED, reason=reason)
            mailings = store.mailings(edition)
            queue.cancel_mailings(session, mailings=mailings, reason="edition cancelled", now=now)
        return store.summary(session, edition), stopped


def _set_state(
    engine: Engine, slug: str, state: EditionState, *, among: Sequence[EditionState]
) -> Summary:
    with sessions.writing(engine) as session:
        edition = store.by_slug(session, slug)
        _require(session, edition, state, among=among)
        return store.summary(session, edition)


def _require(
    session: Session,
    edition: Edition,
    state: EditionState,
    *,
    among: Sequence[EditionState],
    reason: str | None = None,
) -> None:
    if not store.change_state(session, edition, state, among=among, reason=reason):
        slug = _slug(edition)
        raise Conflict(
            f"{slug} is {edition.state}: nothing of it is on its way.",
            hint=f"`newsletter editions cancel {slug}` ends a correction of it.",
        )
    session.refresh(edition)


def _stale(
    session: Session, states: Sequence[EditionState], *, now: datetime, times: SendTimes
) -> list[Edition]:
    return [
        edition
        for edition in store.in_states(session, states)
        if cadences.is_stale(Cadence(edition.cadence), edition.period, now=now, times=times)
    ]


def _slug(edition: Edition) -> str:
    return cadences.slug(Cadence(edition.cadence), edition.period)
