from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from readers import NOW, Readers
from sqlalchemy import Engine

from newsletter.cadence import Cadence
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.models import Status
from newsletter.subscribers import exports, imports, sheet
from newsletter.subscribers.imports import Import, Tally

ODD = ["+ann@x.org", "=bob@x.org", "-cy@x.org", "'dan@x.org", "'=eve@x.org", "jörg@x.org"]


@pytest.fixture
def second_engine(tmp_path: Path) -> Iterator[Engine]:
    """A database to move to."""
    opened = engines.open(f"sqlite:///{tmp_path / 'second.db'}")
    schema.upgrade(opened)
    yield opened
    opened.dispose()


def written(readers: Readers, status: Status | None = None, cadence: Cadence | None = None) -> str:
    stream = io.StringIO()
    with sessions.reading(readers.engine) as session:
        exports.write(session, stream, status=status, cadence=cadence)
    return stream.getvalue()


def test_a_line_for_each_reader(readers: Readers) -> None:
    until = NOW + timedelta(days=30)
    readers.add("ann@x.org", Cadence.DAILY)
    readers.add("bob@x.org", status=Status.PAUSED, paused_until=until)

    assert list(csv.DictReader(io.StringIO(written(readers)))) == [
        {
            "address": "ann@x.org",
            "cadence": "daily",
            "status": "active",
            "subscribed_at": NOW.isoformat(),
            "paused_until": "",
            "created_at": NOW.isoformat(),
        },
        {
            "address": "bob@x.org",
            "cadence": "weekly",
            "status": "paused",
            "subscribed_at": NOW.isoformat(),
            "paused_until": until.isoformat(),
            "created_at": NOW.isoformat(),
        },
    ]


def test_some_readers_only(readers: Readers) -> None:
    readers.add("ann@x.org", Cadence.DAILY)
    readers.add("bob@x.org", Cadence.DAILY, status=Status.UNSUBSCRIBED)
    readers.add("cy@x.org", Cadence.WEEKLY)

    found = written(readers, Status.ACTIVE, Cadence.DAILY)

    assert [row[0] for row in csv.reader(io.StringIO(found))] == ["address", "ann@x.org"]


def test_no_cell_is_a_formula(readers: Readers) -> None:
    for address in ODD:
        readers.add(address)

    cells = [cell for row in csv.reader(io.StringIO(written(readers))) for cell in row]

    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_an_export_is_an_import_of_the_same_readers(
    readers: Readers, second_engine: Engine
) -> None:
    for number, address in enumerate(ODD):
        readers.add(address, list(Cadence)[number % 3])
    readers.add("gone@x.org", status=Status.UNSUBSCRIBED)
    readers.add("away@x.org", status=Status.PAUSED, paused_until=NOW + timedelta(days=9))
    readers.add("new@x.org", status=Status.PENDING)
    text = written(readers)
    there = Readers(second_engine)

    tally = imports.run(
        there.engine,
        io.BytesIO(text.encode()),
        Import(source="t", now=NOW, keyring=there.keyring),
        reject=pytest.fail,
    )

    assert tally == Tally(read=9, added=9)
    assert _facts(there) == _facts(readers)


def test_an_export_costs_the_same_memory_however_many_there_are(sqlite_engine: Engine) -> None:
    readers = Readers(sqlite_engine)

    class Nowhere(io.StringIO):
        def write(self, text: str, /) -> int:
            return len(text)

    def peak(upto: int) -> int:
        rows = "".join(f"r{number}@x.org\n" for number in range(upto))
        how = Import(source="t", now=NOW, keyring=readers.keyring)
        imports.run(sqlite_engine, io.BytesIO(rows.encode()), how, reject=pytest.fail)
        with sessions.reading(sqlite_engine) as session:
            tracemalloc.start()
            assert exports.write(session, Nowhere()) == upto
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return highest

    peak(100)
    few = peak(6_000)
    assert peak(30_000) < 1.3 * few


def test_the_columns_are_those_that_the_import_knows() -> None:
    text = ",".join(exports.COLUMNS) + "\nann@x.org,daily,paused,,2027-01-05,\n"

    [entry] = sheet.read(sheet.decode(io.BytesIO(text.encode())))

    assert isinstance(entry, sheet.Entry)
    assert (entry.cadence, entry.status) == (Cadence.DAILY, Status.PAUSED)
    assert entry.paused_until is not None


def _facts(readers: Readers) -> list[tuple[object, ...]]:
    return sorted((r.address, r.cadence, r.status, r.paused_until) for r in readers.all())
