"""`newsletter worker`: sends whatever is due, for as long as it is left running."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock
from newsletter.cli import context, feedback, output, send, setup
from newsletter.sender.shutdown import Shutdown, on_signals

if TYPE_CHECKING:
    from sqlalchemy import Engine


#: How long to wait before sending again after an error of the mail server or a setting.
_PAUSE_SECONDS = 30.0
#: How often the schedule is looked at, and how often the feeds are fetched meanwhile.
_LOOK_SECONDS = 20.0
_FETCH_SECONDS = 600.0


def worker(
    ctx: typer.Context,
    *,
    schedule: Annotated[
        bool,
        typer.Option(
            "--schedule", help="Do what `newsletter cron` does, too; of many workers, one does it."
        ),
    ] = False,
    force: setup.Force = False,
) -> None:
    """Send what is due, letters and editions, until SIGTERM; run as many as you want.

    Any number of processes on any number of machines may share one PostgreSQL database.
    """
    found = context.of(ctx)
    found.log(default="info")
    # It keeps running and mails later sign-ups, so local readers alone are no exception.
    setup.require(found.settings, force=force)
    found.settings.keyring()
    with found.database() as engine:
        with on_signals() as shutdown:
            scheduler = threading.Thread(
                target=_keep_schedule, args=(engine, found, shutdown), daemon=True
            )
            if schedule:
                scheduler.start()
            keep_sending(engine, found, shutdown)
        if schedule:
            scheduler.join()


def keep_sending(engine: Engine, here: context.Context, shutdown: Shutdown) -> None:
    """Send whatever is due until the shutdown.

    An error is printed, and sending is tried again later. Raises SchemaOutOfDate once the database
    was upgraded under this process.
    """
    from newsletter.editions import mailings
    from newsletter.errors import NewsletterError, SchemaOutOfDate
    from newsletter.sender.worker import run

    while not shutdown.is_wanted:
        try:
            run(
                engine,
                here.plan(),
                excluded=mailings.withheld(),
                stays=True,
                shutdown=shutdown,
                on_trouble=output.warn,
            )
        except SchemaOutOfDate:
            raise
        except NewsletterError as exc:
            output.warn(exc.message, exc.hint)
        except Exception as exc:  # noqa: BLE001 - the process goes on, and tries again
            output.trace(exc)
        shutdown.wait(_PAUSE_SECONDS)


def _keep_schedule(engine: Engine, here: context.Context, shutdown: Shutdown) -> None:
    """Do what is scheduled, while this process holds the leader lock."""
    from newsletter.db.election import LeaderLock
    from newsletter.errors import NewsletterError

    fetch_at = 0.0
    with LeaderLock(engine, "schedule") as lock:
        while not shutdown.is_wanted:
            try:
                if lock.is_elected():
                    fetch_at = _look(engine, here, fetch_at, shutdown)
            except NewsletterError as exc:
                output.warn(exc.message, exc.hint)
            except Exception as exc:  # noqa: BLE001 - sending goes on; the next look may be better
                output.trace(exc)
            shutdown.wait(_LOOK_SECONDS)


def _look(engine: Engine, here: context.Context, fetch_at: float, shutdown: Shutdown) -> float:
    """Fetch the feeds and read the mailbox if it is time; make what is due. Return the next fetch.

    An edition that is due has the feeds fetched first.
    """
    from newsletter.articles import turn
    from newsletter.articles.limits import Limits
    from newsletter.editions import fetching, schedule, scheduler

    now, limits = clock.utc_now(), Limits.of(here.settings)
    with scheduler.noted(engine, "worker") as errors:
        occasion = fetching.occasion(engine, now=now, publication=here.publication)
        if occasion.is_whole or time.monotonic() >= fetch_at:
            fetched = turn.fetch_all(
                engine, limits, now, occasion=occasion, is_stopped=lambda: shutdown.is_wanted
            )
            fetched = fetching.complete(
                fetched, engine, limits, now=now, occasion=occasion, shutdown=shutdown
            )
            send.report(engine, fetched, now)
            if shutdown.is_wanted:
                # Not every feed was read: an edition that is made now would miss their articles.
                return fetch_at
            fetch_at = time.monotonic() + _FETCH_SECONDS
        returned = feedback.on_schedule(engine, here, is_stopped=lambda: shutdown.is_wanted)
        if returned and returned.is_news:
            feedback.report(returned.tally, returned.alarms)
        if returned and returned.failure:
            errors.append(returned.failure.message)
        # At the same instant: an edition that has fallen due since gets a fetch of its own first.
        done = schedule.keep(engine, now=now, publication=here.publication)
        errors += [failure.message for failure in done.failures]
    for summary in done.made:
        output.say(send.sentence(summary))
    for name in done.finished:
        output.say(f"{name} is finished.")
    for failure in done.failures:
        output.warn(failure.message, failure.hint)
    return fetch_at
