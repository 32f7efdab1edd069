from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import NOW, Readers
from sqlalchemy import Engine, delete
from sqlmodel import select

from newsletter import suppression
from newsletter.cadence import Cadence
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.models import Consent, State, Status, Subscriber, Suppression
from newsletter.subscribers import forget, imports, suppress
from newsletter.subscribers.imports import Import, Tally
from newsletter.subscribers.sheet import Rejection
from newsletter.suppression import Cause, Grounds

LATER = NOW + timedelta(days=1)


def take_over(readers: Readers, text: str | bytes, **how: Any) -> Tally:
    octets = text.encode() if isinstance(text, str) else text
    rejected: list[Rejection] = []
    fixed = {"source": "import readers.csv", "now": NOW, "keyring": readers.keyring}
    how = {**fixed, "confirmed": True, **how}
    tally = imports.run(readers.engine, io.BytesIO(octets), Import(**how), reject=rejected.append)
    assert tally.rejected == len(rejected)
    assert tally.read == (
        tally.added + tally.updated + tally.unchanged + tally.suppressed + tally.rejected
    )
    return tally


def sheet_of(count: int) -> str:
    cadences = list(Cadence)
    lines = (f"reader{n}@x{n % 7}.org,{cadences[n % 3]}" for n in range(count))
    return "\n".join(["email,cadence", *lines])


def state(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the tables say, but for row numbers, public ids and instants."""
    with sessions.reading(engine) as session:
        people = session.exec(select(Subscriber)).all()
        consents = session.exec(select(Consent)).all()
        suppressions = session.exec(select(Suppression)).all()
        names = {person.id: person.address for person in people}
        return {
            "subscribers": sorted(
                (p.address, p.cadence, p.status, p.generation, p.paused_until is None)
                for p in people
            ),
            "consents": sorted((names[c.subscriber_id], c.action, c.status) for c in consents),
            "suppressions": sorted((str(s.address), s.address_hash) for s in suppressions),
        }


def test_readers_of_a_sheet_are_active_and_have_a_consent(readers: Readers) -> None:
    tally = take_over(readers, "email,cadence\nAnn@x.org,daily\nbob@x.org,\n")

    assert tally == Tally(read=2, added=2)
    ann, bob = readers.get("ann@x.org"), readers.get("bob@x.org")
    assert (ann.status, ann.cadence, ann.generation) == ("active", "daily", 1)
    assert (ann.watermark, ann.subscribed_at, ann.created_at) == (None, NOW, NOW)
    assert bob.cadence == "weekly"
    [consent] = readers.consents("ann@x.org")
    assert (consent.action, consent.at, consent.status, consent.cadence, consent.generation) == (
        "imported",
        NOW,
        "active",
        "daily",
        1,
    )
    assert "the operator says" in consent.wording
    assert consent.source == "import readers.csv"


def test_readers_without_a_cadence_get_the_one_of_the_import(readers: Readers) -> None:
    take_over(readers, "ann@x.org\n", cadence=Cadence.MONTHLY)

    assert readers.get("ann@x.org").cadence == "monthly"


def test_each_reader_has_a_public_id_and_a_consent_of_their_own(readers: Readers) -> None:
    tally = take_over(readers, sheet_of(1_000), batch=300)

    assert tally == Tally(read=1_000, added=1_000)
    assert len({reader.public_id for reader in readers.all()}) == 1_000
    assert len(state(readers.engine)["consents"]) == 1_000


def test_importing_twice_is_importing_once(readers: Readers) -> None:
    take_over(readers, sheet_of(500), batch=200)
    once = state(readers.engine)

    assert take_over(readers, sheet_of(500), now=LATER) == Tally(read=500, unchanged=500)

    assert state(readers.engine) == once


@pytest.mark.parametrize("batch", [1, 2, 1_000])
def test_a_reader_who_stands_in_the_sheet_twice_is_one(readers: Readers, batch: int) -> None:
    text = "email,cadence\nann@x.org,daily\nANN@X.org,weekly\nbob@x.org,\nann@x.org,\n"

    assert take_over(readers, text, batch=batch) == Tally(read=4, added=2, unchanged=2)

    assert readers.get("ann@x.org").cadence == "daily"
    assert len(readers.consents("ann@x.org")) == 1


def test_a_sheet_never_changes_a_readers_cadence(readers: Readers) -> None:
    readers.add("ann@x.org", Cadence.DAILY, watermark=NOW)

    assert take_over(readers, "email,cadence\nann@x.org,weekly\n") == Tally(read=1, unchanged=1)

    reader = readers.get("ann@x.org")
    assert (reader.cadence, reader.watermark) == ("daily", NOW)


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("status", [Status.UNSUBSCRIBED, Status.SUPPRESSED, Status.PAUSED])
def test_a_sheet_brings_nobody_back(readers: Readers, status: Status, confirmed: bool) -> None:
    readers.add("ann@x.org", status=status)

    text = "email,status\nann@x.org,enabled\n"
    assert take_over(readers, text, confirmed=confirmed) == Tally(read=1, unchanged=1)

    assert readers.get("ann@x.org").status == status
    assert len(readers.consents("ann@x.org")) == 1


def test_a_suppressed_address_stays_out(readers: Readers) -> None:
    with sessions.writing(readers.engine) as session:
        suppress.suppress(
            session,
            "ann@x.org",
            grounds=Grounds(Cause.DEAD, "5.1.1", "t"),
            now=NOW,
            keyring=readers.keyring,
        )

    assert take_over(readers, "ann@x.org\nbob@x.org\n") == Tally(read=2, added=1, suppressed=1)
    assert [reader.address for reader in readers.all()] == ["bob@x.org"]


def test_a_forgotten_person_stays_forgotten(readers: Readers) -> None:
    take_over(readers, "ann@x.org\n")
    with sessions.writing(readers.engine) as session:
        forget.forget(session, "ann@x.org", now=NOW, keyring=readers.keyring)

    for _ in range(2):
        assert take_over(readers, "ann@x.org,daily\n") == Tally(read=1, suppressed=1)

    assert readers.all() == []


def test_a_sheet_says_who_left_who_is_paused_and_who_is_blocked(readers: Readers) -> None:
    text = (
        "email,status,paused_until\nann@x.org,enabled,\nbob@x.org,disabled,\n"
        "cy@x.org,blocklisted,\ndan@x.org,paused,2027-01-05\neve@x.org,unconfirmed,\n"
    )

    assert take_over(readers, text, confirmed=False) == Tally(read=5, added=4, suppressed=1)

    found = {reader.address: reader for reader in readers.all()}
    assert {address: reader.status for address, reader in found.items()} == {
        "ann@x.org": "active",
        "bob@x.org": "unsubscribed",
        "dan@x.org": "paused",
        "eve@x.org": "pending",
    }
    assert found["dan@x.org"].paused_until is not None
    assert found["dan@x.org"].subscribed_at == NOW
    assert found["bob@x.org"].subscribed_at is found["eve@x.org"].subscribed_at is None
    with sessions.reading(readers.engine) as session:
        assert suppression.is_suppressed(session, "cy@x.org", keyring=readers.keyring)


def test_a_reader_whom_a_sheet_has_as_blocked_is_mailed_no_more(readers: Readers) -> None:
    readers.add("ann@x.org")
    readers.deliver("ann@x.org", [State.QUEUED])

    tally = take_over(readers, "email,status\nann@x.org,cleaned\n")

    assert tally == Tally(read=1, suppressed=1)
    assert readers.get("ann@x.org").status == Status.SUPPRESSED
    assert readers.deliveries()[0].state == State.CANCELLED


def test_a_pending_reader_waits_until_the_operator_vouches(readers: Readers) -> None:
    text = "email,status,cadence\nann@x.org,unconfirmed,daily\n"
    take_over(readers, text, confirmed=False)
    assert readers.get("ann@x.org").status == Status.PENDING

    assert take_over(readers, "ann@x.org\n", confirmed=False) == Tally(read=1, unchanged=1)
    assert take_over(readers, text, confirmed=True, now=LATER) == Tally(read=1, updated=1)

    reader = readers.get("ann@x.org")
    assert (reader.status, reader.cadence, reader.subscribed_at) == ("active", "daily", LATER)
    assert [row[0] for row in readers.actions("ann@x.org")] == ["imported", "confirmed"]
    assert take_over(readers, text, confirmed=True) == Tally(read=1, unchanged=1)


def test_nobody_is_mailed_on_a_bare_list_of_addresses(readers: Readers) -> None:
    text = "email,status\nann@x.org,\nbob@x.org,active\n"
    assert take_over(readers, text, confirmed=False) == Tally(read=2, added=2)

    assert [reader.status for reader in readers.all()] == ["pending", "active"]


def test_an_operator_vouches_for_all_of_a_sheet_at_once(readers: Readers) -> None:
    take_over(readers, "email,status\nann@x.org,pending\nbob@x.org,disabled\n", confirmed=True)

    assert [reader.status for reader in readers.all()] == ["active", "unsubscribed"]


def test_a_killed_import_can_be_run_again(readers: Readers) -> None:
    class Killed(Exception):
        pass

    class Dying(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 5_000:
                raise Killed
            return super().read1(1_000)

        read = read1  # type: ignore[assignment]

    text = sheet_of(1_000)
    how = Import(
        source="import readers.csv",
        now=NOW,
        keyring=readers.keyring,
        confirmed=True,
        batch=50,
    )
    with pytest.raises(Killed):
        imports.run(readers.engine, Dying(text.encode()), how, reject=print)
    survived = len(readers.all())
    assert 0 < survived < 1_000
    assert len(state(readers.engine)["consents"]) == survived

    assert take_over(readers, text) == Tally(read=1_000, added=1_000 - survived, unchanged=survived)
    assert len(state(readers.engine)["consents"]) == 1_000


def test_progress_is_told_after_each_batch(readers: Readers) -> None:
    told: list[int] = []
    how = Import(source="t", now=NOW, keyring=readers.keyring, batch=100)

    imports.run(
        readers.engine,
        io.BytesIO(sheet_of(250).encode()),
        how,
        reject=print,
        progress=lambda tally: told.append(tally.added),
    )

    assert told == [100, 200, 250]


def test_the_stream_stays_open_for_its_owner(readers: Readers) -> None:
    stream = io.BytesIO(b"ann@x.org\n")

    imports.run(
        readers.engine, stream, Import(source="t", now=NOW, keyring=readers.keyring), reject=print
    )

    assert not stream.closed


def test_five_times_the_readers_cost_the_same_memory(
    sqlite_engine: Engine,
) -> None:
    readers = Readers(sqlite_engine)

    def peak(count: int) -> int:
        stream = _Generated(f"r{count}-{n}@x.org,daily\n" for n in range(count))
        how = Import(source="t", now=NOW, keyring=readers.keyring, batch=500)
        tracemalloc.start()
        tally = imports.run(sqlite_engine, stream, how, reject=print)  # type: ignore[arg-type]
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert tally.added == count
        return highest

    peak(1_000)
    assert peak(40_000) < 1.3 * peak(8_000)


class _Generated(io.RawIOBase):
    """A file that is made while it is read, some lines at a time."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1, /) -> bytes:
        return "".join(islice(self._lines, 300)).encode()

    read = read1


LINES = st.sampled_from(
    [
        f"{name}@x.org,{cadence},{status}"
        for name in ("ann", "bob", "cy", "forgotten", "left", "blocked")
        for cadence in ("", "daily", "monthly")
        for status in ("", "enabled", "disabled", "unconfirmed", "paused", "blocklisted")
    ]
    + ["bad,,", '"open@x.org,,', "dan@x.org,hourly,", "eve@x.org,,vanished", ""]
)


@given(st.lists(LINES, max_size=20), st.integers(1, 5), st.booleans())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_sheet_imported_twice_is_imported_once(
    tmp_path: Path, lines: list[str], batch: int, confirmed: bool
) -> None:
    with _database(tmp_path / "newsletter.db") as readers:
        text = "\n".join(["email,cadence,status", *lines])
        first = take_over(readers, text, batch=batch, confirmed=confirmed)
        once = state(readers.engine)
        second = take_over(readers, text, batch=batch, confirmed=confirmed, now=LATER)

        assert (second.added, second.updated) == (0, 0)
        assert second.rejected == first.rejected
        assert state(readers.engine) == once
        mailed = {row[0] for row in once["subscribers"] if row[2] == Status.ACTIVE}
        assert not mailed & {"forgotten@x.org", "left@x.org", "blocked@x.org"}


class _database:  # noqa: N801 - used as a function
    """One migrated file for all examples, emptied between them."""

    def __init__(self, file: Path) -> None:
        self._engine = engines.open(f"sqlite:///{file}")
        schema.upgrade(self._engine)

    def __enter__(self) -> Readers:
        readers = Readers(self._engine)
        with sessions.writing(self._engine) as session:
            for table in (Consent, Subscriber, Suppression):
                session.execute(delete(table))
        readers.add("left@x.org", status=Status.UNSUBSCRIBED)
        with sessions.writing(self._engine) as session:
            forget.forget(session, "forgotten@x.org", now=NOW, keyring=readers.keyring)
            grounds = Grounds(Cause.COMPLAINT, "complaint", "t")
            suppress.suppress(
                session, "blocked@x.org", grounds=grounds, now=NOW, keyring=readers.keyring
            )
        return readers

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()


@pytest.mark.parametrize("is_reader", [False, True])
def test_an_import_beside_an_erasure_and_a_suppression_brings_nobody_back(
    readers: Readers, monkeypatch: pytest.MonkeyPatch, is_reader: bool
) -> None:
    """They come when the import has looked who is suppressed, and has not yet added anybody."""
    if engines.is_sqlite(readers.engine):
        pytest.skip("one writer at a time: nothing can come in between")
    gone, complained = "ann@x.org", "bob@x.org"
    if is_reader:
        readers.add(gone)
        readers.add(complained)
    look = suppression.suppressed_among

    def looked(*arguments: Any, **named: Any) -> set[str]:
        found = look(*arguments, **named)
        monkeypatch.setattr(suppression, "suppressed_among", look)
        with sessions.writing(readers.engine) as session:
            forget.forget(session, gone, now=NOW, keyring=readers.keyring)
            grounds = Grounds(Cause.COMPLAINT, "complaint", "a test")
            suppress.suppress(
                session, complained, grounds=grounds, now=NOW, keyring=readers.keyring
            )
        return found

    monkeypatch.setattr(suppression, "suppressed_among", looked)
    tally = take_over(readers, f"email\n{gone}\n{complained}\ncarol@x.org\n")

    assert tally.added == 1
    kept = {reader.address: reader.status for reader in readers.all()}
    assert kept == {"carol@x.org": "active"} | ({complained: "suppressed"} if is_reader else {})
    # Of a reader who was there nothing is lost.
    assert len(readers.consents(complained)) == 2 * is_reader
