"""Growth: how readers came and went, as charts with their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.desk import charts, dependencies
from newsletter.desk.charts import Series
from newsletter.desk.dependencies import Desk
from newsletter.models import Status
from newsletter.subscribers import growth
from newsletter.subscribers.growth import Growth, Step

router = APIRouter()

#: The spans that the page offers, in days; 0 is all.
SPANS = {30: "30 days", 90: "90 days", 365: "1 year", 0: "All"}
_WAYS = {
    "link": "by the page of the link",
    "one-click": "by the mailbox's own button",
    "mail": "by mail, or reported by a mailbox provider",
    "api": "by the API",
    "import": "by an import",
    "operator": "by you, here or on the command line",
}


class Figure(NamedTuple):
    """A chart with the numbers that it shows."""

    name: str
    title: str
    svg: Markup
    legend: Markup
    numbers: Markup


@router.get("/growth")
def show(
    desk: Desk,
    request: Request,
    days: Annotated[int, Query(ge=0, le=36_525)] = 90,
) -> HTMLResponse:
    """Show the last days; 0 for all."""
    today = desk.clock().date()
    with sessions.snapshot(desk.engine) as session:
        found = growth.find(session, days=days or None, today=today)
    whole = found.whole.figures()
    return dependencies.page(
        request,
        "growth",
        spans=SPANS,
        days=days,
        found=found,
        whole=whole,
        net=whole["active"] - growth.count(found.before, Status.ACTIVE),
        # What left is compared with the readers of an average day: those of the first or the last
        # would make little of a newsletter that has grown.
        average=sum(step.count(Status.ACTIVE) for step in found.steps) / len(found.steps),
        figures=_figures(found),
        ways=_ways(found.whole),
        is_empty=not found.whole.readers and not found.whole.events,
    )


def _figures(found: Growth) -> list[Figure]:
    labels = [step.begins for step in found.steps]
    heading = "Day" if found.unit == "day" else f"{found.unit.capitalize()} from"
    rows = [step.figures() for step in found.steps]

    def figure(
        name: str, title: str, draw: Callable[..., Markup], series: Sequence[Series]
    ) -> Figure:
        numbers = charts.numbers(heading, labels, series)
        return Figure(name, title, draw(title, labels, series), charts.legend(series), numbers)

    def sums(*columns: str, sign: int = 1) -> list[float]:
        return [sign * sum(row[one] for one in columns) for row in rows]

    return [
        figure(
            "readers",
            "Active readers by cadence",
            charts.lines,
            [Series(cadence.capitalize(), sums(cadence.value)) for cadence in Cadence],
        ),
        figure(
            "came",
            "Came and left",
            charts.bars,
            [
                Series("Confirmed", sums("confirmed"), "good"),
                Series("Added, imported, back", sums("added", "imported", "returned"), "accent"),
                Series("Left", sums("unsubscribed", "forgotten", sign=-1), "warning"),
                Series("Suppressed", sums(*_SUPPRESSED, sign=-1), "problem"),
            ],
        ),
        figure(
            "asked",
            "Sign-ups and confirmations",
            charts.lines,
            [
                Series("Signed up", sums("asked"), "muted"),
                Series("Confirmed", sums("confirmed"), "good"),
            ],
        ),
        figure(
            "bounced",
            "Bounces and complaints",
            charts.bars,
            [
                Series("Bounced", sums("bounced"), "warning"),
                Series("Complained", sums("complained"), "problem"),
            ],
        ),
    ]


_SUPPRESSED = ("bounced", "complained", "suppressed_otherwise")


def _ways(whole: Step) -> list[tuple[str, int]]:
    """Return how readers unsubscribed and how often, the most frequent way first."""
    counts = {words: whole.events.get(f"unsubscribed {way}", 0) for way, words in _WAYS.items()}
    return sorted(((way, n) for way, n in counts.items() if n), key=lambda one: -one[1])
