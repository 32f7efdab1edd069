"""What a plan costs: processor time beside the queries by which a freeze finds its readers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy import func, select
from stage import Stage

from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.editions import audience, plan
from newsletter.editions.audience import Audience
from newsletter.models import Article
from newsletter.publication import Publication
from newsletter.sender.forecast import Capacity
from newsletter.sender.limits import Limits

#: Pairs of the two, in turn; the median of their ratios counts.
TRIES = 3
#: The ratio that a plan may have.
LIMIT = 2.0


def costs(stage: Stage) -> list[tuple[float, float]]:
    """Return the processor seconds of a plan and of the queries alone, by turns.

    The readers of `stage` have got an edition whose watermarks are not settled: the plan finds out
    what settling would come to, and the queries are spared that. On SQLite, in one process.
    """
    now = utc_now() + timedelta(days=7)
    with sessions.writing(stage.engine) as session:
        session.add(_article(sessions.freeze_lock(session, now - timedelta(days=1))))

    def planned() -> None:
        (found,) = plan.upcoming(
            stage.engine,
            [Cadence.WEEKLY],
            now=now,
            publication=Publication.of(stage.settings()),
            capacity=Capacity(Limits(), connections=50),
        )
        assert found.summary.audience == stage.readers, found.summary

    def asked() -> None:
        """Count the readers, and select them in the order in which they are inserted."""
        chosen = Audience(
            cadence=Cadence.WEEKLY,
            coverage_start=now - timedelta(days=7),
            window_start=now - timedelta(days=62),
            earlier=[],
        )
        with sessions.reading(stage.engine) as session:
            starts = list(audience.count_by_start(session, chosen))
            recipients = audience.recipients(chosen, starts).subquery()
            # A limit keeps the planner from dropping the order.
            ordered = select(recipients).order_by(recipients.c.reference).limit(2**40).subquery()
            columns = [func.max(column) for column in ordered.c]
            session.execute(select(func.count(), *columns).select_from(ordered)).one()

    return [(_cpu(planned), _cpu(asked)) for _ in range(TRIES)]


def ratio(costs: Sequence[tuple[float, float]]) -> float:
    """Return how much longer a plan takes than the queries alone."""
    return statistics.median(taken / least for taken, least in costs)


def _cpu(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _article(seen_at: object) -> Article:
    return Article(
        link="https://miasfeed.example/the-next",
        title="A headline of the week after",
        standfirst="What it says.",
        categories=["Medicine"],
        published_at=seen_at,
        seen_at=seen_at,
        content_hash="0" * 64,
        created_at=seen_at,
        updated_at=seen_at,
    )
