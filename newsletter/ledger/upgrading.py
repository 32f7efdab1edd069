"""Upgrades the database only while no process works with the version before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, column, inspect, select, table, text

from newsletter.clock import utc_now
from newsletter.db import schema
from newsletter.db.engine import is_sqlite
from newsletter.errors import Conflict
from newsletter.ledger import registry
from newsletter.models import ProcessKind
from newsletter.models.columns import Instant

#: How many processes a message names.
_NAMED = 5
_STOPS = {
    ProcessKind.WEB.value: "`newsletter serve`",
    ProcessKind.WORKER.value: "`newsletter worker`, and cron for the time being",
}


@dataclass(frozen=True)
class Process:
    """A process that works with the database."""

    kind: str
    host: str
    pid: int
    #: None if it is of a version that did not tell.
    version: str | None
    since: datetime
    #: When it counts as dead unless it renews its lease; None if it is seen to live.
    lease_until: datetime | None

    def __str__(self) -> str:
        name = "web process" if self.kind == ProcessKind.WEB else self.kind
        version = f"version {self.version}" if self.version else "an earlier version"
        found = (
            f"{name} {self.pid} on {self.host} ({version}, since {self.since:%Y-%m-%d %H:%M} UTC"
        )
        if self.lease_until is not None:
            found += f"; if it has died, until {self.lease_until:%H:%M:%S} UTC"
        return f"{found})"


class StillInUse(Conflict):
    """Processes still work with the database."""

    def __init__(self, processes: list[Process]) -> None:
        named = [str(one) for one in processes[:_NAMED]]
        if len(processes) > _NAMED:
            named.append(f"{len(processes) - _NAMED} more")
        kinds = dict.fromkeys(one.kind for one in processes)
        stops = " and ".join(_STOPS.get(kind, f"each {kind}") for kind in kinds)
        super().__init__(
            f"The database cannot be upgraded while it is in use: {', '.join(named)}.",
            hint=f"Stop {stops}; then run this again. With --wait it waits until they are gone.",
        )
        self.processes = processes


def upgrade(engine: Engine, *, timezone: str) -> tuple[str | None, str]:
    """Bring the schema to this version; return the versions before and after.

    Raises StillInUse, and changes nothing, while a process of the version before lives; where
    there is nothing to upgrade, none is asked for.
    """
    return schema.upgrade(engine, timezone=timezone, guard=_refuse)


def _refuse(connection: Connection) -> None:
    if not is_sqlite(connection):
        # Nobody signs in before the upgrade is committed, and then meets the new schema. SQLite has
        # one writer.
        connection.execute(text("LOCK TABLE worker IN ACCESS EXCLUSIVE MODE"))
    if found := _living(connection, utc_now()):
        raise StillInUse(found)


def _living(connection: Connection, now: datetime) -> list[Process]:
    """Return the processes that are seen to live, or whose lease runs: each of them once.

    With the columns that the roster has in whatever version this is.
    """
    present = {one["name"] for one in inspect(connection).get_columns("worker")}
    wanted = ["name", "host", "pid", *sorted({"kind", "version"} & present)]
    instants = [column(name, Instant()) for name in ("started_at", "lease_until")]
    workers = table("worker", *map(column, wanted), *instants)
    rows = connection.execute(select(workers).order_by(workers.c.started_at)).mappings()
    found = []
    for row in rows:
        is_seen = registry.is_seen(connection.engine, row["name"])
        if is_seen is False or (is_seen is None and row["lease_until"] < now):
            continue
        found.append(
            Process(
                kind=row.get("kind", ProcessKind.WORKER.value),
                host=row["host"],
                pid=row["pid"],
                version=row.get("version"),
                since=row["started_at"],
                lease_until=None if is_seen else row["lease_until"],
            )
        )
    return _once(found)


def _once(found: Iterable[Process]) -> list[Process]:
    """Leave one of a process that is there twice: a web server has a worker for its letters."""
    processes: dict[tuple[str, int], Process] = {}
    for one in found:
        known = processes.get((one.host, one.pid))
        if known is None or one.kind == ProcessKind.WEB:
            processes[one.host, one.pid] = one
    return list(processes.values())
