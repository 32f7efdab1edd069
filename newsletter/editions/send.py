"""Makes an edition and sends it to all readers; shared by `send`, `cron` and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.db.restore_guard import Restored
from newsletter.editions import lifecycle, mailings, store, summaries
from newsletter.editions.summaries import Summary
from newsletter.errors import NewsletterError
from newsletter.ledger import queue
from newsletter.ledger.registry import Trouble
from newsletter.models import EditionState
from newsletter.publication import Publication

if TYPE_CHECKING:
    from newsletter.sender.plan import Plan


def send(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    publication: Publication,
    plan: Callable[[], Plan],
    actor: str | None = None,
    force: bool = False,
    workers: int = 1,
    on_frozen: Callable[[Summary], None] | None = None,
    on_settled: Callable[[int], None] | None = None,
    on_trouble: Trouble | None = None,
) -> Summary:
    """Make the edition of the current period, if it does not exist, and send its due deliveries.

    1. Stale editions are expired. With `force` they are not, and a restored backup is accepted.
    2. The edition is frozen; one that was skipped is tried again.
    3. Workers, in this process and others, send until only deferred deliveries, or none, are left.

    Idempotent, also concurrently.

    `on_settled` is called with the number of readers for whom this run has a reply.
    """
    from newsletter.editions import publish  # noqa: PLC0415 - see `resume`

    if force:
        with restore_guard.sending(engine, Restored.ACCEPTED, advance_at=now):
            pass
    else:
        lifecycle.expire(engine, now=now, times=publication.send_times)
    frozen = publish.freeze(
        engine, cadence, now=now, publication=publication, force=True, actor=actor
    )
    if on_frozen is not None:
        on_frozen(frozen)
    return deliver(
        engine,
        frozen,
        plan=plan,
        workers=workers,
        on_settled=on_settled,
        on_trouble=on_trouble,
    )


def deliver(
    engine: Engine,
    frozen: Summary,
    *,
    plan: Callable[[], Plan],
    workers: int = 1,
    on_settled: Callable[[int], None] | None = None,
    on_trouble: Trouble | None = None,
) -> Summary:
    """Send the due deliveries of an edition if it is open; return its summary after that."""
    from newsletter.editions import subprocesses  # noqa: PLC0415 - see `resume`

    if frozen.state == EditionState.OPEN:
        with _finishing(engine):
            subprocesses.deliver(
                engine,
                plan(),
                frozen.edition,
                workers=workers,
                on_settled=on_settled,
                on_trouble=on_trouble,
            )
    return _summary(engine, frozen.edition)


def make(
    engine: Engine, cadence: Cadence, *, now: datetime, publication: Publication, actor: str
) -> Summary:
    """Do the first two steps of `send`, and leave the deliveries to workers."""
    from newsletter.editions import publish  # noqa: PLC0415 - see `resume`

    lifecycle.expire(engine, now=now, times=publication.send_times)
    return publish.freeze(
        engine, cadence, now=now, publication=publication, force=True, actor=actor
    )


def resume(
    engine: Engine,
    *,
    now: datetime,
    publication: Publication,
    plan: Callable[[], Plan],
    on_trouble: Trouble | None = None,
) -> list[Summary]:
    """Send all due deliveries, of letters and of open editions.

    Deliveries of crashed workers are taken over, deferred ones are retried, and stale editions are
    expired. Returns the editions that have changed.
    """
    before = _open(engine)
    lifecycle.expire(engine, now=now, times=publication.send_times)
    with _finishing(engine):
        if before or _is_due(engine):
            # Imported late, because most runs of cron have nothing to send.
            from newsletter.sender import worker  # noqa: PLC0415

            excluded = mailings.withheld()
            worker.run(engine, plan(), excluded=excluded, on_trouble=on_trouble)
    after = [_summary(engine, summary.edition) for summary in before]
    return [summary for summary in after if summary not in before]


@contextmanager
def _finishing(engine: Engine) -> Iterator[None]:
    """Finish complete editions at the end of the block, also after an error of sending."""
    try:
        yield
    except NewsletterError:
        # The error of sending is raised, and not a later one.
        with suppress(NewsletterError):
            lifecycle.finish(engine, now=utc_now())
        raise
    lifecycle.finish(engine, now=utc_now())


def _is_due(engine: Engine) -> bool:
    """Return whether rows are due, or wait for a domain that may allow more by now."""
    with sessions.reading(engine) as session:
        due_at = queue.next_due(session)
        return (due_at is not None and due_at <= utc_now()) or bool(
            queue.blocked_domains(session, limit=1)
        )


def _open(engine: Engine) -> list[Summary]:
    with sessions.reading(engine) as session:
        return summaries.of_all(session, store.in_states(session, [EditionState.OPEN]))


def _summary(engine: Engine, slug: str) -> Summary:
    with sessions.reading(engine) as session:
        return summaries.of(session, store.by_slug(session, slug))
