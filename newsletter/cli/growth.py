"""`newsletter subscribers growth`: how readers came and went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from newsletter import clock
from newsletter.cli import context, output

if TYPE_CHECKING:
    from newsletter.subscribers.growth import Growth, Step

#: The heading of each figure of a step in the table, see `Step.figures`.
_COLUMNS = {
    "daily": "Daily",
    "weekly": "Weekly",
    "monthly": "Monthly",
    "paused": "Paused",
    "asked": "Signed up",
    "confirmed": "Confirmed",
    "added": "Added",
    "imported": "Imported",
    "returned": "Came back",
    "unsubscribed": "Left",
    "bounced": "Bounced",
    "complained": "Complained",
    "forgotten": "Forgotten",
}
_LONGEST = 36_525

Days = Annotated[
    int | None,
    typer.Option("--days", min=1, max=_LONGEST, help="The last days, today included."),
]
All = Annotated[bool, typer.Option("--all", help="All days since the first one.")]


def show(
    ctx: typer.Context, *, days: Days = None, is_all: All = False, json: output.Json = False
) -> None:
    """Show how readers came and went: of the last 30 days, unless you say otherwise.

    Longer spans are shown by weeks or months. Days are those of UTC. Readers are active ones at the
    end of each day, week or month; the other columns count what happened in it.
    """
    from newsletter.db import session as sessions
    from newsletter.subscribers import growth

    span = days if days is not None or is_all else 30
    with context.of(ctx).database() as engine, sessions.snapshot(engine) as session:
        found = growth.find(session, days=span, today=clock.utc_now().date())
    if json:
        output.as_json(_as_json(found))
        return
    if not found.steps[-1].readers and not found.whole.events:
        output.say(
            "There are no readers yet, and there were none. `newsletter subscribers import FILE` "
            "brings some; `newsletter serve` has a sign-up page and a box for your site."
        )
        return
    heading = "Day" if found.unit == "day" else f"{found.unit.capitalize()} from"
    output.table([heading, *_COLUMNS.values()], map(_row, found.steps))
    output.say(_summary(found))
    if found.exact_since is not None and found.exact_since > found.whole.begins:
        output.say(
            f"Days before {found.exact_since} are counted from the record of consents: without "
            "readers who were erased until then."
        )


def _row(step: Step) -> list[object]:
    figures = step.figures()
    return [step.begins, *(f"{figures[name]:,}" for name in _COLUMNS)]


def _summary(found: Growth) -> str:
    from newsletter.models import Status
    from newsletter.subscribers import growth

    figures = found.whole.figures()
    net = figures["active"] - growth.count(found.before, Status.ACTIVE)
    return (
        f"{output.counted(figures['active'], 'active reader')}, {net:+,} since "
        f"{found.whole.begins}; {figures['unsubscribed']:,} left."
    )


def _as_json(found: Growth) -> dict[str, Any]:
    return {
        "unit": found.unit,
        "begins": found.whole.begins,
        "ends": found.whole.ends,
        "exact_since": found.exact_since,
        "whole": _step(found.whole),
        "steps": [_step(step) for step in found.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "begins": step.begins,
        "ends": step.ends,
        **step.figures(),
        "events": dict(sorted(step.events.items())),
    }
