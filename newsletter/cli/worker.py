"""`newsletter worker`: sends all due deliveries until it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock, logs
from newsletter.cli import context, exits, feedback, output, send, setup
from newsletter.cli.ping import Pings
from newsletter.cli.systemd import Service
from newsletter.logs import events
from newsletter.sender.shutdown import Shutdown, on_signals

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.sender.worker import SendTally

#: Seconds to wait before sending again after an error of the mail server or a setting.
_PAUSE_SECONDS = 30.0
#: Intervals of checking the schedule, and of fetching feeds if no edition is due.
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
    """Send due letters and editions until SIGTERM; you can run several workers.

    Any number of processes on any number of machines may share one PostgreSQL database. It notifies
    systemd of its state, where that asks for it (Type=notify).
    """
    found = context.of(ctx)
    found.log(default="info")
    # No exception for local readers only, because the worker also sends to later sign-ups.
    setup.require(found.settings, force=force)
    found.settings.keyring()
    service = Service()
    with found.database() as engine:
        with on_signals() as shutdown, shutdown.heeded_by(service.stopping):
            scheduler = threading.Thread(
                target=_keep_schedule, args=(engine, found, shutdown), daemon=True
            )
            if schedule:
                scheduler.start()
            service.ready("Sending what is due.")
            keep_sending(engine, found, shutdown, service)
        if schedule:
            scheduler.join()


def keep_sending(
    engine: Engine, here: context.Context, shutdown: Shutdown, service: Service
) -> None:
    """Send all due deliveries until the shutdown.

    After an error, which is logged, sending is retried later. Raises SchemaOutOfDate if the
    database was upgraded while this process was running.
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
                on_tally=lambda tally: service.status(_so_far(tally)),
                on_trouble=output.trouble,
                on_commit=service.progressed,
            )
        except SchemaOutOfDate:
            raise
        except NewsletterError as exc:
            events.FAILURE(message=logs.in_words(exc.message, exc.hint))
            service.status(output.printable(exc.message))
        except Exception as exc:  # noqa: BLE001 - the process goes on, and tries again
            events.CRASHED(trace=logs.trace(exc))
        shutdown.wait(_PAUSE_SECONDS)


def _so_far(tally: SendTally) -> str:
    """Return the counts of a worker as text for `systemctl status`."""
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tally.counts.items()))
    return f"Sending what is due; so far {counts or 'nothing was'}."


def _keep_schedule(engine: Engine, here: context.Context, shutdown: Shutdown) -> None:
    """Run the schedule while this process holds the leader lock."""
    from newsletter.db.election import LeaderLock
    from newsletter.errors import NewsletterError

    fetch_at = 0.0
    with LeaderLock(engine, "schedule") as lock, _pings(here) as pings:
        while not shutdown.is_wanted:
            try:
                if lock.is_elected():
                    with pings.run(by_this_thread=True) if pings else nullcontext() as run:
                        errors, fetch_at = _look(engine, here, fetch_at, shutdown)
                        if run and errors:
                            run.status = exits.FAILED
            except NewsletterError as exc:
                events.FAILURE(message=logs.in_words(exc.message, exc.hint))
            except Exception as exc:  # noqa: BLE001 - sending goes on; the next look may be better
                events.CRASHED(trace=logs.trace(exc))
            shutdown.wait(_LOOK_SECONDS)


@contextmanager
def _pings(here: context.Context) -> Iterator[Pings | None]:
    """Report runs of the schedule, if there is a URL for that."""
    if here.settings.ping_url is None:
        yield None
        return
    with closing(Pings(here.settings.ping_url, warn=output.warn)) as pings:
        yield pings


def _look(
    engine: Engine, here: context.Context, fetch_at: float, shutdown: Shutdown
) -> tuple[list[str], float]:
    """Fetch feeds and read the mailbox if it is time, and make due editions.

    Returns the errors, and the time of the next fetch. If an edition is due, the feeds are fetched
    first.
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
                # Not all feeds were fetched, so an edition made now would miss articles.
                return errors, fetch_at
            fetch_at = time.monotonic() + _FETCH_SECONDS
        returned = feedback.on_schedule(engine, here, is_stopped=lambda: shutdown.is_wanted)
        if returned and returned.is_news:
            feedback.report(returned.tally, returned.alarms)
        if returned and returned.failure:
            errors.append(returned.failure.message)
        # With the same `now`, so that an edition that became due since then waits for a fetch of
        # its own.
        done = schedule.keep(engine, now=now, publication=here.publication)
        errors += [failure.message for failure in done.failures]
    # Printed for the monitor only, as these are also logged.
    for said in [
        *map(send.sentence, done.made),
        *(f"{name} is finished." for name in done.finished),
    ]:
        output.trouble(said)
    for failure in done.failures:
        output.trouble(failure.message, failure.hint)
    return errors, fetch_at
