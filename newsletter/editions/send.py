"""Freezes and sends editions, for `send`, `cron` and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from sqlalchemy import Engine

from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import lifecycle, store
from newsletter.editions.store import Summary
from newsletter.errors import NewsletterError
from newsletter.ledger import queue
from newsletter.ledger.registry import Trouble
from newsletter.models import EditionState
from newsletter.settings import Settings


def send(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    settings: Settings,
    force: bool = False,
    workers: int = 1,
    on_frozen: Callable[[Summary], None] | None = None,
    on_settled: Callable[[int], None] | None = None,
    on_trouble: Trouble | None = None,
) -> Summary:
    """Make the edition of the current period, unless it exists, and send its due deliveries.

    1. Stale editions expire, unless `force`, which also accepts a restored backup as current.
    2. The freeze; a skipped edition is tried again. 3. Workers, here and elsewhere, send until only
    deferred deliveries are left, or none. Idempotent, also from many processes at once.

    `on_settled` is called with the number of readers that this run has an outcome for.
    """
    from newsletter.editions import publish, subprocesses  # noqa: PLC0415 - see `resume`

    if force:
        with sessions.writing(engine) as session:
            serial = restore_guard.accept(session, engine, now)
        restore_guard.remember(engine, serial)
    else:
        lifecycle.expire(engine, now=now, times=settings.send_times)
    frozen = publish.freeze(engine, cadence, now=now, settings=settings, force=True)
    if on_frozen is not None:
        on_frozen(frozen)
    if frozen.state == EditionState.OPEN:
        with _finishing(engine):
            subprocesses.deliver(
                engine,
                settings,
                frozen.edition,
                workers=workers,
                on_settled=on_settled,
                on_trouble=on_trouble,
            )
    return _summary(engine, frozen.edition)


def resume(
    engine: Engine,
    *,
    now: datetime,
    settings: Settings,
    on_trouble: Trouble | None = None,
) -> list[Summary]:
    """Send everything that is due, of letters and open editions.

    Rows of crashed workers are taken over, deferred deliveries are retried, stale editions expire.
    Returns the editions with a change.
    """
    before = _open(engine)
    lifecycle.expire(engine, now=now, times=settings.send_times)
    with _finishing(engine):
        if before or _is_due(engine):
            # Imported only if needed: cron runs every few minutes, mostly with nothing to send.
            from newsletter.sender import worker  # noqa: PLC0415
            from newsletter.sender.plan import Plan  # noqa: PLC0415

            excluded = store.withheld_mailings()
            worker.run(engine, Plan.of(settings), excluded=excluded, on_trouble=on_trouble)
    after = [_summary(engine, summary.edition) for summary in before]
    return [summary for summary in after if summary not in before]


@contextmanager
def _finishing(engine: Engine) -> Iterator[None]:
    """Finish complete editions at the end, even after an error of the sending."""
    try:
        yield
    except NewsletterError:
        # The first error takes precedence.
        with suppress(NewsletterError):
            lifecycle.finish(engine, now=utc_now())
        raise
    lifecycle.finish(engine, now=utc_now())


def _is_due(engine: Engine) -> bool:
    """Return whether anything is due, or waits for a blocked domain, which may be free by now."""
    with sessions.reading(engine) as session:
        due_at = queue.next_due(session)
        return (due_at is not None and due_at <= utc_now()) or bool(
            queue.blocked_domains(session, limit=1)
        )


def _open(engine: Engine) -> list[Summary]:
    with sessions.reading(engine) as session:
        return store.summaries(session, store.in_states(session, [EditionState.OPEN]))


def _summary(engine: Engine, slug: str) -> Summary:
    with sessions.reading(engine) as session:
        return store.summary(session, store.by_slug(session, slug))
