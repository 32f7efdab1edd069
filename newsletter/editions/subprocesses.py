"""Sends an edition or a correction completely, by several processes that share only the ledger."""

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

from newsletter import logs
from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import mailings, store
from newsletter.errors import NewsletterError
from newsletter.ledger import queue
from newsletter.ledger.registry import Trouble
from newsletter.logs import events
from newsletter.sender import worker
from newsletter.sender.plan import Plan
from newsletter.sender.shutdown import STOPS, Shutdown, on_signals
from newsletter.sender.worker import SendTally

#: Seconds for which rows held by other workers may stay unchanged before the workers are checked.
PATIENCE_SECONDS = 15
_LOOK_SECONDS = 1.0


def deliver(
    engine: Engine,
    plan: Plan,
    slug: str,
    *,
    workers: int = 1,
    on_settled: Callable[[int], None] | None = None,
    on_trouble: Trouble | None = None,
) -> None:
    """Send the due rows of one edition, and wait for its rows that other workers hold.

    `on_settled` is called with the number of readers for whom these processes have a reply.
    """
    with (
        on_signals() as shutdown,
        _beside(engine, plan, slug, shutdown, processes=workers - 1) as (others, processes),
    ):

        def told(settled: int) -> None:
            if on_settled is not None:
                on_settled(settled + sum(others))

        wanted = _of_edition(engine, slug)
        is_ended = _deliver(engine, plan, wanted, shutdown, on_settled=told, on_trouble=on_trouble)
        if is_ended:
            _drain(processes)
    if shutdown.is_wanted and not is_ended:
        # Reported here, because no worker was running in this process any more to report it.
        events.WORKER_STOPPING(message=worker.TOLD_TO_STOP)
        if on_trouble is not None:
            on_trouble(worker.TOLD_TO_STOP, None)


def deliver_mailing(
    engine: Engine,
    plan: Plan,
    mailing_id: int,
    *,
    on_settled: Callable[[int], None] = lambda _: None,
    on_trouble: Trouble | None = None,
) -> None:
    """Send the due rows of one mailing outside an edition, in this process only."""
    wanted = mailings.among([mailing_id])
    with on_signals() as shutdown:
        _deliver(engine, plan, wanted, shutdown, on_settled=on_settled, on_trouble=on_trouble)


@contextmanager
def _beside(
    engine: Engine, plan: Plan, slug: str, shutdown: Shutdown, *, processes: int
) -> Iterator[tuple[MutableSequence[int], list[BaseProcess]]]:
    """Start more processes that send an edition, and stop them when this one is to stop.

    Yields the number of readers that each process has settled, and the processes, which end when
    nothing is due.
    """
    url = engine.url.render_as_string(hide_password=False)
    # Spawned and not forked, because two processes must not share a database connection.
    context = multiprocessing.get_context("spawn")
    settled: MutableSequence[int] = context.Array("q", processes, lock=False)
    started: list[BaseProcess] = []
    with shutdown.heeded_by(lambda: _drain(started)):
        try:
            for number in range(processes):
                arguments = (url, plan, slug, settled, number)
                process: BaseProcess = context.Process(
                    target=_help, args=arguments, kwargs={"log": logs.configured()}, daemon=True
                )
                with _unheard():
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
def _unheard() -> Iterator[None]:
    """Block signals, so that a process started in the block inherits this until it can handle them.

    A process takes a second to start, in which Ctrl-C would end it with a traceback.
    """
    # Started first, because otherwise start() would start it and unblock the signals.
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
            # With a timeout, because Python handles signals only between two waits.
            process.join(_LOOK_SECONDS)


def _help(
    url: str,
    plan: Plan,
    slug: str,
    settled: MutableSequence[int],
    number: int,
    *,
    log: logs.Configuration | None,
) -> None:
    """Send in an additional process; only the first process reports errors of the mail server."""
    if log is not None:
        logs.configure(log)

    def told(count: int) -> None:
        settled[number] = count

    engine = engines.open(url)
    # Ignored, so that Ctrl-C after the end of sending does not print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with on_signals() as shutdown:
        # The parent blocked the signals before it started this process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        try:
            wanted = _of_edition(engine, slug)
            _deliver(engine, plan, wanted, shutdown, on_settled=told)
        except NewsletterError:
            raise SystemExit(1) from None
        finally:
            engine.dispose()


def _of_edition(engine: Engine, slug: str) -> Select[Any]:
    """Select the mailings of an edition, and none once it is paused or cancelled."""
    with sessions.reading(engine) as session:
        return mailings.unless_withheld(mailings.of(store.by_slug(session, slug)))


def _deliver(
    engine: Engine,
    plan: Plan,
    wanted: Select[Any],
    shutdown: Shutdown,
    *,
    on_settled: Callable[[int], None],
    on_trouble: Trouble | None = None,
) -> bool:
    """Send until nothing is due; return whether a signal or a limit ended it earlier."""
    before = 0
    is_wanted = True
    while is_wanted:

        def told(tally: SendTally, before: int = before) -> None:
            on_settled(before + tally.settled)

        tally = worker.run(
            engine,
            plan,
            mailings=wanted,
            excluded=mailings.withheld(),
            shutdown=shutdown,
            on_tally=told,
            on_trouble=on_trouble,
        )
        if tally.was_stopped or tally.limited_until is not None:
            return True
        before += tally.settled
        is_wanted = _wait_for_work(engine, wanted, shutdown)
    return False


def _wait_for_work(engine: Engine, wanted: Select[Any], shutdown: Shutdown) -> bool:
    """Poll the rows that other workers hold; return whether to run a worker again.

    A worker is run if rows are due again, if one of the other workers may have crashed, and after a
    signal, which the worker then reports.
    """
    seen: set[int] = set()
    began = time.monotonic()
    while not shutdown.is_wanted:
        with sessions.reading(engine) as session:
            found = queue.held(session, wanted)
            due_at = queue.next_due(session, wanted)
        if due_at is not None and due_at <= utc_now():
            return True
        if not found:
            # The remaining rows are due later, in another run.
            return False
        if found != seen:
            seen, began = found, time.monotonic()
        elif time.monotonic() - began > PATIENCE_SECONDS:
            # A worker may have crashed; the caller then runs a worker that takes over its rows.
            return True
        shutdown.wait(_LOOK_SECONDS)
    return True
