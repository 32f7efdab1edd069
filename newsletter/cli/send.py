"""`newsletter send` and `newsletter cron`: make editions and send them to readers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import books, context, feedback, output, ping, setup
from newsletter.sender.shutdown import on_signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Engine

    from newsletter.articles.ingest import Result
    from newsletter.articles.notices import Notice
    from newsletter.articles.turn import Elsewhere
    from newsletter.editions.summaries import Summary
    from newsletter.sender.waiting import Waiting

CadenceArgument = Annotated[Cadence, typer.Argument(help="daily, weekly or monthly.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say who would get what; send and change nothing.")
]


def send(
    ctx: typer.Context,
    cadence: CadenceArgument,
    *,
    dry_run: DryRun = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Send what is stale, or what a restored backup has waiting, too; and with "
            "sender, base_url or postal_address not filled in.",
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="How many processes send.")
    ] = 1,
    json: output.Json = False,
) -> None:
    """Send the edition of the current period now. A second run continues where it stopped."""
    found = context.of(ctx)
    found.log()
    if dry_run:
        _plan(cadence, found, force=force, json=json)
        return
    # Signals are handled until the report is printed, so that a second Ctrl-C does not cut it off.
    with found.database() as engine, on_signals():
        setup.require_for_readers(engine, found.settings, force=force)
        summary = deliver(
            engine,
            cadence,
            found,
            now=clock.utc_now(),
            actor=context.actor(),
            force=force,
            workers=workers,
        )
        report_edition(engine, summary, found, json=json)
    if summary.is_open and summary.state == "open":
        raise typer.Exit(75)


def report_edition(
    engine: Engine,
    summary: Summary,
    here: context.Context,
    more: Mapping[str, object] = MappingProxyType({}),
    *,
    json: bool,
) -> None:
    """Print what sending an edition came to, and why the rest waits; `more` is for JSON."""
    waits = _waiting(engine, summary, here)
    if json:
        waiting = [asdict(one) for one in waits]
        output.as_json({**asdict(summary), **more, "waiting": waiting, "dry_run": False})
        return
    output.say(_with_reasons(sentence(summary), waits, here))
    if summary.refused > summary.accepted:
        output.warn(
            "More were refused than accepted.",
            "`newsletter delivery list --state refused` shows what the mail server said.",
        )


def cron(
    ctx: typer.Context,
    *,
    dry_run: DryRun = False,
    force: setup.Force = False,
    json: output.Json = False,
) -> None:
    """Fetch the feeds and send what is due; print one line for each edition that has changed.

    It also reads the mailbox of feedback_url. Failures of a feed or of the mailbox are reported
    when they begin, once a day, and when they end; the exit code is 1 if a run reports a failure.
    """
    from newsletter.editions import scheduler

    found = context.of(ctx)
    found.log()
    if dry_run:
        _plan_due(found, json=json)
        return
    with ping.reported(found.settings.ping_url), found.database() as engine:
        setup.require_for_readers(engine, found.settings, force=force)
        with scheduler.noted(engine, "cron"):
            code = _run(engine, found, json=json)
        if code:
            raise typer.Exit(code)


def _plan(cadence: Cadence, here: context.Context, *, force: bool, json: bool) -> None:
    """Show what `send` would do now."""
    from newsletter.cli import plan as plans
    from newsletter.editions import plan as planning
    from newsletter.sender.forecast import Capacity

    setup.warn(here.settings)
    with here.database() as engine:
        if not force:
            setup.warn_if_restored(engine)
        found = planning.current(
            engine,
            cadence,
            now=clock.utc_now(),
            publication=here.publication,
            capacity=Capacity.of(here.settings),
            force=force,
        )
    if json:
        output.as_json({**plans.as_values(found), "waiting": [], "dry_run": True})
    else:
        plans.show(found, here.settings)


def _plan_due(here: context.Context, *, json: bool) -> None:
    """Show what `cron` would send now."""
    from newsletter.cli import plan as plans
    from newsletter.editions import plan as planning
    from newsletter.sender.forecast import Capacity

    setup.warn(here.settings)
    with here.database() as engine:
        setup.warn_if_restored(engine)
        found = planning.due(
            engine,
            now=clock.utc_now(),
            publication=here.publication,
            capacity=Capacity.of(here.settings),
        )
    if json:
        editions = [plans.as_values(one) for one in found]
        output.as_json({"editions": editions, "feeds_failed": [], "dry_run": True})
    else:
        plans.show_all(found, here.settings)


def _run(engine: Engine, here: context.Context, *, json: bool) -> int:
    """Do one run of cron and report it; return its exit code."""
    from newsletter.articles.limits import Limits
    from newsletter.editions import due

    run = due.Run(
        engine=engine,
        now=clock.utc_now(),
        publication=here.publication,
        limits=Limits.of(here.settings),
        plan=here.plan,
        on_trouble=output.trouble,
    )
    fetched = run.fetch()
    with on_signals() as shutdown:
        fetched = run.complete(fetched, shutdown)
        failing = report(engine, fetched, run.now)
        # Before editions, so that dead addresses are suppressed when readers are selected.
        returned = feedback.on_schedule(engine, here, is_stopped=lambda: shutdown.is_wanted)
        failure = run.send(lambda cadence: deliver(engine, cadence, here, now=run.now), shutdown)
        if json:
            moved = _moved(run.moved.values(), failing=failing)
            output.as_json({**moved, "feedback": returned.as_json() if returned else None})
        else:
            if returned and returned.is_news:
                feedback.report(returned.tally, returned.alarms)
            for summary in run.moved.values():
                waits = _waiting(engine, summary, here)
                output.say(_with_reasons(sentence(summary), waits, here))
    if failure is not None:
        raise failure
    if shutdown.is_wanted:
        return 75
    return 1 if failing or (returned and returned.failure) else 0


def _moved(summaries: Iterable[Summary], *, failing: list[Notice]) -> dict[str, object]:
    return {
        "editions": [asdict(summary) for summary in summaries],
        "feeds_failed": [one.url for one in failing],
        "dry_run": False,
    }


def deliver(
    engine: Engine,
    cadence: Cadence,
    here: context.Context,
    *,
    now: datetime,
    actor: str | None = None,
    force: bool = False,
    workers: int = 1,
) -> Summary:
    """Send one edition, with a progress bar on a terminal."""
    from newsletter.editions import send as sending

    with output.progress() as progress:
        task = progress.add_task(f"{cadence} edition", total=None)

        def on_frozen(summary: Summary) -> None:
            waiting = summary.audience - summary.accepted - summary.refused
            progress.update(task, total=waiting, description=summary.edition)

        def on_settled(readers: int) -> None:
            progress.update(task, completed=readers)

        return sending.send(
            engine,
            cadence,
            now=now,
            publication=here.publication,
            plan=here.plan,
            actor=actor,
            force=force,
            workers=workers,
            on_frozen=on_frozen,
            on_settled=on_settled,
            on_trouble=output.trouble,
        )


def sentence(summary: Summary) -> str:
    """Return the state of an edition as a sentence."""
    name = summary.edition
    if summary.state == "skipped":
        return f"{name} is skipped: {summary.reason}"
    readers = output.counted(summary.audience, "reader")
    state = "on its way" if summary.state == "open" else summary.state
    return f"{name} is {state}: {readers}{books.counts(summary)}."


def _waiting(engine: Engine, summary: Summary, here: context.Context) -> list[Waiting]:
    """Return why deliveries of an open edition wait; empty for a paused one."""
    from newsletter.db import session as sessions
    from newsletter.editions import mailings, store
    from newsletter.sender import waiting
    from newsletter.sender.limits import Limits

    if not summary.is_open or summary.state != "open":
        return []
    with sessions.reading(engine) as session:
        theirs = mailings.of(store.by_slug(session, summary.edition))
        return waiting.of(session, theirs, limits=Limits.of(here.settings), now=clock.utc_now())


def _with_reasons(said: str, waits: list[Waiting], here: context.Context) -> str:
    from newsletter.sender import waiting

    why = waiting.sentences(waits, zone=here.settings.zone, now=clock.utc_now())
    return f"{said} {why}".rstrip()


def report(engine: Engine, fetched: list[Result] | Elsewhere, now: datetime) -> list[Notice]:
    """Print which feeds fail or have recovered, and which articles wait or exceed a limit.

    Returns the printed notices of failing feeds; they are due on the first failure, then daily.
    """
    from newsletter.articles import notices, wording

    if not isinstance(fetched, list):
        # The process that fetched the feeds prints the report.
        return []
    results = fetched
    hints = {one.feed_id: one.hint for one in results}
    said = notices.take(engine, now)
    for notice in said:
        hint = hints.get(notice.feed_id) if notice.is_failing else None
        output.trouble(notice.sentence, hint)
    for one in results:
        if one.counts.left_out:
            output.trouble(wording.left_out(one))
    if quarantined := sum(one.counts.quarantined for one in results):
        output.trouble(
            f"{quarantined:,} articles wait for approval: `newsletter articles list --quarantined`."
        )
    return [one for one in said if one.is_failing]
