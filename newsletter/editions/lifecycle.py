"""Changes of an edition after its freeze: pause, resume, cancel, expire, finish, retry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine, Select
from sqlmodel import Session

from newsletter import audit, cadences
from newsletter.cadences import Cadence, SendTimes
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import mailings, store, summaries
from newsletter.editions.summaries import Summary
from newsletter.errors import Conflict
from newsletter.ledger import books, cancellation, reports
from newsletter.ledger.reasons import Reason
from newsletter.logs import events
from newsletter.logs.event import Event
from newsletter.models import Edition, EditionState, State
from newsletter.subscribers import changes, suppress

_UNFINISHED = (EditionState.OPEN, EditionState.PAUSED)
#: After this time an announcement is stale, and what is left of it is not sent.
_ANNOUNCEMENT_LIFE = timedelta(days=7)


def finish(engine: Engine, *, now: datetime) -> list[str]:
    """Finish the editions that have no open row left; return their names.

    Also suppresses the readers of dead addresses, and deletes unconfirmed changes of address,
    receipts and unplaced reports that have expired.
    """
    is_left = True
    while is_left:
        with sessions.writing(engine) as session:
            is_left = suppress.catch_up(session, now=now) > 0
    with sessions.writing(engine) as session:
        changes.prune(session, now=now)
        reports.prune(session, now=now)
        return _finish(session, now=now)


def expire(engine: Engine, *, now: datetime, times: SendTimes) -> list[str]:
    """Skip the open deliveries of stale editions; return the names of these editions.

    Readers catch up with the next edition, because watermarks move only for accepted deliveries.

    Raises Conflict for a restored backup, whose open deliveries may have been sent already.
    """
    with restore_guard.sending(engine) as session:
        stale = _stale(session, _UNFINISHED, now=now, times=times)
        ids = [edition.id for edition in stale]
        if ids:
            theirs = mailings.of_all(ids)
            cancellation.skip_mailings(session, mailings=theirs, reason=Reason.STALE, now=now)
            _finish(session, now=now)
        names = [edition.name for edition in stale]
        _log(session, events.EDITION_EXPIRED, names)
        return names


def is_stale(edition: Edition, *, now: datetime, times: SendTimes) -> bool:
    """Return whether `expire` gives up the rest of an open or paused edition."""
    return edition.state in _UNFINISHED and _is_late(edition, now=now, times=times)


def over_mailings(session: Session, *, now: datetime, times: SendTimes) -> Select[Any]:
    """Select the mailings of cancelled and stale editions, which are not sent any more."""
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
    actor: str,
) -> tuple[int, int]:
    """Make deliveries due now, by their ids or by their state, and reopen their editions.

    Returns the number of deliveries requested and the number made due. Deliveries are not made due
    if they are not queued, deferred or unknown, if the reader has unsubscribed or paused since, or
    if the edition is cancelled or stale. `edition` limits both numbers to one edition; raises
    NotFound if it does not exist.
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
        if retried:
            of = {f"edition:{edition}" if edition else "deliveries": f"{retried:,} of {asked:,}"}
            audit.record(session, "delivery.retry", of, actor=actor, at=now)
    return asked, retried


def pause(engine: Engine, slug: str, *, now: datetime, actor: str) -> Summary:
    """Pause an edition: workers claim none of its deliveries until it is resumed."""
    return _turn(engine, slug, EditionState.PAUSED, now=now, actor=actor)


def resume(engine: Engine, slug: str, *, now: datetime, actor: str) -> Summary:
    """Resume a paused edition."""
    return _turn(engine, slug, EditionState.OPEN, now=now, actor=actor)


def cancel(
    engine: Engine, slug: str, *, now: datetime, reason: str, actor: str
) -> tuple[Summary, int]:
    """Cancel an edition and its corrections, or only these if the edition has ended.

    Accepted deliveries stay, and other readers catch up with the next edition. Also returns for how
    many readers a correction was cancelled.
    """
    with sessions.writing(engine) as session:
        edition = store.by_slug(session, slug)
        before = edition.state
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
            _log(session, events.EDITION_CANCELLED, [slug], message=reason)
        _audit(session, "editions.cancel", edition, before, actor=actor, at=now, detail=reason)
        return summaries.of(session, edition), stopped


def _turn(engine: Engine, slug: str, state: EditionState, *, now: datetime, actor: str) -> Summary:
    with sessions.writing(engine) as session:
        edition = store.by_slug(session, slug)
        before = edition.state
        _require(session, edition, state, among=_UNFINISHED)
        if state is EditionState.PAUSED:
            _log(session, events.EDITION_PAUSED, [slug], by="operator")
            action = "editions.pause"
        else:
            _log(session, events.EDITION_RESUMED, [slug])
            action = "editions.resume"
        if edition.state != before:
            _audit(session, action, edition, before, actor=actor, at=now)
        return summaries.of(session, edition)


def _audit(
    session: Session,
    action: str,
    edition: Edition,
    before: str,
    *,
    actor: str,
    at: datetime,
    detail: str = "",
) -> None:
    subjects = {f"edition:{edition.name}": detail}
    audit.record(session, action, subjects, actor=actor, at=at, before=before, after=edition.state)


def _require(
    session: Session,
    edition: Edition,
    state: EditionState,
    *,
    among: Sequence[EditionState],
    reason: str | None = None,
) -> None:
    if not store.change_state(session, edition, state, among=among, reason=reason):
        slug = edition.name
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
        if _is_late(edition, now=now, times=times)
    ]


def _is_late(edition: Edition, *, now: datetime, times: SendTimes) -> bool:
    """Return whether it is too late to send an edition, whatever its state."""
    if edition.is_announcement:
        return now - edition.created_at > _ANNOUNCEMENT_LIFE
    return cadences.is_stale(Cadence(edition.cadence), edition.period, now=now, times=times)


def _finish(session: Session, *, now: datetime) -> list[str]:
    names = store.finish(session, now=now)
    _log(session, events.EDITION_FINISHED, names)
    return names


def _log(session: Session, event: Event, names: Sequence[str], **fields: object) -> None:
    for name in names:
        sessions.after_commit(session, partial(event, edition=name, **fields))
