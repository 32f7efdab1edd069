"""`newsletter worker`: sends whatever is due, for as long as it is left running."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock
from newsletter.cli import context, output, send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from newsletter.settings import Settings

#: How long to wait before sending is tried again after the mail server, or a setting, failed.
_PAUSE_SECONDS = 30.0
#: How often the calendar is looked at, and how often the feeds are fetched meanwhile.
_LOOK_SECONDS = 20.0
_FETCH_SECONDS = 600.0


def worker(
    ctx: typer.Context,
    *,
    schedule: Annotated[
        bool,
        typer.Option(
            "--schedule", help="Do what `newsletter cron` does, too; of a fleet, one does it."
        ),
    ] = False,
) -> None:
    """Send what is due, letters and editions, until SIGTERM; run as many as you want.

    Any number of processes on any number of machines may share one PostgreSQL database.
    """
    found = context.of(ctx)
    stopped = threading.Event()
    with found.database() as engine:
        if schedule:
            with _scheduling(engine, found.settings, stopped):
                keep_sending(engine, found.settings, stopped)
        else:
            keep_sending(engine, found.settings, stopped)


def keep_sending(engine: Engine, settings: Settings, stopped: threading.Event) -> None:
    """Send whatever is due until a signal comes or `stopped` is set.

    A failure is said, and sending is tried again later.
    """
    from newsletter.delivery.worker import Plan, run
    from newsletter.editions import store
    from newsletter.errors import NewsletterError

    while not stopped.is_set():
        try:
            tally = run(
                engine,
                Plan.of(settings),
                excluded=store.withheld_mailings(),
                stays=True,
                stopped=stopped,
                on_trouble=output.warn,
            )
        except NewsletterError as exc:
            output.warn(exc.message, exc.hint)
        except Exception:  # noqa: BLE001 - whatever else runs here goes on, and this tries again
            traceback.print_exc()
        else:
            if tally.was_stopped:
                stopped.set()
        _pause(stopped)


def _pause(stopped: threading.Event) -> None:
    """Wait a while, but not past a signal: a worker hears them only while it sends."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
    stopped.wait(_PAUSE_SECONDS)


@contextmanager
def _scheduling(engine: Engine, settings: Settings, stopped: threading.Event) -> Iterator[None]:
    """Keep the calendar in a thread, whenever this process is the one that is elected."""
    thread = threading.Thread(target=_keep, args=(engine, settings, stopped), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _keep(engine: Engine, settings: Settings, stopped: threading.Event) -> None:
    from newsletter.db.election import Candidate
    from newsletter.errors import NewsletterError

    fetch_at = 0.0
    with Candidate(engine) as candidate:
        while not stopped.is_set():
            try:
                if candidate.is_elected():
                    fetch_at = _look(engine, settings, fetch_at)
            except NewsletterError as exc:
                output.warn(exc.message, exc.hint)
            except Exception:  # noqa: BLE001 - sending goes on, and the next look may be better
                traceback.print_exc()
            stopped.wait(_LOOK_SECONDS)


def _look(engine: Engine, settings: Settings, fetch_at: float) -> float:
    """Fetch the feeds if it is time, or an edition is; make what is due. Return the next fetch."""
    from newsletter.editions import publish
    from newsletter.editions import schedule as calendar

    now = clock.utc_now()
    is_due = bool(publish.due_editions(engine, now=now, settings=settings))
    if is_due or time.monotonic() >= fetch_at:
        send.fetch(engine, settings, now)
        fetch_at = time.monotonic() + _FETCH_SECONDS
    done = calendar.keep(engine, now=clock.utc_now(), settings=settings)
    for summary in done.made:
        output.say(send.sentence(summary))
    for name in done.finished:
        output.say(f"{name} is finished.")
    for failure in done.failures:
        output.warn(failure.message, failure.hint)
    return fetch_at
