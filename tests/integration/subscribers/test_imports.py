from __future__ import annotations

import gc
import io
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from readers import NOW, Readers
from sqlalchemy import Engine, delete
from sqlmodel import select

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.errors import InvalidInput
from newsletter.models import Consent, State, Status, Subscriber, Suppression
from newsletter.subscribers import evidence, forget, imports, preferences, suppress
from newsletter.subscribers.csv_rows import Rejection
from newsletter.subscribers.evidence import Evidence
from newsletter.subscribers.imports import Import, ImportTally
from newsletter.suppression import Cause, Grounds

LATER = NOW + timedelta(days=1)


def take_over(readers: Readers, text: str | bytes, **how: Any) -> ImportTally:
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


def csv_of(count: int) -> str:
    cadences = list(Cadence)
    lines = (f"reader{n}@x{n % 7}.org,{cadences[n % 3]}" for n in range(count))
    return "\n".join(["email,cadence", *lines])


def state(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return the contents of the tables without row ids, public ids and instants."""
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


def test_imported_readers_are_active_and_have_a_consent(readers: Readers) -> None:
    tally = take_over(readers, "email,cadence\nAnn@x.org,daily\nbob@x.org,\n")

    assert tally == ImportTally(read=2, added=2)
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
    tally = take_over(readers, csv_of(1_000), batch=300)

    assert tally == ImportTally(read=1_000, added=1_000)
    assert len({reader.public_id for reader in readers.all()}) == 1_000
    assert len(state(readers.engine)["consents"]) == 1_000


def test_an_import_is_idempotent(readers: Readers) -> None:
    take_over(readers, csv_of(500), batch=200)
    once = state(readers.engine)

    assert take_over(readers, csv_of(500), now=LATER) == ImportTally(read=500, unchanged=500)

    assert state(readers.engine) == once


@pytest.mark.parametrize("batch", [1, 2, 1_000])
def test_a_repeated_address_is_one_reader(readers: Readers, batch: int) -> None:
    text = "email,cadence\nann@x.org,daily\nANN@X.org,weekly\nbob@x.org,\nann@x.org,\n"

    assert take_over(readers, text, batch=batch) == ImportTally(read=4, added=2, unchanged=2)

    assert readers.get("ann@x.org").cadence == "daily"
    assert len(readers.consents("ann@x.org")) == 1


def test_an_import_never_changes_a_cadence(readers: Readers) -> None:
    readers.add("ann@x.org", Cadence.DAILY, watermark=NOW)

    assert take_over(readers, "email,cadence\nann@x.org,weekly\n") == ImportTally(
        read=1, unchanged=1
    )

    reader = readers.get("ann@x.org")
    assert (reader.cadence, reader.watermark) == ("daily", NOW)


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("status", [Status.UNSUBSCRIBED, Status.SUPPRESSED, Status.PAUSED])
def test_an_import_reactivates_nobody(readers: Readers, status: Status, confirmed: bool) -> None:
    readers.add("ann@x.org", status=status)

    text = "email,status\nann@x.org,enabled\n"
    assert take_over(readers, text, confirmed=confirmed) == ImportTally(read=1, unchanged=1)

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

    assert take_over(readers, "ann@x.org\nbob@x.org\n") == ImportTally(
        read=2, added=1, suppressed=1
    )
    assert [reader.address for reader in readers.all()] == ["bob@x.org"]


def test_a_forgotten_person_stays_forgotten(readers: Readers) -> None:
    take_over(readers, "ann@x.org\n")
    with sessions.writing(readers.engine) as session:
        forget.forget(session, "ann@x.org", now=NOW, keyring=readers.keyring)

    for _ in range(2):
        assert take_over(readers, "ann@x.org,daily\n") == ImportTally(read=1, suppressed=1)

    assert readers.all() == []


def test_states_of_a_file_are_imported(readers: Readers) -> None:
    text = (
        "email,status,paused_until\nann@x.org,enabled,\nbob@x.org,disabled,\n"
        "cy@x.org,blocklisted,\ndan@x.org,paused,2027-01-05\neve@x.org,unconfirmed,\n"
    )

    assert take_over(readers, text, confirmed=False) == ImportTally(read=5, added=4, suppressed=1)

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


def test_a_reader_whom_a_file_has_as_blocked_is_suppressed(readers: Readers) -> None:
    readers.add("ann@x.org")
    readers.deliver("ann@x.org", [State.QUEUED])

    tally = take_over(readers, "email,status\nann@x.org,cleaned\n")

    assert tally == ImportTally(read=1, suppressed=1)
    assert readers.get("ann@x.org").status == Status.SUPPRESSED
    assert readers.deliveries()[0].state == State.CANCELLED


def test_a_reader_without_a_state_is_pending_until_the_operator_confirms(readers: Readers) -> None:
    text = "email,status,cadence\nann@x.org,,daily\n"
    assert take_over(readers, text, confirmed=False) == ImportTally(read=1, added=1, unstated=1)
    assert readers.get("ann@x.org").status == Status.PENDING

    assert take_over(readers, "ann@x.org\n", confirmed=False) == ImportTally(read=1, unchanged=1)
    assert take_over(readers, text, confirmed=True, now=LATER) == ImportTally(read=1, updated=1)

    reader = readers.get("ann@x.org")
    assert (reader.status, reader.cadence, reader.subscribed_at) == ("active", "daily", LATER)
    assert [row[0] for row in readers.actions("ann@x.org")] == ["imported", "confirmed"]
    assert take_over(readers, text, confirmed=True) == ImportTally(read=1, unchanged=1)


@pytest.mark.parametrize("word", ["pending", "unconfirmed", "unactivated"])
def test_explicit_pending_stays_pending_with_confirmed(readers: Readers, word: str) -> None:
    text = f"email,status\nann@x.org,{word}\n"

    assert take_over(readers, text, confirmed=True) == ImportTally(read=1, added=1)
    assert take_over(readers, text, confirmed=True) == ImportTally(read=1, unchanged=1)

    assert readers.get("ann@x.org").status == Status.PENDING


def test_who_typed_an_address_here_is_not_confirmed_by_their_pending_row(readers: Readers) -> None:
    readers.add("ann@x.org", status=Status.PENDING)

    text = "email,status\nann@x.org,pending\n"
    assert take_over(readers, text, confirmed=True) == ImportTally(read=1, unchanged=1)

    assert readers.get("ann@x.org").status == Status.PENDING


def test_nobody_is_mailed_on_a_bare_list_of_addresses(readers: Readers) -> None:
    text = "email,status\nann@x.org,\nbob@x.org,active\n"
    assert take_over(readers, text, confirmed=False) == ImportTally(read=2, added=2, unstated=1)

    assert [reader.status for reader in readers.all()] == ["pending", "active"]


def test_confirmed_applies_only_to_readers_without_a_state(readers: Readers) -> None:
    text = "email,status\nann@x.org,pending\nbob@x.org,disabled\ncy@x.org,\n"
    take_over(readers, text, confirmed=True)

    assert [reader.status for reader in readers.all()] == ["pending", "unsubscribed", "active"]


# The strictest of several states


@pytest.mark.parametrize("batch", [1, 1_000])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("word", "status"),
    [("unsubscribed", "unsubscribed"), ("unconfirmed", "pending"), ("paused", "paused")],
)
def test_of_several_rows_of_one_reader_the_strictest_counts(
    readers: Readers, batch: int, order: int, word: str, status: str
) -> None:
    rows = ["ann@x.org,active", f"ann@x.org,{word}"][::order]

    take_over(readers, "\n".join(["email,status", *rows]), batch=batch)

    assert readers.get("ann@x.org").status == status


@pytest.mark.parametrize("batch", [1, 1_000])
@pytest.mark.parametrize("word", ["", "active"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_pending_row_is_confirmed_by_no_other_row_of_its_file(
    readers: Readers, batch: int, word: str, order: int
) -> None:
    rows = ["ann@x.org,pending", f"ann@x.org,{word}"][::order]
    text = "\n".join(["email,status", *rows])

    for _ in range(2):
        take_over(readers, text, batch=batch, confirmed=True)

        assert readers.get("ann@x.org").status == Status.PENDING


def test_a_dry_run_counts_a_reader_of_several_rows_once_as_the_strictest(
    readers: Readers,
) -> None:
    text = b"email,status\nann@x.org,active\nANN@x.org,unsubscribed\nann@x.org,\nbob@x.org,\n"
    how = Import(source="t", now=NOW, keyring=readers.keyring, confirmed=True)

    counts = imports.preview(io.BytesIO(text), how, reject=lambda _: None, surveyed=lambda _: None)

    assert counts == {"unsubscribed": 1, "active": 1}


def test_a_later_import_unsubscribes_readers_known_by_imports_alone(readers: Readers) -> None:
    take_over(readers, "email,status\nann@x.org,active\n")
    readers.deliver("ann@x.org", [State.QUEUED])

    left = take_over(readers, "email,status\nann@x.org,unsubscribed\n", now=LATER)

    assert left == ImportTally(read=1, updated=1)
    assert readers.get("ann@x.org").status == Status.UNSUBSCRIBED
    assert readers.deliveries()[0].state == State.CANCELLED
    assert [row[0] for row in readers.actions("ann@x.org")] == ["imported", "unsubscribed"]


def test_a_later_import_pauses_readers_known_by_imports_alone(readers: Readers) -> None:
    take_over(readers, "email,status\nann@x.org,active\n")
    readers.deliver("ann@x.org", [State.QUEUED])

    text = "email,status,paused_until\nann@x.org,paused,2030-01-01\n"
    assert take_over(readers, text, now=LATER) == ImportTally(read=1, updated=1)

    ann = readers.get("ann@x.org")
    assert (ann.status, ann.paused_until) == (Status.PAUSED, datetime(2030, 1, 1, tzinfo=UTC))
    assert ann.watermark is not None
    assert readers.deliveries()[0].state == State.CANCELLED
    # It is still known by imports alone.
    take_over(readers, "email,status\nann@x.org,unsubscribed\n", now=LATER)
    assert readers.get("ann@x.org").status == Status.UNSUBSCRIBED


def test_an_import_ends_no_subscription_that_a_reader_made_here(readers: Readers) -> None:
    readers.add("ann@x.org")

    for word in ("unsubscribed", "unconfirmed", "paused"):
        text = f"email,status\nann@x.org,{word}\n"
        assert take_over(readers, text) == ImportTally(read=1, unchanged=1)

    assert readers.get("ann@x.org").status == Status.ACTIVE


# States that are not understood


def test_a_state_that_is_not_understood_stops_the_import_before_anything_is_written(
    readers: Readers,
) -> None:
    rows = "".join(f"r{n}@x.org,active\n" for n in range(500))
    told: list[ImportTally] = []

    with pytest.raises(InvalidInput, match="gone"):
        imports.run(
            readers.engine,
            io.BytesIO(f"email,status\n{rows}last@x.org,gone\n".encode()),
            Import(source="t", now=NOW, keyring=readers.keyring, batch=50),
            reject=pytest.fail,
            progress=told.append,
        )

    assert readers.all() == []
    assert told == []


@pytest.mark.parametrize("word", ["complained", "bounced", "blocked"])
def test_a_suppressed_row_with_an_odd_cadence_is_suppressed_for_its_cause(
    readers: Readers, word: str
) -> None:
    cause = {"complained": "complaint", "bounced": "bounce", "blocked": "imported"}[word]

    tally = take_over(readers, f"email,status,cadence\nann@x.org,{word},hourly\n")

    assert tally == ImportTally(read=1, suppressed=1)
    with sessions.reading(readers.engine) as session:
        found = suppression.find(session, "ann@x.org", keyring=readers.keyring)
    assert found
    assert found.cause == cause


# Evidence


def test_the_evidence_of_a_file_is_stored_with_the_consent(readers: Readers) -> None:
    text = (
        "Email Address,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,TIMEZONE,LANGUAGE,SOURCE,LEID\n"
        "ann@x.org,2024-01-02 03:00:00,192.0.2.7,2024-01-02 03:04:05,192.0.2.8,Europe/Berlin,de,"
        "Landing page,1\nbob@x.org,2024-01-02 03:00:00,nowhere,2031-01-01,<b>,Mars/X,9,,2\n"
    )

    take_over(readers, text)

    ann, bob = readers.get("ann@x.org"), readers.get("bob@x.org")
    began = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (ann.subscribed_at, ann.created_at) == (began, NOW)
    assert (ann.language, ann.timezone) == ("de", "Europe/Berlin")
    [consent] = readers.consents("ann@x.org")
    assert (consent.at, consent.action, consent.remote) == (NOW, "imported", "192.0.2.8")
    assert evidence.from_json(consent.evidence) == Evidence(
        datetime(2024, 1, 2, 3, tzinfo=UTC), "192.0.2.7", began, "192.0.2.8", "Landing page"
    )
    # Invalid evidence is dropped without rejecting the row.
    assert bob.subscribed_at == datetime(2024, 1, 2, 3, tzinfo=UTC)
    assert (bob.language, bob.timezone) == (None, None)
    [consent] = readers.consents("bob@x.org")
    assert consent.remote is None


def test_a_reader_with_old_evidence_who_pauses_catches_up_from_the_import(
    readers: Readers,
) -> None:
    take_over(readers, "email,status,optin_time\nann@x.org,active,2020-01-01\n")

    readers.change(
        "ann@x.org",
        lambda session, reader: preferences.pause(
            session, reader, until=None, origin=readers.origin, now=NOW
        ),
    )

    began = readers.get("ann@x.org").watermark
    assert began
    assert began > NOW - timedelta(days=8)


def test_a_killed_import_can_be_run_again(readers: Readers) -> None:
    class Killed(Exception):
        pass

    def die(tally: ImportTally) -> None:
        if tally.added > 300:
            raise Killed

    text = csv_of(1_000)
    how = Import(
        source="import readers.csv",
        now=NOW,
        keyring=readers.keyring,
        confirmed=True,
        batch=50,
    )
    with pytest.raises(Killed):
        imports.run(readers.engine, io.BytesIO(text.encode()), how, reject=print, progress=die)
    survived = len(readers.all())
    assert 0 < survived < 1_000
    assert len(state(readers.engine)["consents"]) == survived

    assert take_over(readers, text) == ImportTally(
        read=1_000, added=1_000 - survived, unchanged=survived
    )
    assert len(state(readers.engine)["consents"]) == 1_000


def test_progress_is_reported_after_each_batch(readers: Readers) -> None:
    told: list[int] = []
    how = Import(source="t", now=NOW, keyring=readers.keyring, batch=100)

    imports.run(
        readers.engine,
        io.BytesIO(csv_of(250).encode()),
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


def test_five_times_the_readers_cost_the_same_memory(sqlite_engine: Engine, tmp_path: Path) -> None:
    readers = Readers(sqlite_engine)

    def peak(count: int) -> int:
        file = tmp_path / "readers.csv"
        file.write_text("".join(f"r{count}-{n}@x.org,daily\n" for n in range(count)))
        how = Import(source="t", now=NOW, keyring=readers.keyring, batch=500)
        # What other tests have left does not put off the collection of what this one leaves.
        gc.collect()
        gc.freeze()
        with file.open("rb") as stream:
            tracemalloc.start()
            tally = imports.run(sqlite_engine, stream, how, reject=print)
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        gc.unfreeze()
        assert tally.added == count
        return highest

    peak(1_000)
    # The lower of two: what a collection leaves for later only adds.
    assert min(peak(40_000), peak(40_001)) < 1.3 * peak(8_000)


LINES = st.sampled_from(
    [
        f"{name}@x.org,{cadence},{status}"
        for name in ("ann", "bob", "cy", "forgotten", "left", "blocked")
        for cadence in ("", "daily", "monthly")
        for status in ("", "enabled", "disabled", "unconfirmed", "paused", "blocklisted")
    ]
    + ["bad,,", '"open@x.org,,', "dan@x.org,hourly,", "eve@x.org,,unconfirmed", ""]
)


@example(["cy@x.org,,enabled", "ann@x.org,,", "cy@x.org,daily,unconfirmed"], 1, True)
@given(st.lists(LINES, max_size=20), st.integers(1, 5), st.booleans())
@examples(
    12,
    many=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_import_is_idempotent(
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
def test_an_import_concurrent_with_an_erasure_and_a_suppression_adds_nobody(
    readers: Readers, monkeypatch: pytest.MonkeyPatch, is_reader: bool
) -> None:
    """Both are committed after the import's check of suppressions and before its insert."""
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
    # An existing reader loses nothing.
    assert len(readers.consents(complained)) == 2 * is_reader
