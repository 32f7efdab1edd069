"""What an import costs: processor time beside a bare read and INSERT of the same rows."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from newsletter.cli import garbage
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.subscribers import imports
from newsletter.tokens import Keyring

ROWS = 20_000
#: Pairs of an import and a bare INSERT, in turn; the median of their ratios counts.
TRIES = 5
#: The ratio that an import may have.
LIMIT = 4.2
_TABLES = ("subscriber", "consent")
_HEADER = (
    "Email Address,First Name,Last Name,Address,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,"
    "CONFIRM_IP,LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES,"
    "TAGS"
)


def costs(folder: Path) -> list[tuple[float, float]]:
    """Return the processor seconds of each import of a Mailchimp export, and of its INSERT."""
    folder.mkdir()
    sheet = folder / "subscribed.csv"
    sheet.write_text("\n".join([_HEADER, *map(_row, range(ROWS)), ""]))
    # As the command does, once all is imported.
    garbage.resume()
    garbage.defer()
    found = [_pair(folder, sheet, number) for number in range(TRIES)]
    garbage.resume()
    return found


def ratio(found: Sequence[tuple[float, float]]) -> float:
    """Return the median of what each pair came to."""
    return statistics.median(ours / bare for ours, bare in found)


def _row(n: int) -> str:
    # Every cell that tells readers apart differs from row to row.
    at = f"2023-{n % 12 + 1:02}-{n % 28 + 1:02} {n % 24:02}:{n % 60:02}"
    return (
        f'reader{n}@x{n % 800}.example.org,Anna{n},Arnold{n},"{n} Main St  Springfield IL",3,'
        f'"{at}:07",192.0.{n % 250}.{n % 256},"{at}:41",192.0.{n % 256}.{n % 250},48.1,11.2,1,2,'
        f'Europe/Berlin,DE,BY,"2024-02-02 08:00:00",{n},a1b2{n},"note {n}, and","""press{n}"""'
    )


def _pair(folder: Path, sheet: Path, number: int) -> tuple[float, float]:
    ours = _database(folder / f"ours{number}.db")
    begun = time.process_time()
    with sheet.open("rb") as stream:
        found = imports.run(
            ours, stream, _how(), reject=print, progress=lambda _: garbage.collect()
        )
    taken = time.process_time() - begun
    assert found.added == ROWS, found
    return taken, _bare(_database(folder / f"bare{number}.db"), sheet, ours)


def _how() -> imports.Import:
    keyring = Keyring(["0123456789abcdef0123456789abcdef-for-tests"])
    return imports.Import(source="bench", now=datetime.now(UTC), keyring=keyring, confirmed=True)


def _database(path: Path) -> Engine:
    engine = engines.open(f"sqlite:///{path}")
    schema.upgrade(engine)
    return engine


def _bare(engine: Engine, sheet: Path, filled: Engine) -> float:
    """Return the processor seconds of a read of the sheet, and an INSERT of what it became."""
    with closing(filled.raw_connection()) as connection:
        cursor: Any = connection.cursor()
        rows = {one: cursor.execute(f"SELECT * FROM {one}").fetchall() for one in _TABLES}
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        begun = time.process_time()
        with sheet.open(newline="") as stream:
            for _ in csv.reader(stream):
                pass
        for at in range(0, ROWS, imports.BATCH):
            cursor.execute("BEGIN IMMEDIATE")
            for table, found in rows.items():
                some = found[at : at + imports.BATCH]
                values = ", ".join("?" * len(some[0]))
                cursor.executemany(f"INSERT INTO {table} VALUES ({values})", some)
            cursor.execute("COMMIT")
        return time.process_time() - begun
