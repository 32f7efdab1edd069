"""Sends an edition from its freeze to its last reader: what `send`, `cron` and the demo share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select

from newsletter.cadence import Cadence
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.delivery import ledger, worker
from newsletter.delivery.worker import Plan, Tally
from newsletter.editions import publish, store
from newsletter.editions.store import Summary
from newsletter.errors import NewsletterError
from newsletter.models import EditionState
from newsletter.settings import Settings

#: How long to watch rows that others hold, without any of them moving, before looking at who lives.
PATIENCE_SECONDS = 15
_LOOK_SECONDS = 1.0

OnTry = Callable[[Tally], None]


def send(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    settings: Settings,
    force: bool = False,
    on_frozen: Callable[[Summary], None] | None = None,
    on_try: OnTry | None = None,
) -> Summary:
    """Make the edition of the current period, if it is not there yet, and send what is due of it.

    1. Editions staler than their cadence are given up, unless `force`. 2. The freeze; an edition
    that was skipped is looked at again. 3. Workers, here and elsewhere, send until only deferred
    deliveries are left, or none. Running it again, or fifty at once, changes nothing.
    """
    plan = Plan.of(settings)
    if not force:
        publish.expire(engine, now=now, times=settings.send_times)
    frozen = publish.freeze(engine, cadence, now=now, settings=settings, force=True)
    if on_frozen is not None:
        on_frozen(frozen)
    if frozen.state == EditionState.OPEN:
        with _finishing(engine):
            deliver(engine, plan, frozen.edition, on_try=on_try)
    return _summary(engine, frozen.edition)


def resume(engine: Engine, *, now: datetime, settings: Settings) -> list[Summary]:
    """Go on with everything that is due, letters and open editions alike.

    What a crash left behind is taken over, what was deferred is tried again, and what has grown
    staler than its cadence is given up. Returns the editions of which something has moved.
    """
    before = _open(engine)
    publish.expire(engine, now=now, times=settings.send_times)
    with _finishing(engine):
        if before or _is_due(engine):
            worker.run(engine, Plan.of(settings), excluded=store.withheld_mailings())
    after = [_summary(engine, summary.edition) for summary in before]
    return [summary for summary in after if summary not in before]


@contextmanager
def _finishing(engine: Engine) -> Iterator[None]:
    """Finish what is complete in the end, even if something kept the rest from being sent."""
    try:
        yield
    except NewsletterError:
        # The first error is the one to tell.
        with suppress(NewsletterError):
            publish.finish(engine, now=utc_now())
        raise
    publish.finish(engine, now=utc_now())


def _open(engine: Engine) -> list[Summary]:
    with sessions.reading(engine) as session:
        return store.summaries(session, store.in_states(session, [EditionState.OPEN]))


def _is_due(engine: Engine, mailings: Select[Any] | None = None) -> bool:
    with sessions.reading(engine) as session:
        due_at = ledger.next_due(session, mailings)
    return due_at is not None and due_at <= utc_now()


def deliver(engine: Engine, plan: Plan, slug: str, *, on_try: OnTry | None = None) -> None:
    """Send what is due of one edition, and see off what other workers hold of it."""
    with sessions.reading(engine) as session:
        mailings = store.mailings_of([store.by_slug(session, slug).id])
    is_due = True
    while is_due:
        tally = worker.run(
            engine, plan, mailings=mailings, excluded=store.withheld_mailings(), on_try=on_try
        )
        is_due = not tally.was_stopped and _wait_for_work(engine, slug, mailings)


def _wait_for_work(engine: Engine, slug: str, mailings: Select[Any]) -> bool:
    """Watch what others hold; return whether something is due again, or somebody may have died."""
    seen, began = None, time.monotonic()
    while (found := _summary(engine, slug)).state == EditionState.OPEN:
        if _is_due(engine, mailings):
            return True
        if not (found.claimed or found.in_flight):
            # What is left waits for its time, and that is the next run's.
            return False
        if found != seen:
            seen, began = found, time.monotonic()
        elif time.monotonic() - began > PATIENCE_SECONDS:
            # Time to take over from a worker that died, or to find that none did.
            return True
        time.sleep(_LOOK_SECONDS)
    return False


def _summary(engine: Engine, slug: str) -> Summary:
    with sessions.reading(engine) as session:
        return store.summary(session, store.by_slug(session, slug))
