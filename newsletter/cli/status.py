"""`newsletter status`: readers, the last editions and what comes next, on one screen."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from newsletter import cadence as calendar
from newsletter import clock
from newsletter.cadence import Cadence
from newsletter.cli import context, output

if TYPE_CHECKING:
    from newsletter.editions.store import Summary

_COLUMNS = ("edition", "state", "audience", "accepted", "waiting", "refused", "unknown", "not sent")


def status(ctx: typer.Context, *, json: output.Json = False) -> None:
    """Show readers by cadence and status, the last edition of each cadence, and what is due."""
    from newsletter.db import session as sessions
    from newsletter.editions import store
    from newsletter.subscribers import store as readers

    found = context.of(ctx)
    now, times = clock.utc_now(), found.settings.send_times
    with found.database() as engine, sessions.reading(engine) as session:
        counts: dict[str, dict[str, int]] = {str(cadence): {} for cadence in Cadence}
        for (cadence, standing), count in readers.counts(session).items():
            counts[cadence][standing] = count
        last = {c: next(iter(store.recent(session, cadence=c, limit=1)), None) for c in Cadence}
    upcoming: list[dict[str, Any]] = []
    for cadence in Cadence:
        period = calendar.next_due(cadence, now, times)
        upcoming.append(
            {
                "cadence": str(cadence),
                "period": period,
                "due_at": calendar.due_at(cadence, period, times).astimezone(times.zone),
            }
        )
    if json:
        output.as_json(
            {
                "readers": counts,
                "editions": {str(c): asdict(one) if one else None for c, one in last.items()},
                "next": upcoming,
            }
        )
        return
    _print(counts, [one for one in last.values() if one], upcoming)


def _print(
    counts: dict[str, dict[str, int]], last: list[Any], upcoming: list[dict[str, Any]]
) -> None:
    statuses = sorted({status for found in counts.values() for status in found})
    if statuses:
        output.table(
            ["readers", *statuses],
            ([cadence, *(found.get(s, 0) for s in statuses)] for cadence, found in counts.items()),
        )
    else:
        output.say("There are no readers yet: `newsletter subscribers add ADDRESS`.")
    output.say("")
    if last:
        output.table(_COLUMNS, (_books(one) for one in last))
        output.say("")
    output.table(
        ["next", "due"],
        (
            [calendar.slug(Cadence(one["cadence"]), one["period"]), one["due_at"]]
            for one in upcoming
        ),
    )


def _books(one: Summary) -> tuple[object, ...]:
    """Return an edition's line: what stands after the audience sums to it."""
    waiting = one.queued + one.claimed + one.in_flight + one.deferred
    not_sent = one.cancelled + one.skipped
    sums = (one.audience, one.accepted, waiting, one.refused, one.unknown, not_sent)
    return (one.edition, one.state, *sums)
