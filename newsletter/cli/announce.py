"""`newsletter announce`: sends a text once, to all readers, a cadence or an edition's readers."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import address, clock
from newsletter.cli import context, files, output, setup
from newsletter.cli import send as sending
from newsletter.cli.send import DryRun
from newsletter.errors import InvalidInput
from newsletter.sender.shutdown import on_signals

if TYPE_CHECKING:
    from newsletter.editions.announce import AnnouncementPlan, Text
    from newsletter.editions.summaries import Summary


def announce(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A file with the text in Markdown; - for standard input.")
    ],
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="READERS",
            help="all, daily, weekly, monthly, or the edition that they got: weekly-2026-12-07.",
        ),
    ],
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject",
            callback=context.legible,
            help="The subject, if not the heading with which the text begins.",
        ),
    ] = None,
    dry_run: DryRun = False,
    test: Annotated[
        str | None,
        typer.Option("--test", metavar="ADDRESS", help="Send it to this one address alone."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="How many processes send.")
    ] = 1,
    json: output.Json = False,
) -> None:
    """Send an announcement: a text of your own, to all readers, a cadence or an edition's readers.

    A second run with the same text, subject and readers continues where the first one stopped, and
    nobody gets it twice. No digest changes by it. Paragraphs, emphasis, links, lists, quotations
    and headings are shown; of pictures only the alternative text. `newsletter editions` pauses,
    cancels and shows it by its name, extra-2026-12-03. To correct one, announce another to those
    who got it.
    """
    from newsletter.editions import announce as announcing

    if test and dry_run:
        raise InvalidInput("Give --test or --dry-run, not both.")
    here = context.of(ctx)
    here.log()
    text = announcing.parse(files.read(file, 2 * announcing.LONGEST), audience=to, subject=subject)
    if test:
        _post(text, test, here, json=json)
    elif dry_run:
        setup.warn(here.settings)
        _show(_plan(text, here), here, json=json)
    else:
        is_asked = not (yes or json) and str(file) != "-" and sys.stdin.isatty()
        _send(text, here, workers=workers, is_asked=is_asked, json=json)


def _plan(text: Text, here: context.Context) -> AnnouncementPlan:
    from newsletter.editions import announce as announcing
    from newsletter.sender.forecast import Capacity

    with here.database() as engine:
        return announcing.plan(
            engine,
            text,
            now=clock.utc_now(),
            publication=here.publication,
            capacity=Capacity.of(here.settings),
        )


def _post(text: Text, to: str, here: context.Context, *, json: bool) -> None:
    from newsletter.editions import announce as announcing
    from newsletter.sender import trial

    now = clock.utc_now()
    recipient = address.normalise(to, local=True)
    setup.require_for(recipient, here.settings)
    rendered = announcing.render(text, now=now, publication=here.publication)
    message = trial.filled(rendered.message, here.settings, recipient, now=now)
    trial.post(here.settings, recipient, message)
    if json:
        output.as_json({"subject": text.subject, "test": recipient, "octets": len(message)})
    else:
        output.say(f"{text.subject}\nSent to {recipient} alone; its links work for nobody.")


def _send(text: Text, here: context.Context, *, workers: int, is_asked: bool, json: bool) -> None:
    from newsletter.editions import announce as announcing

    if is_asked:
        _ask(_plan(text, here))
    # Signals are handled until the report is printed, so that a second Ctrl-C does not cut it off.
    with here.database() as engine, on_signals():
        setup.require_for_readers(engine, here.settings)
        with output.progress() as progress:
            task = progress.add_task("announcement", total=None)

            def on_frozen(made: Summary) -> None:
                waiting = made.audience - made.accepted - made.refused
                progress.update(task, total=waiting, description=made.edition)

            summary = announcing.send(
                engine,
                text,
                now=clock.utc_now(),
                publication=here.publication,
                plan=here.plan,
                actor=context.actor(),
                workers=workers,
                on_frozen=on_frozen,
                on_settled=lambda readers: progress.update(task, completed=readers),
                on_trouble=output.trouble,
            )
        shown = {"subject": text.subject, "to": text.audience}
        sending.report_edition(engine, summary, here, shown, json=json)
    if summary.is_open and summary.state == "open":
        raise typer.Exit(75)


def _ask(found: AnnouncementPlan) -> None:
    """Ask whether to send an announcement that was not made before."""
    if found.is_made:
        return
    readers = output.counted(found.summary.audience, "reader")
    question = f"Send {found.subject!r} to {readers} ({found.audience})?"
    typer.confirm(output.printable(question), abort=True)


def _show(found: AnnouncementPlan, here: context.Context, *, json: bool) -> None:
    from newsletter.cli import plan as plans

    if json:
        output.as_json({**_as_values(found), "waiting": [], "dry_run": True})
        return
    summary = found.summary
    if found.is_made:
        output.say(f"It was made before. {sending.sentence(summary)}")
        return
    readers = output.counted(summary.audience, "reader")
    output.say(f"{summary.edition}: {found.subject}")
    output.say(f"  To {found.audience}: {readers} would get it, {plans.sizes(found)}.")
    if found.coming:
        output.say(
            f"  {output.counted(found.coming, 'reader')} will still get {found.audience}, and "
            "not this: run it again when they have it."
        )
    if found.pruned:
        output.say(f"  Of {found.pruned:,} more who got it, the deliveries were pruned.")
    plans.show_readers(found, here.settings)


def _as_values(found: AnnouncementPlan) -> dict[str, Any]:
    return {
        **asdict(found.summary),
        "is_made": found.is_made,
        "subject": found.subject,
        "to": found.audience,
        "octets": found.octets,
        "html_octets": found.html_octets,
        "without": [asdict(left) for left in found.without],
        "still_to_get_it": found.coming,
        "pruned": found.pruned,
        "domains": dict(found.domains.most_common()),
        "forecast": asdict(found.forecast) if found.forecast else None,
    }
