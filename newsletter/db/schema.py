"""The schema version: upgrades, checks, and backups of SQLite databases."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlmodel import Session

from newsletter import paths
from newsletter.db import restore_guard
from newsletter.db.engine import WRITING, explained, is_sqlite, shown
from newsletter.errors import Conflict, DatabaseUnavailable, InvalidInput, SchemaOutOfDate

if TYPE_CHECKING:
    from alembic.config import Config


def upgrade(
    engine: Engine,
    *,
    timezone: str = "UTC",
    guard: Callable[[Connection], object] = lambda _: None,
) -> tuple[str | None, str]:
    """Bring the schema to this version in one transaction; return the versions before and after.

    Idempotent, also from several processes at once. `timezone` is the publication's: existing
    mailings keep the dates that they were compiled with. `guard` is called in the same transaction
    before the tables of an older version are changed, and may raise to prevent that.
    """
    with explained(), engine.connect() as bare:
        connection = bare.execution_options(**{WRITING: True})
        with connection.begin():
            before = _version(connection)
            if before is not None and before not in _known():
                raise _of_another_version(before)
            if before != newest():
                if before is not None:
                    guard(connection)
                _migrate(connection, timezone)
    if before is None:
        restore_guard.forget(engine)
    return before, newest()


def current(engine: Engine) -> str | None:
    """Return the version of the schema, None for an empty database."""
    path = Path(engine.url.database or "")
    if is_sqlite(engine) and path.parent.is_dir() and not path.exists():
        # Checked first, because connecting would create the file.
        return None
    with explained(), engine.connect() as connection:
        return _version(connection)


def newest() -> str:
    """Return the schema version of this code."""
    return _known()[-1]


def check(engine: Engine) -> None:
    """Raise SchemaOutOfDate unless the schema is of this version."""
    found = current(engine)
    if found == newest():
        return
    if found is None:
        raise SchemaOutOfDate(
            f"There is no newsletter in {shown(engine)}.",
            hint="Go to the folder of its newsletter.toml, or name that with --config. A new one: "
            "`newsletter init`. An empty database: `newsletter database upgrade`.",
        )
    if found not in _known():
        raise _of_another_version(found)
    raise SchemaOutOfDate(
        f"The database has schema {found}, this program works with {newest()}.",
        hint="Run `newsletter database upgrade` (after `newsletter database backup`).",
    )


def require(session: Session) -> None:
    """Raise SchemaOutOfDate if the schema was upgraded while this process was running."""
    found = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    if found != newest():
        raise SchemaOutOfDate(
            f"The database was brought to schema {found} while this process ran, which works with "
            f"{newest()}.",
            hint="Start it again, with the version that has upgraded the database.",
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


@cache
def _known() -> list[str]:
    """Return the versions, oldest first, from the file names of migrations: 0001_first_schema.py.

    Every command needs them, and importing Alembic and the migrations would take a second.
    """
    return sorted(path.name[:4] for path in (paths.MIGRATIONS / "versions").glob("[0-9]*.py"))


def _migrate(connection: Connection, timezone: str) -> None:
    from alembic import command  # noqa: PLC0415 - see _known

    config = _config()
    config.attributes["connection"] = connection
    config.attributes["timezone"] = timezone
    command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - see _known

    config = Config()
    # Percent signs in the folder's name are doubled, because ConfigParser interpolates them.
    config.set_main_option("script_location", str(paths.MIGRATIONS).replace("%", "%%"))
    return config


def _of_another_version(found: str) -> SchemaOutOfDate:
    return SchemaOutOfDate(
        f"The database has schema {found}, which this program does not know.",
        hint="Install the program's version that made it, or a newer one.",
    )


def backup(engine: Engine, target: Path) -> None:
    """Copy a SQLite database, in use or not, to a new file; PostgreSQL has pg_dump for that.

    The file appears when it is complete, and only its owner can read it.
    """
    if not is_sqlite(engine):
        raise InvalidInput(
            "PostgreSQL databases are backed up with its own tool.",
            hint="Run pg_dump --format=custom on the database.",
        )
    if target.exists():
        raise Conflict(f"{target} exists already.", hint="Name a file that does not exist.")
    source = engine.url.database
    assert source is not None
    partial = Path(f"{target}.part")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(
                sqlite3.connect(f"{Path(source).absolute().as_uri()}?mode=ro", uri=True)
            ) as live,
            closing(sqlite3.connect(partial)) as copy,
        ):
            live.backup(copy)
        partial.replace(target)
    except sqlite3.Error as exc:
        raise DatabaseUnavailable(
            f"The backup failed: {exc}.", hint="Look at the space where it is to be."
        ) from exc
    finally:
        partial.unlink(missing_ok=True)
