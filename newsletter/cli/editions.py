"""`newsletter editions`: lists, shows, pauses, cancels, skips and corrects editions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import clock
from newsletter.cadences import Cadence
from newsletter.cli import context, files, history, output, setup
from newsletter.cli.send import CadenceArgument, DryRun
from newsletter.models import State

if TYPE_CHECKING:
    from newsletter.editions.clicks import ArticleClicks
    from newsletter.editions.correct import Correction
    from newsletter.editions.editor import Skipped
    from newsletter.editions.summaries import Contents, Corrected, Summary
    from newsletter.models import Edition
    from newsletter.settings import Settings

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="EDITION", help="Its name, such as weekly-2026-11-23.")
]
_LEFT_OUT = ("unsubscribed", "paused", "suppressed", "forgotten")
_COLUMNS = (
    "edition", "state", "audience", "variants",
    "accepted", "refused", "deferred", "unknown", "cancelled", "skipped", "queued", "claimed",
    "in_flight", "bounced", "complained",
)  # fmt: skip


@app.command("list")
def list_editions(
    ctx: typer.Context,
    *,
    cadence: Annotated[Cadence | None, typer.Option(help="Only those of one cadence.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=output.LARGEST, help="How many.")] = 10,
    json: output.Json = False,
) -> None:
    """List the latest editions with their books."""
    from newsletter.db import session as sessions
    from newsletter.editions import summaries

    with context.of(ctx).database() as engine, sessions.reading(engine) as session:
        found = summaries.recent(session, cadence=cadence, limit=limit)
    if json:
        output.as_json({"editions": [asdict(summary) for summary in found]})
    elif found:
        _table(found)
    else:
        output.say("There is no edition yet: `newsletter send CADENCE` makes one.")


@app.command()
def show(ctx: typer.Context, edition: Name, *, json: output.Json = False) -> None:
    """Show one edition: books, coverage, the articles of each variant, clicks, and corrections.

    Of an announcement, its text and its readers.
    """
    from newsletter import audit
    from newsletter.db import session as sessions
    from newsletter.editions import announcements, clicks, store, summaries

    here = context.of(ctx)
    with here.database() as engine, sessions.reading(engine) as session:
        row = store.by_slug(session, edition)
        summary, variants = summaries.of(session, row), summaries.contents(session, row)
        corrections, note = summaries.corrections(session, row), store.note_of(session, row)
        acts, clicked = audit.of(session, [f"edition:{edition}"]), clicks.of(session, row)
        announced = announcements.of(session, row)
    if json:
        output.as_json(
            {
                **asdict(summary),
                **_times(row),
                "mailings": [asdict(one) for one in variants],
                "clicks": None if clicked is None else [asdict(one) for one in clicked],
                "corrections": [asdict(one) for one in corrections],
                "note": note.text if note else None,
                "to": announced.audience if announced else None,
                "text": announced.text if announced else None,
                "history": history.as_json(acts),
            }
        )
        return
    zone = here.settings.zone
    _table([summary])
    if announced:
        history.say(acts, zone)
        output.say(f"\n{announced.subject} (to {announced.audience})\n\n{announced.text}")
        return
    output.say(
        f"Covers {row.coverage_start.astimezone(zone):%Y-%m-%d %H:%M} "
        f"to {row.coverage_end.astimezone(zone):%Y-%m-%d %H:%M %Z}."
    )
    history.say(acts, zone)
    if note:
        output.say(f"\nIts note:\n{note.text}")
    for mailing in variants:
        _print_mailing(mailing)
    if clicked is not None:
        _print_clicks(clicked)
    for correction in corrections:
        _print_correction(correction, here.settings)


@app.command()
def pause(ctx: typer.Context, edition: Name, *, json: output.Json = False) -> None:
    """Pause an edition: workers take no more of it. Mails that are being sent still leave."""
    from newsletter.editions import lifecycle

    with context.of(ctx).database() as engine:
        summary = lifecycle.pause(engine, edition, now=clock.utc_now(), actor=context.actor())
    _report(
        summary,
        f"{edition} is paused; `newsletter editions resume {edition}` lets it go on.",
        json=json,
    )


@app.command()
def resume(ctx: typer.Context, edition: Name, *, json: output.Json = False) -> None:
    """Resume a paused edition; the next `newsletter cron` or a running worker sends the rest."""
    from newsletter.editions import lifecycle

    with context.of(ctx).database() as engine:
        summary = lifecycle.resume(engine, edition, now=clock.utc_now(), actor=context.actor())
    left = output.counted(_waiting(summary), "reader")
    _report(summary, f"{edition} goes on; {left} to go.", json=json)


@app.command()
def cancel(
    ctx: typer.Context,
    edition: Name,
    *,
    reason: Annotated[
        str, typer.Option(callback=context.legible, help="Why; it stands in the list.")
    ] = "Cancelled by the operator.",
    json: output.Json = False,
) -> None:
    """Cancel an edition and its corrections for good, or only the corrections if it has ended.

    Readers who did not get a digest catch up with the next one; an announcement is not made again.
    """
    from newsletter.editions import lifecycle

    with context.of(ctx).database() as engine:
        summary, stopped = lifecycle.cancel(
            engine, edition, now=clock.utc_now(), reason=reason, actor=context.actor()
        )
    uncertain = summary.unknown + summary.in_flight
    sentence = f"{edition} is {summary.state}"
    if summary.state == "cancelled":
        sentence += (
            f": {output.counted(summary.accepted, 'reader')} had it, "
            + (f"{uncertain:,} may have had it, " if uncertain else "")
            + f"{summary.cancelled:,} will not get it"
        )
    if stopped:
        sentence += f"; its correction is cancelled for {output.counted(stopped, 'reader')}"
    _report(summary, f"{sentence}.", json=json)


@app.command()
def skip(ctx: typer.Context, cadence: CadenceArgument, *, json: output.Json = False) -> None:
    """Skip the next edition of a cadence; the one after it has the articles.

    A second run before the time of the skipped edition changes nothing.
    """
    from newsletter.editions import editor

    here = context.of(ctx)
    with here.database() as engine:
        found = editor.skip(
            engine,
            cadence,
            now=clock.utc_now(),
            actor=context.actor(),
            publication=here.publication,
        )
    already = "" if found.is_new else " already"
    due = found.due_at.astimezone(here.settings.zone)
    _print_skipped(
        found,
        f"{found.edition}, due {due:%Y-%m-%d %H:%M %Z}, is skipped{already}; the next one is "
        f"{found.following}. `newsletter editions unskip {cadence}` takes that back.",
        json=json,
    )


@app.command()
def unskip(ctx: typer.Context, cadence: CadenceArgument, *, json: output.Json = False) -> None:
    """Undo the skip of the next edition of a cadence, before its time has come."""
    from newsletter.editions import editor

    here = context.of(ctx)
    with here.database() as engine:
        found = editor.unskip(
            engine,
            cadence,
            now=clock.utc_now(),
            actor=context.actor(),
            publication=here.publication,
        )
    due = found.due_at.astimezone(here.settings.zone)
    _print_skipped(found, f"{found.edition} will be made, {due:%Y-%m-%d %H:%M %Z}.", json=json)


@app.command()
def correct(
    ctx: typer.Context,
    edition: Name,
    *,
    article: Annotated[
        str, typer.Option("--article", help="Its number in `editions show`, or its link.")
    ],
    text: Annotated[
        Path,
        typer.Option(
            "--text",
            help="A file with what to say, plain text with blank lines between paragraphs; "
            "- for standard input.",
        ),
    ],
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject",
            callback=context.legible,
            help="The mail's subject, if not the one that names the article.",
        ),
    ] = None,
    dry_run: DryRun = False,
    json: output.Json = False,
) -> None:
    """Send a correction of an article to the readers for whom an edition with it was accepted.

    Only readers who still want mail get it. A second run with the same text continues where the
    first one stopped, and nobody gets it twice; another text is another correction.
    """
    from newsletter.editions import correct as correcting
    from newsletter.sender import trial

    here, now = context.of(ctx), clock.utc_now()
    notice = correcting.notice(
        edition, article, files.read(text, correcting.LONGEST + 1), subject=subject
    )
    with here.database() as engine:
        if dry_run:
            setup.warn(here.settings)
            found = correcting.rehearse(engine, notice, now=now, publication=here.publication)
        else:
            setup.require_for_readers(engine, here.settings)
            with output.progress() as progress:
                task = progress.add_task(f"correction of {edition}", total=None)
                found = correcting.send(
                    engine,
                    notice,
                    now=now,
                    publication=here.publication,
                    plan=here.plan,
                    on_queued=lambda queued: progress.update(task, total=queued.waiting),
                    on_settled=lambda readers: progress.update(task, completed=readers),
                    on_trouble=output.trouble,
                    actor=context.actor(),
                )
    mail = trial.filled(
        found.message, here.settings, f"reader@{here.settings.sender_domain}", now=now
    )
    body = trial.part(mail, "plain").replace("\r\n", "\n")
    if json:
        output.as_json({**_correction(found), "text": body, "dry_run": dry_run})
    else:
        _print_correction_result(found, body, dry_run=dry_run)
    if found.waiting and not dry_run:
        raise typer.Exit(75)


def _print_correction_result(found: Correction, body: str, *, dry_run: bool) -> None:
    readers = output.counted(found.readers, "reader")
    if dry_run:
        output.say(f"Subject: {found.message.subject}")
        output.say("")
        output.say(body)
        already = {**found.books}
        already.pop(State.QUEUED, None)
        output.say(f"The correction would go to {readers}{_counts(already)}.")
    else:
        state = "on its way" if found.waiting else "finished"
        output.say(f"The correction is {state}: {readers}{_counts(found.books)}.")
    if found.left_out:
        counts = ((name, getattr(found, name)) for name in _LEFT_OUT)
        why = ", ".join(f"{count:,} {name}" for name, count in counts if count)
        output.say(f"Not told, because they want no more mail: {why}.")
    if found.uncertain:
        output.say(
            f"Not told, because they may or may not have had it: {found.uncertain:,} unknown."
        )
    if found.pruned:
        output.say(f"Not told, because their deliveries were pruned: {found.pruned:,}.")
    if found.coming:
        output.warn(
            f"{output.counted(found.coming, 'reader')} will still get {found.edition} as it is.",
            f"`newsletter editions cancel {found.edition}` keeps it from them; or run this again "
            "when they have it.",
        )


def _correction(found: Correction) -> dict[str, Any]:
    return {
        "edition": found.edition,
        "article": found.article.article_id,
        "title": found.article.title,
        "link": found.article.link,
        "subject": found.message.subject,
        "readers": found.readers,
        **{state.value: found.books.get(state, 0) for state in State},
        "not_told": {
            **{name: getattr(found, name) for name in _LEFT_OUT},
            "unknown": found.uncertain,
            "pruned": found.pruned,
        },
        "still_to_get_it": found.coming,
    }


def _counts(states: Mapping[State, int] | Mapping[str, int]) -> str:
    return "".join(f", {count:,} {state}" for state, count in sorted(states.items()))


def _print_skipped(found: Skipped, sentence: str, *, json: bool) -> None:
    if json:
        output.as_json(asdict(found))
    else:
        output.say(sentence)


def _report(summary: Summary, sentence: str, *, json: bool) -> None:
    if json:
        output.as_json(asdict(summary))
    else:
        output.say(sentence)


def _waiting(summary: Summary) -> int:
    return summary.queued + summary.claimed + summary.in_flight + summary.deferred


def _table(found: list[Summary]) -> None:
    shown = [name for name in _COLUMNS if name in _COLUMNS[:5] or _any(found, name)]
    output.table(shown, ([getattr(summary, name) for name in shown] for summary in found))
    for summary in found:
        if summary.reason:
            output.say(f"{summary.edition}: {summary.reason}")


def _any(found: list[Summary], name: str) -> bool:
    return any(getattr(summary, name) for summary in found)


def _print_mailing(mailing: Contents) -> None:
    output.say("")
    output.say(f"{mailing.subject} ({output.counted(mailing.readers, 'reader')})")
    output.table(
        ["", "role", "article", "title", "link"],
        (
            [one.position, one.role, str(one.article_id),
             one.title + (" (edited since)" if one.is_edited else ""), one.link]
            for one in mailing.articles
        ),
    )  # fmt: skip


def _print_clicks(clicked: list[ArticleClicks]) -> None:
    output.say("")
    output.say("How often each article was opened from the mail:")
    output.table(
        ["article", "title", "accepted", "clicks", "rate"],
        (
            [str(one.article_id), one.title, one.accepted,
             "under five" if one.clicks is None else one.clicks,
             "" if one.rate is None else f"{one.rate:.1%}"]
            for one in clicked
        ),
    )  # fmt: skip


def _print_correction(correction: Corrected, settings: Settings) -> None:
    readers = output.counted(correction.readers, "reader")
    at = correction.created_at.astimezone(settings.zone)
    output.say("")
    output.say(f"Corrected {at:%Y-%m-%d %H:%M %Z}: {correction.subject}")
    output.say(f"{readers}{_counts(correction.states)}.")


def _times(row: Edition) -> dict[str, Any]:
    return {
        "coverage_start": row.coverage_start,
        "coverage_end": row.coverage_end,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }
