"""What the database does for each accepted message: octets of log, and PostgreSQL's own time.

One worker in this process. SQLite's log is not checkpointed meanwhile, so its length is what was
written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ledgers
from sqlalchemy import Engine, event, text
from stage import Studio, sinking

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.sender import worker

_MESSAGES = 8_000
_CONNECTIONS = 50


def costs(studio: Studio, folder: Path) -> dict[str, float]:
    """Return octets of log for each message on both engines, and PostgreSQL's microseconds."""
    folder.mkdir()
    database = folder / "newsletter.db"
    engine = engines.open(f"sqlite:///{database}")
    event.listen(engine, "connect", lambda made, _: made.execute("PRAGMA wal_autocheckpoint = 0"))
    log = Path(f"{database}-wal")
    (sqlite,) = _grown(engine, lambda: [log.stat().st_size])
    engine.dispose()

    with studio.empty() as engine:
        position, seconds = _grown(engine, lambda: [_position(engine), studio.server_seconds()])
    return {
        "log, SQLite": sqlite,
        "log, PostgreSQL": position,
        "server, PostgreSQL": 1e6 * seconds,
    }


def _grown(engine: Engine, counters: Callable[[], list[float]]) -> list[float]:
    """Send, and return by how much each counter grew for each message."""
    schema.upgrade(engine)
    ledgers.fill(engine, _MESSAGES, message=ledgers.compiled(size=20_000))
    if not engines.is_sqlite(engine):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # Else the log has whole pages after each checkpoint that happens to fall in between.
            connection.execute(text("VACUUM ANALYZE delivery"))
            connection.execute(text("CHECKPOINT"))
    with sinking() as port:
        before = counters()
        worker.run(engine, ledgers.plan(port, connections=_CONNECTIONS))
        after = counters()
    assert ledgers.states(engine) == {"accepted": _MESSAGES}
    return [(b - a) / _MESSAGES for a, b in zip(before, after, strict=True)]


def _position(engine: Engine) -> float:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'")).scalar_one()
    return float(found)
