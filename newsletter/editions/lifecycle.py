"""What happens to an edition after its freeze: pause, resume, cancel, expire, finish, retry."""

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
from newsletter.editions import mailings, store, summaries
from newsletter.editions.summaries import Summary
from newsletter.errors import Conflict
from newsletter.ledger import books, cancellation, reports
from newsletter.ledger.reasons import Reason
from newsletter.models import Edition, EditionState, State
from newsletter.subscribers import changes, suppress

_UNFINISHED = (EditionState.OPEN, EditionState.PAUSED)


def finish(engine: Engine, *, now: datetime) -> list[str]:
    """Finish the editions that have no open row left; return their names.

    And have the readers suppressed whose addresses were found dead, and forgotten what nobody has
    confirmed in time, or could be placed.
    """
    is_left = True
    while is_left:
        with sessions.writing(engine) as session:
            is_left = suppress.catch_up(session, now=now) > 0
    with sessions.writing(engine) as session:
        changes.prune(session, now=now)
        reports.prune(session, now=now)
        return store.finish(session, now=now)


def expire(engine: Engine, *, now: datetime, times: SendTimes) -> list[str]:
    """Give up what is left of editions staler than their cadence; return their names.

    Their readers catch up with the next edition: no watermark moves for what was not accepted.

    Raises Conflict for a backup that was restored: there, what is open may have been sent since.
    """
    with restore_guard.sending(engine) as session:
        stale = _stale(session, _UNFINISHED, now=now, times=times)
        ids = [edition.id for edition in stale]
        if ids:
            theirs = mailings.of_all(ids)
            cancellation.skip_mailings(session, mailings=theirs, reason=Reason.STALE, now=now)
            store.finish(session, now=now)
        return [_slug(edition) for edition in stale]


def over_mailings(session: Session, *, now: datetime, times: SendTimes) -> Select[Any]:
    """Select the mailings of which nothing is sent any more: cancelled, or stale."""
    among = [*_UNFINISHED, EditionState.FINISHED]
    stale = [edition.id for edition in _stale(session, among, now=now, times=times)]
    return mailings.cancelled(and_of=stale)


def retry(
    engine: Engine,
    *,
    ids: Sequence[int],
    state: State | None,
    edition: str | None,
    now: datetime,
    times: SendTimes,
) -> tuple[int, int]:
    """Make deliveries due at once, by their ids or by their state, and reopen their editions.

    Returns the number of deliveries asked for and the number made due. Not made due are those that
    are not queued, deferred or unknown, those to readers who have unsubscribed or paused since, and
    those of cancelled or stale editions. `edition` limits both to one edition; raises NotFound if
    there is none.
    """
    with sessions.writing(engine) as session:
        theirs = mailings.of(store.by_slug(session, edition)) if edition else None
        asked = books.count_in(session, state, theirs) if state else len(ids)
        retried = books.retry_now(
            session,
            now=now,
            ids=ids,
            state=state,
            mailings=theirs,
            excluded=over_mailings(session, now=now, times=times),
        )
        store.reopen(session)
    return asked, retried


def pause(engine: Engine, slug: str) -> Summary:
    """Let no worker claim anything of an edition until it is resumed."""
    return _turn(engine, slug, EditionState.PAUSED, among=_UNFINISHED)


def resume(engine: Engine, slug: str) -> Summary:
    """Let a paused edition go on."""
    return _turn(engine, slug, EditionState.OPEN, among=_UNFINISHED)


def cancel(engine: Engine, slug: str, *, now: datetime, reason: str) -> tuple[Summary, int]:
    """Send no more of an edition, nor of its corrections; of those alone if it is over.

    Whoever had it keeps it, the others catch up with the next. Returns for how many readers a
    correction was stopped, too.
    """
    with sessions.writing(engine) as session:
        edition = store.by_slug(session, slug)
        stopped = cancellation.cancel_mailings(
            session,
            mailings=mailings.corrections_of(edition),
            reason=Reason.EDITION_CANCELLED,
            now=now,
        )
        if edition.state in _UNFINISHED or not stopped:
            _require(session, edition, EditionState.CANCELLED, among=_UNFINISHED, reason=reason)
            digests = mailings.of(edition)
            cancellation.cancel_mailings(
                session, mailings=digests, reason=Reason.EDITION_CANCELLED, now=now
            )
        return summaries.of(session, edition), stopped


def _turn(
    engine: Engine, slug: str, state: EditionState, *, among: Sequence[EditionState]
) -> Summary:
    with sessions.writing(engine) as session:
        edition = store.by_slug(session, slug)
        _require(session, edition, state, among=among)
        return summaries.of(session, edition)


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
