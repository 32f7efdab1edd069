"""What a scrape of all metrics costs with many readers and deliveries, beside one with few.

And a look of the watchdog, which may run every minute.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ledgers
import stage
from sqlalchemy import Engine, text
from sqlmodel import col

from newsletter import tally
from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.doctor import standing
from newsletter.metrics import exposition
from newsletter.models import Delivery, State
from newsletter.publication import Publication
from newsletter.sender.limits import Limits
from newsletter.settings import Settings

#: Readers of the two newsletters, and mails that each has had.
READERS = 1_000, 1_000_000
MAILS = 10
#: Pairs of a reading of the large one and of the small one, in turn; the median counts.
TRIES = 15
#: The ratio that a reading may have.
LIMIT = 2.0

_READERS = """
    INSERT INTO subscriber (public_id, address, cadence, status, generation, created_at, updated_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
    SELECT 'reader' || (1000000000 + n), 'reader' || n || '@example.com', 'weekly', 'active', 1,
        '2026-09-01', '2026-09-01'
    FROM numbers
"""


def costs(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the milliseconds of a scrape and of a watchdog's look, large and small, by turns."""
    folder.mkdir()
    small, large = (_filled(folder / f"{count}.db", count) for count in READERS)
    settings = stage.Stage(folder, f"sqlite:///{folder / 'none.db'}", 0).settings()
    try:
        return {
            "scrape": [(_scrape(large, settings), _scrape(small, settings)) for _ in range(TRIES)],
            "watchdog": [(_look(large, settings), _look(small, settings)) for _ in range(TRIES)],
        }
    finally:
        small.dispose()
        large.dispose()


def ratio(found: Sequence[Sequence[float]]) -> float:
    """Return the median of what each pair came to."""
    return statistics.median(large / small for large, small in found)


def _filled(path: Path, count: int) -> Engine:
    """Make a newsletter with so many readers, each of whom has had MAILS mails; none waits."""
    engine = engines.open(f"sqlite:///{path}")
    schema.upgrade(engine)
    with sessions.writing(engine) as session:
        session.execute(text(_READERS), {"count": count})
        tally.add_readers(session, {tally.reader("weekly", "active"): count}, now=utc_now())
    for number in range(MAILS):
        mailing_id = ledgers.fill(engine, count, public_id=f"mailing{number:09}")
        with sessions.writing(engine) as session:
            theirs = col(Delivery.mailing_id) == mailing_id
            tally.update_deliveries(session, theirs, {"state": State.ACCEPTED.value})
    return engine


def _scrape(engine: Engine, settings: Settings) -> float:
    limits = Limits.of(settings)
    return _timed(lambda: exposition.scrape(engine, Publication.of(settings), limits))


def _look(engine: Engine, settings: Settings) -> float:
    publication, limits = Publication.of(settings), Limits.of(settings)

    def look() -> None:
        with sessions.reading(engine) as session:
            standing.watched(session, publication=publication, limits=limits, now=utc_now())

    return _timed(look)


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - begun)
