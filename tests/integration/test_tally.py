"""Kept counts: true in every interleaving, folded without a change, and read without a scan."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from typing import Any

import claimants
import counts
import ledgers
import pytest
from ledgers import NOW
from sqlalchemy import Engine, event, func, select, text
from sqlmodel import Session, col

from newsletter import suppression, tally
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.ledger import books, cancellation, erasure
from newsletter.ledger.queue import Verdict
from newsletter.ledger.reasons import Reason
from newsletter.ledger.retry import Decision
from newsletter.models import Delivery, Mailing, State, Status, TallyPart
from newsletter.smtp.outcome import Kind, Outcome, Phase, Reaction, Scope
from newsletter.subscribers import store
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Keyring

KEYRING = Keyring([ledgers.SECRET])
ACCEPTED = Outcome(Kind.ACCEPTED, Phase.BODY, code=250, text="Ok")
DEFERRED = Outcome(Kind.DEFERRED, Phase.RCPT, Scope.READER, 450, "4.2.1", "later", Reaction.SLOW)
REFUSED = Outcome(Kind.REFUSED, Phase.RCPT, Scope.READER, 550, "5.1.1", "gone", Reaction.SUPPRESS)
UNKNOWN = Outcome(Kind.UNKNOWN, Phase.BODY, Scope.READER, None, None, "lost")
STATES = {
    ACCEPTED: State.ACCEPTED,
    DEFERRED: State.DEFERRED,
    REFUSED: State.REFUSED,
    UNKNOWN: State.UNKNOWN,
}


def verdict(delivery_id: int, outcome: Outcome) -> Verdict:
    address = f"reader{delivery_id}@example.com"
    due_at = NOW + timedelta(minutes=5)
    return Verdict(delivery_id, address, outcome, Decision(STATES[outcome], due_at, True))


def sent(engine: Engine, *outcomes: Outcome) -> list[int]:
    """Have as many rows tried, each with its outcome; return their ids."""
    ids = [claim.id for claim in claimants.claim(engine, limit=len(outcomes), now=NOW)]
    claimants.mark(engine, ids, now=NOW)
    verdicts = [verdict(one, outcome) for one, outcome in zip(ids, outcomes, strict=True)]
    claimants.record(engine, verdicts, now=NOW)
    return ids


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    with sessions.reading(engine) as session:
        yield session


def every_name(engine: Engine) -> Counter[tuple[str, int, str]]:
    """Return all counts."""
    by = (col(TallyPart.name), col(TallyPart.mailing_id), col(TallyPart.key))
    with reading(engine) as session:
        found = session.execute(select(*by, func.sum(col(TallyPart.change))).group_by(*by))
        return Counter({(name, one, key): int(count) for name, one, key, count in found if count})


def test_replies_and_ends_are_counted_by_what_they_mean(engine: Engine) -> None:
    ledgers.fill(engine, 9)
    sent(engine, ACCEPTED, ACCEPTED, DEFERRED, REFUSED, UNKNOWN)

    with reading(engine) as session:
        assert tally.replies(session) == {
            ("body", "accepted", "nothing"): 2,
            ("body", "unknown", "nothing"): 1,
            ("rcpt", "deferred", "slow"): 1,
            ("rcpt", "refused", "suppress"): 1,
        }
        assert books.ended(session) == {
            ("digest", State.ACCEPTED): 2,
            ("digest", State.REFUSED): 1,
            ("digest", State.UNKNOWN): 1,
        }
        assert books.by_kind(session) == {
            ("digest", State.ACCEPTED): 2,
            ("digest", State.DEFERRED): 1,
            ("digest", State.QUEUED): 4,
            ("digest", State.REFUSED): 1,
            ("digest", State.UNKNOWN): 1,
        }


def test_what_workers_hold_is_counted_as_claimed_and_in_flight(engine: Engine) -> None:
    ledgers.fill(engine, 9)
    ids = [claim.id for claim in claimants.claim(engine, limit=5, now=NOW)]
    claimants.mark(engine, ids[:2], now=NOW)

    with reading(engine) as session:
        found = books.by_kind(session)
    assert {state.value: count for (_, state), count in found.items()} == ledgers.states(engine)


def test_an_unknown_that_is_settled_has_ended_twice(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    (one, _) = sent(engine, UNKNOWN, UNKNOWN)
    with sessions.writing(engine) as session:
        books.reconcile(session, replies={one: "Ok"}, now=NOW)
        books.retry_now(session, state=State.UNKNOWN, now=NOW)

    with reading(engine) as session:
        assert books.ended(session) == {
            ("digest", State.ACCEPTED): 1,
            ("digest", State.UNKNOWN): 2,
        }


def test_an_outcome_that_is_written_twice_counts_once(engine: Engine) -> None:
    """The answer to a commit was lost, and the transaction is repeated."""
    ledgers.fill(engine, 4)
    ids = sent(engine, ACCEPTED, DEFERRED, REFUSED, UNKNOWN)
    before = every_name(engine)

    verdicts = [verdict(one, outcome) for one, outcome in zip(ids, STATES, strict=True)]
    with claimants.working(engine, 1, ended=ids, is_repeated=True) as (session, hold):
        from newsletter.ledger import queue

        queue.record(session, hold, verdicts=verdicts, now=NOW)

    assert every_name(engine) == before


def test_folding_changes_no_count_and_leaves_one_row_for_each(engine: Engine) -> None:
    mailing = ledgers.fill(engine, 30)
    rng = random.Random(21)
    for _ in range(6):
        outcomes = [rng.choice(list(STATES)) for _ in range(3)]
        sent(engine, *outcomes)
    with sessions.writing(engine) as session:
        cancellation.cancel_mailings(
            session,
            mailings=select(Mailing.id).where(Mailing.id == mailing),
            reason=Reason.STALE,
            now=NOW,
        )
    before = every_name(engine)
    claimants.take_over(engine, 1, now=NOW)

    for _ in range(2):
        with sessions.writing(engine) as session:
            tally.fold(session)
        assert every_name(engine) == before
    with reading(engine) as session:
        owners = session.execute(select(col(TallyPart.worker_id), func.count()).group_by(text("1")))
        assert {tuple(row) for row in owners} == {(0, len(before))}


def test_counts_that_rows_changed_by_hand_have_made_wrong_are_corrected(engine: Engine) -> None:
    mailing = ledgers.fill(engine, 9)
    sent(engine, ACCEPTED, ACCEPTED)
    with sessions.writing(engine) as session:
        assert tally.correct(session, now=NOW) == []
        session.execute(text("UPDATE delivery SET state = 'skipped' WHERE id > 6"))
        assert tally.correct(session, now=NOW) == [
            ("delivery", mailing, "queued", -3),
            ("delivery", mailing, "skipped", 3),
        ]
        assert tally.correct(session, now=NOW) == []


def test_a_correction_waits_for_nobody_who_is_counting(engine: Engine) -> None:
    ledgers.fill(engine, 9)
    if is_sqlite(engine):
        pytest.skip("SQLite has one writer")
    with sessions.writing(engine) as first:
        _cancel(first)
        with sessions.writing(engine) as second:
            second.execute(text("SET LOCAL lock_timeout = '2s'"))
            assert tally.correct(second, now=NOW) == []


def test_two_transactions_fold_without_waiting_for_each_other(engine: Engine) -> None:
    ledgers.fill(engine, 3)
    if is_sqlite(engine):
        pytest.skip("SQLite has one writer")
    before = every_name(engine)
    with sessions.writing(engine) as first:
        tally.fold(first)
        with sessions.writing(engine) as second:
            second.execute(text("SET LOCAL lock_timeout = '2s'"))
            tally.fold(second)
        assert every_name(engine) == before
    assert every_name(engine) == before


def _cancel(session: Session) -> object:
    references = ["reader1000000001", "reader1000000002"]
    return cancellation.cancel(session, references=references, reason=Reason.PAUSED, now=NOW)


def _skip(session: Session) -> object:
    return cancellation.skip_mailings(
        session, mailings=select(Mailing.id), reason=Reason.STALE, now=NOW
    )


def _erase(session: Session) -> object:
    return erasure.erase(session, col(Delivery.id) <= 2, now=NOW)


def _retry(session: Session) -> object:
    return books.retry_now(session, state=State.DEFERRED, now=NOW)


CHANGES: dict[str, Callable[[Session], object]] = {
    "cancel": _cancel, "skip": _skip, "erase": _erase, "retry": _retry
}  # fmt: skip


@pytest.mark.parametrize("then", CHANGES)
@pytest.mark.parametrize("first", CHANGES)
def test_two_changes_of_the_same_rows_count_what_each_has_found(
    engine: Engine, first: str, then: str
) -> None:
    """The second one's statement begins before the first one has committed, and waits for it."""
    ledgers.fill(engine, 4)
    sent(engine, DEFERRED, DEFERRED)
    if is_sqlite(engine):
        pytest.skip("SQLite has one writer")
    thread: Thread | None = None
    with sessions.writing(engine) as session:
        CHANGES[first](session)
        thread = Thread(target=_in_its_own, args=(engine, CHANGES[then]))
        thread.start()
        _wait_until_blocked(engine, thread)
    thread.join()

    counts.assert_counts_are_true(engine)


@pytest.mark.parametrize("outcome", STATES, ids=[one.kind.value for one in STATES])
@pytest.mark.parametrize("change", CHANGES)
def test_an_outcome_and_a_change_of_its_row_count_what_each_has_found(
    engine: Engine, change: str, outcome: Outcome
) -> None:
    ledgers.fill(engine, 4)
    if is_sqlite(engine):
        pytest.skip("SQLite has one writer")
    sent(engine, DEFERRED, DEFERRED)
    ids = [claim.id for claim in claimants.claim(engine, limit=4, now=NOW + timedelta(hours=1))]
    claimants.mark(engine, ids, now=NOW)
    with sessions.writing(engine) as session:
        CHANGES[change](session)
        verdicts = [verdict(one, outcome) for one in ids]
        thread = Thread(target=claimants.record, args=(engine, verdicts), kwargs={"now": NOW})
        thread.start()
        _wait_until_blocked(engine, thread)
    thread.join()

    counts.assert_counts_are_true(engine)


def _in_its_own(engine: Engine, change: Callable[[Session], object]) -> None:
    with sessions.writing(engine) as session:
        change(session)


def _wait_until_blocked(engine: Engine, thread: Thread) -> None:
    blocked = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    while thread.is_alive():
        with engine.connect() as connection:
            if connection.execute(blocked).scalar_one():
                return


def test_suppressions_count_up_and_by_the_graver_cause(engine: Engine) -> None:
    def suppress(cause: Cause, *addresses: str) -> None:
        with sessions.writing(engine) as session:
            grounds = Grounds(cause, "said", "test")
            each = dict.fromkeys(addresses, grounds)
            suppression.suppress_each(session, each, now=NOW, keyring=KEYRING)

    suppress(Cause.DEAD, "ann@x.org", "bob@x.org")
    suppress(Cause.DEAD, "bob@x.org")
    suppress(Cause.COMPLAINT, "bob@x.org", "cid@x.org")
    with sessions.writing(engine) as session:
        suppression.release(session, "ann@x.org", keyring=KEYRING)
        suppression.forget(session, "bob@x.org", now=NOW, keyring=KEYRING)
        suppression.forget(session, "dan@x.org", now=NOW, keyring=KEYRING)

    with reading(engine) as session:
        assert tally.suppressions(session) == {"complaint": 2, "dead": 2, "erased": 1}


def test_readers_are_counted_by_cadence_and_status(engine: Engine) -> None:
    columns: dict[str, Any] = {
        "public_id": [f"reader{number:010}" for number in range(6)],
        "address": [f"reader{number}@x.org" for number in range(6)],
        "cadence": ["daily", "daily", "weekly", "weekly", "weekly", "monthly"],
    }
    with sessions.writing(engine) as session:
        for _ in range(2):
            store.insert_missing(session, columns, status=Status.ACTIVE, now=NOW)
        daily = store.are_in(["reader0@x.org", "reader1@x.org"], list(Status))
        store.change(session, daily, {"cadence": "weekly", "status": Status.PAUSED}, now=NOW)
        store.erase(session, [6], now=NOW)

    with reading(engine) as session:
        assert tally.readers(session) == {
            (Cadence.WEEKLY, Status.ACTIVE): 3,
            (Cadence.WEEKLY, Status.PAUSED): 2,
        }
        assert store.count(session, cadence=Cadence.WEEKLY) == 5


def test_what_is_read_from_counts_reads_no_table_that_is_counted(engine: Engine) -> None:
    ledgers.fill(engine, 50)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    with reading(engine) as session:
        for read in (
            tally.readers,
            tally.replies,
            tally.suppressions,
            tally.reports,
            tally.unplaced_reports,
            books.ended,
        ):
            read(session)
    event.remove(engine, "before_cursor_execute", note)

    read_tables = set(re.findall(r"(?:FROM|JOIN) (\w+)", " ".join(statements)))
    assert read_tables == {"tally", "mailing"}


def test_the_counts_of_all_deliveries_look_up_only_what_is_held(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 50)
    claimants.claim(sqlite_engine, limit=5, now=NOW)
    chosen = books.of(select(Mailing.id))
    written = select(chosen).compile(sqlite_engine, compile_kwargs={"literal_binds": True})
    with reading(sqlite_engine) as session:
        plan = session.execute(text(f"EXPLAIN QUERY PLAN {written}")).all()

    assert not [row[3] for row in plan if row[3].startswith("SCAN delivery")]
