"""Upgrades the database only while no process of an earlier version is running."""

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

#: At most this many processes are named in a message.
_MOST_NAMED = 5
#: The service that the operator has to stop, by kind of process.
_SERVICES = {
    ProcessKind.WEB.value: "`newsletter serve`",
    ProcessKind.WORKER.value: "`newsletter worker`, and cron for the time being",
}


@dataclass(frozen=True)
class Process:
    """A process that works with the database."""

    kind: str
    host: str
    pid: int
    #: The version of the program; None for versions that did not record it.
    version: str | None
    since: datetime
    #: The end of the lease; None if the liveness lock shows that the process is running.
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
    """Processes of an earlier version are still running."""

    def __init__(self, processes: list[Process]) -> None:
        named = [str(one) for one in processes[:_MOST_NAMED]]
        if len(processes) > _MOST_NAMED:
            named.append(f"{len(processes) - _MOST_NAMED} more")
        kinds = dict.fromkeys(one.kind for one in processes)
        stops = " and ".join(_SERVICES.get(kind, f"each {kind}") for kind in kinds)
        super().__init__(
            f"The database cannot be upgraded while it is in use: {', '.join(named)}.",
            hint=f"Stop {stops}; then run this again. With --wait it waits until they are gone.",
        )
        self.processes = processes


def upgrade(engine: Engine, *, timezone: str) -> tuple[str | None, str]:
    """Bring the schema to this version; return the versions before and after.

    Raises StillInUse, and changes nothing, while a process of an earlier version is running.
    If there is nothing to upgrade, running processes are not checked.
    """
    return schema.upgrade(engine, timezone=timezone, guard=_require_unused)


def _require_unused(connection: Connection) -> None:
    if not is_sqlite(connection):
        # No process can register until the upgrade is committed, and then it finds the new schema.
        # On SQLite the write lock has this effect.
        connection.execute(text("LOCK TABLE worker IN ACCESS EXCLUSIVE MODE"))
    if found := _running(connection, utc_now()):
        raise StillInUse(found)


def _running(connection: Connection, now: datetime) -> list[Process]:
    """Return the processes whose lock is held or whose lease is valid, each once.

    It reads only the columns that the table has in the present version of the schema.
    """
    present = {one["name"] for one in inspect(connection).get_columns("worker")}
    wanted = ["name", "host", "pid", *sorted({"kind", "version"} & present)]
    times = [column(name, Instant()) for name in ("started_at", "lease_until")]
    workers = table("worker", *map(column, wanted), *times)
    rows = connection.execute(select(workers).order_by(workers.c.started_at)).mappings()
    found = []
    for row in rows:
        is_locked = registry.is_seen(connection.engine, row["name"])
        if is_locked is False or (is_locked is None and row["lease_until"] < now):
            continue
        found.append(
            Process(
                kind=row.get("kind", ProcessKind.WORKER.value),
                host=row["host"],
                pid=row["pid"],
                version=row.get("version"),
                since=row["started_at"],
                lease_until=None if is_locked else row["lease_until"],
            )
        )
    return _distinct(found)


def _distinct(found: Iterable[Process]) -> list[Process]:
    """Return each process once: a web server also registers a worker for its letters."""
    processes: dict[tuple[str, int], Process] = {}
    for one in found:
        known = processes.get((one.host, one.pid))
        if known is None or one.kind == ProcessKind.WEB:
            processes[one.host, one.pid] = one
    return list(processes.values())
