"""Sends an edition or a correction by several processes, which coordinate through the ledger."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy import Engine, Select

from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import store
from newsletter.errors import NewsletterError
from newsletter.ledger import queue
from newsletter.ledger.registry import Trouble
from newsletter.sender import worker
from newsletter.sender.plan import Plan
from newsletter.sender.shutdown import STOPS, Shutdown, on_signals
from newsletter.sender.worker import SendTally
from newsletter.settings import Settings

#: How long held rows may stay unchanged before crashed workers are looked for.
PATIENCE_SECONDS = 15
_POLL_SECONDS = 1.0


def deliver(
    engine: Engine,
    settings: Settings,
    slug: str,
    *,
    workers: int = 1,
    on_settled: Callable[[int], None] | None = None,
    on_trouble: Trouble | None = None,
) -> None:
    """Send the due deliveries of one edition, and wait for those that other workers hold.

    `on_settled` is called with the number of readers that these processes have an outcome for.
    """
    with (
        on_signals() as shutdown,
        _subprocesses(settings, slug, shutdown, processes=workers - 1) as (others, processes),
    ):

        def report(settled: int) -> None:
            if on_settled is not None:
                on_settled(settled + sum(others))

        plan, mailings = Plan.of(settings), _of_edition(engine, slug)
        is_ended = _deliver(
            engine, plan, mailings, shutdown, on_settled=report, on_trouble=on_trouble
        )
        if is_ended:
            _drain(processes)
    if shutdown.is_wanted and not is_ended and on_trouble is not None:
        # A signal stopped the other processes after this one had finished.
        on_trouble(worker.TOLD_TO_STOP, None)


def deliver_mailing(
    engine: Engine,
    settings: Settings,
    mailing_id: int,
    *,
    on_settled: Callable[[int], None] = lambda _: None,
    on_trouble: Trouble | None = None,
) -> None:
    """Send the due deliveries of a mailing without an edition, in this process alone."""
    mailings = store.mailings_among([mailing_id])
    plan = Plan.of(settings)
    with on_signals() as shutdown:
        _deliver(engine, plan, mailings, shutdown, on_settled=on_settled, on_trouble=on_trouble)


@contextmanager
def _subprocesses(
    settings: Settings, slug: str, shutdown: Shutdown, *, processes: int
) -> Iterator[tuple[MutableSequence[int], list[BaseProcess]]]:
    """Start processes that send an edition, and forward a shutdown to them.

    Yields the number of readers that each has settled, and the processes, which end by themselves
    when nothing is due.
    """
    # Spawned, not forked: a database connection must not be shared by two processes.
    context = multiprocessing.get_context("spawn")
    settled: MutableSequence[int] = context.Array("q", processes, lock=False)
    started: list[BaseProcess] = []
    with shutdown.heeded_by(lambda: _drain(started)):
        try:
            for number in range(processes):
                arguments = (settings, slug, settled, number)
                process: BaseProcess = context.Process(
                    target=_run_subprocess, args=arguments, daemon=True
                )
                with _signals_blocked():
                    process.start()
                started.append(process)
                if shutdown.is_wanted:
                    _drain(started)
                    break
            yield settled, started
            _join(started)
        except BaseException:
            _drain(started)
            _join(started)
            raise


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the stop signals for processes started meanwhile, until their handlers are installed.

    A process takes a second to start, in which Ctrl-C would end it with a traceback.
    """
    # Before: start() would start the tracker, and unblock these signals at its end.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drain(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()


def _join(processes: list[BaseProcess]) -> None:
    for process in processes:
        while process.is_alive():
            # A wait without a time-out would delay signals that another thread received.
            process.join(_POLL_SECONDS)


def _run_subprocess(
    settings: Settings, slug: str, settled: MutableSequence[int], number: int
) -> None:
    """Send in a subprocess; errors are not reported, as the first process has the same ones."""

    def report(count: int) -> None:
        settled[number] = count

    engine = engines.open(settings.database_url)
    # After on_signals has restored the handlers, Ctrl-C must not cause a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with on_signals() as shutdown:
        # See _signals_blocked.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        try:
            mailings = _of_edition(engine, slug)
            _deliver(engine, Plan.of(settings), mailings, shutdown, on_settled=report)
        except NewsletterError:
            raise SystemExit(1) from None
        finally:
            engine.dispose()


def _of_edition(engine: Engine, slug: str) -> Select[Any]:
    """Select the mailings of an edition, none while it is paused or after it is cancelled."""
    with sessions.reading(engine) as session:
        return store.unless_withheld(store.mailings(store.by_slug(session, slug)))


def _deliver(
    engine: Engine,
    plan: Plan,
    mailings: Select[Any],
    shutdown: Shutdown,
    *,
    on_settled: Callable[[int], None],
    on_trouble: Trouble | None = None,
) -> bool:
    """Send until nothing is due; return whether a signal or a rate limit ended it earlier."""
    before = 0
    is_wanted = True
    while is_wanted:

        def report(tally: SendTally, before: int = before) -> None:
            on_settled(before + tally.settled)

        tally = worker.run(
            engine,
            plan,
            mailings=mailings,
            excluded=store.withheld_mailings(),
            shutdown=shutdown,
            on_tally=report,
            on_trouble=on_trouble,
        )
        if tally.was_stopped or tally.limited_until is not None:
            return True
        before += tally.settled
        is_wanted = _wait_for_work(engine, mailings, shutdown)
    return False


def _wait_for_work(engine: Engine, mailings: Select[Any], shutdown: Shutdown) -> bool:
    """Wait while other workers hold rows; return whether to run a worker again.

    That is if rows are due again, if a worker may have crashed, and at a shutdown, which it
    reports.
    """
    seen, began = None, time.monotonic()
    while not shutdown.is_wanted:
        with sessions.reading(engine) as session:
            found = queue.held(session, mailings)
            due_at = queue.next_due(session, mailings)
        if due_at is not None and due_at <= utc_now():
            return True
        count, _ = found
        if not count:
            # The rest is deferred, for a later run.
            return False
        if found != seen:
            seen, began = found, time.monotonic()
        elif time.monotonic() - began > PATIENCE_SECONDS:
            # A new worker takes over the rows of a crashed one, if there is one.
            return True
        shutdown.wait(_POLL_SECONDS)
    return True
