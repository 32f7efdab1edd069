from __future__ import annotations

import random
import threading
from pathlib import Path

from readers import Readers
from sqlalchemy import Engine, text
from sqlmodel import Session, select

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.models import State, Suppression
from newsletter.subscribers import forget, suppress
from newsletter.subscribers.forget import Forgotten
from newsletter.suppression import Cause, Grounds

ANN = "ann.archaeopteryx@x.org"
BOB = "bob@x.org"


def erase(readers: Readers, address: str = ANN) -> Forgotten:
    with sessions.writing(readers.engine) as session:
        return forget.forget(session, address, now=readers.now, keyring=readers.keyring)


def everything(session: Session) -> str:
    """Return every cell of every table."""
    tables = ("subscriber", "consent", "suppression", "delivery", "attempt", "mailing", "edition")
    return "\n".join(
        str(tuple(row))
        for table in tables
        for row in session.execute(text(f"SELECT * FROM {table}"))
    )


def test_a_forgotten_person_is_in_no_table(readers: Readers) -> None:
    readers.add(ANN)
    readers.deliver(ANN, list(State), reply=f"550 5.1.1 <{ANN}> unknown")
    public_id = readers.get(ANN).public_id
    with sessions.writing(readers.engine) as session:
        suppress.suppress(
            session,
            ANN,
            grounds=Grounds(Cause.COMPLAINT, "complaint", f"report of {ANN}"),
            now=readers.now,
            keyring=readers.keyring,
        )

    erase(readers)

    with sessions.reading(readers.engine) as session:
        left = everything(session)
    assert "archaeopteryx" not in left
    assert public_id not in left


def test_the_books_still_balance_without_the_person(readers: Readers) -> None:
    readers.add(ANN)
    readers.add(BOB)
    readers.deliver(ANN, list(State), reply="250 queued")
    readers.deliver(BOB, [State.QUEUED], reply="450 later")

    gone = erase(readers)

    assert gone == Forgotten(subscriber=True, consents=1, deliveries=9)
    *anns, bobs = readers.deliveries()
    assert [row.state for row in anns] == [
        *["cancelled"] * 2,
        # In flight: it ends with its outcome.
        "queued",
        "accepted",
        "cancelled",
        *["refused", "unknown", "skipped", "cancelled"],
    ]
    assert len({row.reference for row in anns}) == 9
    assert {(row.address, row.reply, row.since_at) for row in anns} == {("", None, None)}
    assert (bobs.address, bobs.state, bobs.reply) == (BOB, "queued", "450 later")
    assert [row.reply for row in readers.attempts()] == [*[None] * 9, "450 later"]
    assert [reader.address for reader in readers.all()] == [BOB]
    assert len(readers.consents(BOB)) == 1


def test_only_a_keyed_hash_stays(readers: Readers) -> None:
    readers.add(ANN)

    erase(readers)

    with sessions.reading(readers.engine) as session:
        [row] = suppression.listing(session, limit=10)
    assert (row.address, row.reason) == (None, "forgotten")
    assert row.address_hash == readers.keyring.fingerprints(ANN)[0]


def test_forgetting_an_unknown_address_keeps_imports_from_adding_it(readers: Readers) -> None:
    assert erase(readers) == Forgotten(subscriber=False, consents=0, deliveries=0)

    with sessions.reading(readers.engine) as session:
        assert suppression.is_suppressed(session, ANN, keyring=readers.keyring)


def test_forgetting_is_idempotent(readers: Readers) -> None:
    readers.add(ANN)
    erase(readers)

    erase(readers)

    with sessions.reading(readers.engine) as session:
        assert suppression.count(session) == 1


def test_the_address_leaves_the_files_of_the_database(sqlite_engine: Engine) -> None:
    """Free pages have no copies of rows that were moved, enlarged or deleted before either."""
    readers = Readers(sqlite_engine)
    file = Path(str(sqlite_engine.url.database))
    rng = random.Random(7)
    crowd = [f"reader{number}@x.org" for number in range(300)]
    for address in [*crowd[:150], ANN, *crowd[150:]]:
        readers.add(address)
    for address in [ANN, *rng.sample(crowd, 60)]:
        readers.deliver(address, [State.QUEUED, State.REFUSED], reply=f"550 <{address}> no")
    for address in rng.sample(crowd, 30):
        erase(readers, address)
    forget.sweep(sqlite_engine)
    assert b"archaeopteryx" in file.read_bytes()

    erase(readers)
    assert forget.sweep(sqlite_engine)

    for part in file.parent.iterdir():
        assert b"archaeopteryx" not in part.read_bytes(), part.name


def test_a_reader_of_the_database_delays_the_checkpoint(sqlite_engine: Engine) -> None:
    readers = Readers(sqlite_engine)
    readers.add(ANN)
    with sessions.reading(sqlite_engine) as session:
        session.execute(text("SELECT count(*) FROM subscriber")).all()
        erase(readers)
        assert not forget.sweep(sqlite_engine, patience_seconds=0.01)

    assert forget.sweep(sqlite_engine)


def test_an_erasure_concurrent_with_a_suppression_leaves_no_address(readers: Readers) -> None:
    """In either order, only the hash is left."""
    keyring, now = readers.keyring, readers.now
    errors: list[BaseException] = []

    def forgetting() -> None:
        try:
            with sessions.writing(readers.engine) as session:
                forget.forget(session, ANN, now=now, keyring=keyring)
        except BaseException as exc:  # noqa: BLE001 - looked at below
            errors.append(exc)

    thread = threading.Thread(target=forgetting)
    with sessions.writing(readers.engine) as session:
        grounds = Grounds(Cause.DEAD, "bounced", "a test")
        suppress.suppress(session, ANN, grounds=grounds, now=now, keyring=keyring)
        thread.start()
        # It waits for this transaction, or has been committed already.
        thread.join(0.5)
    thread.join(60)

    assert errors == []
    with sessions.reading(readers.engine) as session:
        assert [(row.address, row.reason) for row in session.exec(select(Suppression))] == [
            (None, "forgotten")
        ]
