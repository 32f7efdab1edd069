from __future__ import annotations

import csv
import io
import shutil
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from readers import NOW, Readers
from sqlalchemy import Engine, delete

from newsletter import address as addresses
from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.errors import InvalidAddress
from newsletter.models import Consent, Status, Subscriber, Suppression
from newsletter.subscribers import consent, exports, forget, imports, signup, store, suppress
from newsletter.subscribers.consent import Origin
from newsletter.subscribers.imports import Import, ImportTally
from newsletter.suppression import Cause, Grounds

ODD = ["+ann@x.org", "=bob@x.org", "-cy@x.org", "'dan@x.org", "'=eve@x.org", "jörg@x.org"]


@pytest.fixture
def second_engine(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Engine]:
    """A database to move to."""
    shutil.copy(migrated_sqlite, tmp_path / "second.db")
    opened = engines.open(f"sqlite:///{tmp_path / 'second.db'}")
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

    first, second = csv.DictReader(io.StringIO(written(readers)))

    same = {
        "subscribed_at": NOW.isoformat(),
        "created_at": NOW.isoformat(),
        "language": "",
        "timezone": "",
        "suppression": "",
        "opted_in_at": NOW.isoformat(),
        "opted_in_from": "192.0.2.7",
        "confirmed_at": "",
        "confirmed_from": "",
        "consent_source": "box on https://miasfeed.example",
        "consent_wording": "Yes, weekly.",
    }
    assert first == {
        **same,
        "address": "ann@x.org",
        "cadence": "daily",
        "status": "active",
        "paused_until": "",
    }
    assert second == {
        **same,
        "address": "bob@x.org",
        "cadence": "weekly",
        "status": "paused",
        "paused_until": until.isoformat(),
    }


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

    assert tally == ImportTally(read=9, added=9)
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


# An export goes back in without loss


def test_a_suppressed_reader_comes_back_as_one_and_for_the_same_cause(
    readers: Readers, second_engine: Engine
) -> None:
    for cause in Cause:
        if cause is not Cause.ERASED:
            readers.add(f"{cause}@x.org")
            _suppress(readers, f"{cause}@x.org", cause)
    there = Readers(second_engine)

    once = written(readers)
    tally = _import(there, once)

    assert (tally.suppressed, tally.added) == (7, 0)
    assert written(there) == once
    with sessions.reading(there.engine) as session:
        found = suppression.listing(session, limit=10)
    assert {row.address: row.cause for row in found} == {
        f"{cause}@x.org": cause for cause in Cause if cause is not Cause.ERASED
    }


def test_who_is_pending_here_is_pending_after_the_move_whatever_confirmed_says(
    readers: Readers, second_engine: Engine
) -> None:
    readers.add("ann@x.org", status=Status.PENDING, subscribed_at=None)
    there = Readers(second_engine)

    _import(there, written(readers), confirmed=True)

    assert there.get("ann@x.org").status == Status.PENDING


def test_a_forgotten_person_does_not_come_back_with_an_old_export(readers: Readers) -> None:
    readers.add("ann@x.org")
    _suppress(readers, "ann@x.org", Cause.DEAD)
    old = written(readers)
    with sessions.writing(readers.engine) as session:
        forget.forget(session, "ann@x.org", now=NOW, keyring=readers.keyring)

    _import(readers, old)

    assert readers.all() == []
    with sessions.reading(readers.engine) as session:
        assert [row.address for row in suppression.listing(session, limit=10)] == [None]


def _instants(first: int, last: int) -> st.SearchStrategy[datetime]:
    return st.timedeltas(timedelta(0), timedelta(days=365 * (last - first))).map(
        lambda after: datetime(first, 1, 1, tzinfo=UTC) + after
    )


INSTANTS = _instants(1990, 2026)
WORDS = st.text(max_size=40) | st.sampled_from(
    ["=1+1", "＝1", "'", "a,b", 'say "yes"', "two\nlines", "-", "\t", 'x\\"y', " =x"]
)
PEOPLE = st.fixed_dictionaries(
    {
        "local": st.text("abz09+-=_'!#$%&*/?^`{|}~", min_size=1, max_size=12),
        "cadence": st.sampled_from(list(Cadence)),
        "status": st.sampled_from([*Status]),
        "cause": st.sampled_from([cause for cause in Cause if cause is not Cause.ERASED]),
        "subscribed_at": INSTANTS,
        "created_at": INSTANTS,
        "paused_until": st.none() | _instants(2027, 2900),
        "language": st.sampled_from([None, "de", "pt-BR"]),
        "timezone": st.sampled_from([None, "Europe/Berlin", "UTC"]),
        "origin": st.builds(
            Origin,
            WORDS,
            wording=WORDS,
            remote=st.sampled_from([None, "192.0.2.7", "2001:db8::1", "testclient"]),
        ),
        "is_confirmed": st.booleans(),
    }
)  # fmt: skip


@given(st.lists(PEOPLE, max_size=8, unique_by=lambda one: one["local"]), st.booleans())
@examples(
    15,
    many=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_an_export_imported_into_an_empty_database_gives_the_same_export(
    tmp_path: Path, people: list[dict[str, Any]], confirmed: bool
) -> None:
    here, there = (_emptied(tmp_path / name) for name in ("here.db", "there.db"))
    for person in people:
        _settle(here, person)
    once = written(here)

    tally = _import(there, once, confirmed=confirmed, now=NOW + timedelta(days=1))

    assert tally.added + tally.suppressed == len(people)
    assert written(there) == once
    for readers in (here, there):
        readers.engine.dispose()


def _emptied(file: Path) -> Readers:
    opened = engines.open(f"sqlite:///{file}")
    schema.upgrade(opened)
    with sessions.writing(opened) as session:
        for table in (Consent, Subscriber, Suppression):
            session.execute(delete(table))
    return Readers(opened)


def _settle(readers: Readers, person: dict[str, Any]) -> None:
    """Bring a reader into the state to be exported."""
    try:
        address = addresses.normalise(f"{person['local']}@x.org")
    except InvalidAddress:
        return _settle(readers, {**person, "local": f"a{abs(hash(person['local']))}"})
    status = person["status"]
    with sessions.writing(readers.engine) as session:
        reader, _ = signup.add(
            session,
            address,
            cadence=person["cadence"],
            origin=person["origin"],
            now=NOW,
            keyring=readers.keyring,
        )
        if person["is_confirmed"]:
            consent.record(
                session, reader, consent.Action.CONFIRMED, origin=person["origin"], now=NOW
            )
        for name in ("subscribed_at", "created_at", "language", "timezone"):
            setattr(reader, name, person[name])
        if status is Status.PAUSED:
            reader.paused_until = person["paused_until"]
        if status is Status.PENDING:
            reader.subscribed_at = None
        if status is not Status.SUPPRESSED:
            store.move(session, reader, status=status, now=NOW)
        session.add(reader)
    if status is Status.SUPPRESSED:
        _suppress(readers, address, person["cause"])
    return None


def _suppress(readers: Readers, address: str, cause: Cause) -> None:
    grounds = Grounds(cause, "as a test", "a test")
    with sessions.writing(readers.engine) as session:
        suppress.suppress(session, address, grounds=grounds, now=NOW, keyring=readers.keyring)


def _import(readers: Readers, text: str, **how: Any) -> ImportTally:
    fixed = {"source": "import out.csv", "now": NOW, "keyring": readers.keyring}
    return imports.run(
        readers.engine, io.BytesIO(text.encode()), Import(**{**fixed, **how}), reject=pytest.fail
    )


def _facts(readers: Readers) -> list[tuple[object, ...]]:
    return sorted((r.address, r.cadence, r.status, r.paused_until) for r in readers.all())
