"""Today: whether all is well, what is on its way, and what waits for a decision."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from newsletter.db import session as sessions
from newsletter.desk import dependencies
from newsletter.desk.dependencies import Desk
from newsletter.desk.pages import counted
from newsletter.doctor import daily, standing
from newsletter.doctor import findings as judged
from newsletter.doctor.standing import Standing
from newsletter.editions import store, summaries, under_way
from newsletter.editions.summaries import Summary
from newsletter.models import EditionState
from newsletter.subscribers import growth

router = APIRouter()


class Choice(NamedTuple):
    """Something that waits for the operator, and the page where it is decided."""

    words: str
    url: str


@router.get("/")
def show(desk: Desk, request: Request) -> HTMLResponse:
    """Show what an operator looks at first."""
    now = desk.clock()
    stands = standing.look(desk.engine, publication=desk.publication, limits=desk.limits, now=now)
    with sessions.snapshot(desk.engine) as session:
        way = under_way.look(session, limits=desk.limits, now=now)
        week = growth.find(session, days=7, today=now.date()).whole
        paused = summaries.of_all(session, store.in_states(session, [EditionState.PAUSED]))
    before = desk.progress.before(way)
    zone = desk.settings.zone
    sentences = {
        one.name: under_way.sentence(
            one, under_way.rate(before, way, one.name) if before else None, way, zone
        )
        for one in way.editions
    }
    findings = sorted(daily.findings(stands, settings=desk.settings, now=now), key=judged.gravity)
    return dependencies.page(
        request,
        "today",
        findings=findings,
        looks=[one for one in findings if one.level.needs_a_look],
        way=way,
        sentences=sentences,
        choices=_choices(stands, paused),
        upcoming=sorted(
            standing.upcoming(stands, times=desk.settings.send_times, now=now),
            key=attrgetter("due_at"),
        ),
        last=[one for one in stands.last.values() if one],
        readers=stands.readers,
        suppressed=stands.suppressed,
        week=week.figures(),
    )


def _choices(stands: Standing, paused: Sequence[Summary]) -> list[Choice]:
    """Return what waits for a decision, with the pages to decide on."""
    waiting = [
        (
            stands.quarantined,
            "article in quarantine",
            "articles in quarantine",
            "/articles?state=quarantined",
        ),
        (stands.held, "article is held", "articles are held", "/articles?state=held"),
        (
            stands.unknown,
            "mail may or may not have arrived",
            "mails may or may not have arrived",
            "/delivery",
        ),
        (len(stands.failing), "feed fails", "feeds fail", "/feeds"),
    ]
    found = [Choice(counted(n, one, many), url) for n, one, many, url in waiting if n]
    found += [Choice(f"{one.edition} is paused", f"/editions/{one.edition}") for one in paused]
    return found
