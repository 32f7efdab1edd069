"""The delivery queue on both databases: transitions, ownership of rows, and balance."""

from __future__ import annotations

import random
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import claimants
import counts
import ledgers
import pytest
from sqlalchemy import Connection, Engine, event, select, text, update
from sqlmodel import Session

from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.db.dialects import Statement
from newsletter.ledger import books, cancellation, holding, queue, retry
from newsletter.ledger.holding import LeaseLost
from newsletter.ledger.queue import Claim, Verdict
from newsletter.ledger.reasons import Reason
from newsletter.ledger.retry import Policy
from newsletter.models import Attempt, Delivery, Mailing, Suppression
from newsletter.smtp import reply
from newsletter.smtp.outcome import Outcome, Phase
from newsletter.smtp.reply import Reply

NOW = ledgers.NOW + timedelta(hours=1)
ACCEPTED = reply.classify(Phase.BODY, Reply(250, "2.0.0 queued as 4F2A"))
GREYLISTED = reply.classify(Phase.RCPT, Reply(451, "4.7.1 later"))
NO_SUCH_USER = reply.classify(Phase.RCPT, Reply(550, "5.1.1 no such user"))
LOST = reply.lost(Phase.BODY, "the server left")


def claim(
    engine: Engine, worker_id: int = 1, *, limit: int = 1000, **narrowed: object
) -> list[Claim]:
    return claimants.claim(engine, worker_id, limit=limit, now=NOW, **narrowed)


def mark(engine: Engine, claims: list[Claim], worker_id: int = 1) -> set[int]:
    return claimants.mark(engine, [each.id for each in claims], worker_id, now=NOW)


def record(
    engine: Engine,
    claims: list[Claim],
    outcome: Outcome,
    *,
    worker_id: int = 1,
    policy: Policy = "resend",
) -> None:
    claimants.record(engine, verdicts(claims, outcome, policy), worker_id, now=NOW)


def verdicts(claims: list[Claim], outcome: Outcome, policy: Policy = "resend") -> list[Verdict]:
    rng, rules = random.Random(1), retry.RetryRules(policy, ledgers.WAITS)
    return [
        Verdict(
            each.id,
            each.address,
            outcome,
            retry.decide(
                outcome,
                attempts=each.attempts,
                rules=rules,
                give_up_at=each.give_up_at,
                now=NOW,
                rng=rng,
            ),
        )
        for each in claims
    ]


def cancel(engine: Engine, claimed: Claim) -> int:
    with sessions.writing(engine) as session:
        return cancellation.cancel(
            session, references=[claimed.reference], reason=Reason.UNSUBSCRIBED, now=NOW
        )


def take_over(engine: Engine, *dead: int, policy: Policy = "resend") -> None:
    claimants.take_over(engine, *dead, policy=policy, now=NOW)


def rows(engine: Engine) -> list[Delivery]:
    with sessions.reading(engine) as session:
        return list(session.execute(select(Delivery).order_by(Delivery.id)).scalars())


def attempts(engine: Engine) -> list[Attempt]:
    with sessions.reading(engine) as session:
        return list(session.execute(select(Attempt).order_by(Attempt.id)).scalars())


# Enqueue


def test_enqueue_takes_two_statements_however_many_readers_there_are(engine: Engine) -> None:
    mailing_id = ledgers.add_mailing(engine)
    statements: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    with sessions.writing(engine) as session:
        event.listen(engine, "before_cursor_execute", note)
        made = queue.enqueue(
            session,
            mailing_id=mailing_id,
            recipients=ledgers.recipients(5000),
            priority=1,
            now=NOW,
        )
        event.remove(engine, "before_cursor_execute", note)

    assert made == 5000
    assert len(statements) == 2
    references = [row.reference for row in rows(engine)]
    assert references == sorted(references)
    assert ledgers.states(engine) == {"queued": 5000}


# Claim


def test_a_second_worker_claims_nothing_already_claimed(engine: Engine) -> None:
    ledgers.fill(engine, 30)

    first = claim(engine, 1, limit=20)
    second = claim(engine, 2, limit=20)

    assert (len(first), len(second)) == (20, 10)
    assert not {each.id for each in first} & {each.id for each in second}
    assert claim(engine, 3) == []


def test_workers_that_claim_at_the_same_time_never_get_the_same_row(
    engine: Engine, migrated_url: str
) -> None:
    ledgers.fill(engine, 400)
    claimed: list[int] = []
    # One connection pool each, as separate processes have.
    opened = [engines.open(migrated_url) for _ in range(6)]

    def work(number: int) -> None:
        while found := claim(opened[number], number + 1, limit=7):
            claimed.extend(each.id for each in found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in opened:
        each.dispose()

    assert len(claimed) == len(set(claimed)) == 400


def test_a_claim_never_takes_more_than_its_limit(engine: Engine) -> None:
    ledgers.fill(engine, 200)

    taken = [len(claim(engine, limit=16)) for _ in range(13)]

    assert taken == [16] * 12 + [8]


def test_letters_go_before_digests_and_the_longest_due_first(engine: Engine) -> None:
    digest = ledgers.fill(engine, 3)
    letter = ledgers.fill(engine, 2, public_id="letter0000000001", priority=0)
    late = ledgers.fill(
        engine, 1, public_id="mailing000000002", now=ledgers.NOW - timedelta(hours=1)
    )

    taken = [claim(engine, limit=1)[0].mailing_id for _ in range(6)]

    assert taken == [letter, letter, late, digest, digest, digest]


def test_what_is_not_due_is_not_claimed(engine: Engine) -> None:
    ledgers.fill(engine, 2, now=NOW + timedelta(seconds=1))

    assert claim(engine) == []
    with sessions.reading(engine) as session:
        assert queue.next_due(session) == NOW + timedelta(seconds=1)


def test_a_claim_keeps_to_the_mailings_it_is_given(engine: Engine) -> None:
    one = ledgers.fill(engine, 2)
    other = ledgers.fill(engine, 2, public_id="mailing000000002")

    of_one = claim(engine, mailings=select(Mailing.id).where(Mailing.id == one))
    but_other = claim(engine, excluded=select(Mailing.id).where(Mailing.id == other))

    assert {each.mailing_id for each in of_one} == {one}
    assert but_other == []


def test_a_suppressed_address_is_skipped_at_the_claim_and_stops_nobody_else(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 40)
    with sessions.writing(engine) as session:
        for n in range(1, 33):
            session.add(
                Suppression(
                    address=f"reader{n}@example.com",
                    address_hash=f"hash{n}",
                    reason="bounced",
                    created_at=NOW,
                )
            )
        counts.recount(session)

    # The first batches have suppressed addresses only.
    claimed = claim(engine, limit=8)

    assert len(claimed) == 8
    assert ledgers.states(engine) == {"skipped": 32, "claimed": 8}
    assert {each.reason for each in rows(engine) if each.state == "skipped"} == {"suppressed"}


# Mark


def test_a_claim_that_was_cancelled_cannot_be_marked(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    gone, mine = claim(engine)
    cancel(engine, gone)

    assert mark(engine, [gone, mine]) == {mine.id}
    assert ledgers.states(engine) == {"cancelled": 1, "in_flight": 1}
    with sessions.reading(engine) as session:
        assert holding.in_flight(session) == {mine.id}


def test_marking_again_after_a_commit_whose_answer_was_lost_is_harmless(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    claims = claim(engine)

    assert mark(engine, claims) == mark(engine, claims) == {each.id for each in claims}


def test_a_row_that_is_ended_beside_its_mark_either_leaves_or_ends(
    engine: Engine, migrated_url: str
) -> None:
    """Two transactions that interleave in every order, on PostgreSQL; on SQLite they take turns."""
    ledgers.fill(engine, 40)
    claims = claim(engine)
    opened = engines.open(migrated_url)
    marked: set[int] = set()

    def goodbye() -> None:
        for each in claims:
            cancel(opened, each)

    thread = threading.Thread(target=goodbye)
    thread.start()
    for each in reversed(claims):
        marked |= mark(engine, [each])
    thread.join()
    opened.dispose()

    in_flight = {row.id for row in rows(engine) if row.state == "queued"}
    assert marked == in_flight
    assert {row.reason for row in rows(engine)} == {"unsubscribed"}
    assert ledgers.states(engine)["cancelled"] == 40 - len(marked)


# Cancel


@pytest.mark.parametrize("state", ["queued", "claimed", "deferred"])
def test_unsubscribing_cancels_rows_that_have_not_left(engine: Engine, state: str) -> None:
    ledgers.fill(engine, 1)
    (row,) = rows(engine)
    if state != "queued":
        claims = claim(engine)
        if state == "deferred":
            record(engine, claims, GREYLISTED)

    with sessions.writing(engine) as session:
        cancelled = cancellation.cancel(
            session, references=[row.reference], reason=Reason.UNSUBSCRIBED, now=NOW
        )

    (row,) = rows(engine)
    assert cancelled == 1
    assert (row.state, row.reason) == ("cancelled", "unsubscribed")


@pytest.mark.parametrize(
    ("outcome", "policy", "state"),
    [
        (ACCEPTED, "resend", "accepted"),
        (NO_SUCH_USER, "resend", "refused"),
        (GREYLISTED, "resend", "cancelled"),
        (reply.lost(Phase.DATA, "gone"), "resend", "cancelled"),
        (LOST, "resend", "unknown"),
        (LOST, "hold", "unknown"),
    ],
    ids=["accepted", "refused", "greylisted", "lost", "unknown", "held"],
)
def test_unsubscribing_while_the_body_leaves_prevents_a_retry(
    engine: Engine, outcome: Outcome, policy: Policy, state: str
) -> None:
    ledgers.fill(engine, 1)
    claims = claim(engine)
    mark(engine, claims)

    assert cancel(engine, claims[0]) == 0
    assert ledgers.states(engine) == {"in_flight": 1}
    record(engine, claims, outcome, policy=policy)

    assert ledgers.states(engine) == {state: 1}
    assert claim(engine, 2) == []


def test_unsubscribing_between_two_tries_of_a_marked_message_stops_the_second(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 1)
    claims = claim(engine)
    mark(engine, claims)
    cancel(engine, claims[0])

    assert mark(engine, claims) == set()
    assert ledgers.states(engine) == {"cancelled": 1}


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_unsubscribing_prevents_a_retry_after_a_crash(engine: Engine, policy: Policy) -> None:
    ledgers.fill(engine, 1)
    claims = claim(engine)
    mark(engine, claims)
    cancel(engine, claims[0])

    take_over(engine, 1, policy=policy)

    assert ledgers.states(engine) == {"unknown": 1}


def _goodbye(engine: Engine, claims: list[Claim]) -> None:
    cancel(engine, claims[0])


def _cancelled_edition(engine: Engine, claims: list[Claim]) -> None:
    with sessions.writing(engine) as session:
        chosen = select(Mailing.id).where(Mailing.id == claims[0].mailing_id)
        cancellation.cancel_mailings(
            session, mailings=chosen, reason=Reason.EDITION_CANCELLED, now=NOW
        )


def _stale_edition(engine: Engine, claims: list[Claim]) -> None:
    with sessions.writing(engine) as session:
        chosen = select(Mailing.id).where(Mailing.id == claims[0].mailing_id)
        cancellation.skip_mailings(session, mailings=chosen, reason=Reason.STALE, now=NOW)


def _suppressed_address(engine: Engine, claims: list[Claim]) -> None:
    with sessions.writing(engine) as session:
        session.add(
            Suppression(
                address=claims[0].address, address_hash="0" * 48, reason="complaint", created_at=NOW
            )
        )
        counts.recount(session)
    claim(engine, 3)


# Rows in flight cannot become stale, and suppressions are checked at the claim.
@pytest.mark.parametrize(
    ("call_off", "again"),
    [
        *product([_goodbye, _cancelled_edition], ["queued", "claimed", "marked", "greylisted"]),
        *product([_stale_edition], ["queued", "claimed", "greylisted"]),
        *product([_suppressed_address], ["queued", "greylisted"]),
    ],
)
def test_a_row_that_may_have_arrived_ends_as_unknown(
    engine: Engine, call_off: Callable[[Engine, list[Claim]], None], again: str
) -> None:
    """If it were cancelled or skipped, its articles could arrive again with the next edition."""
    ledgers.fill(engine, 1)
    claims = claim(engine)
    mark(engine, claims)
    take_over(engine, 1)
    assert ledgers.states(engine) == {"queued": 1}
    if again != "queued":
        claims = claim(engine, 2)
    if again in {"marked", "greylisted"}:
        mark(engine, claims, 2)
    if again == "greylisted":
        record(engine, claims, GREYLISTED, worker_id=2)
        assert ledgers.states(engine) == {"deferred": 1}
        with sessions.writing(engine) as session:
            session.execute(update(Delivery).values(due_at=NOW))

    call_off(engine, claims)
    if again == "marked":
        assert mark(engine, claims, 2) == set()

    (row,) = rows(engine)
    assert row.state == "unknown"
    assert row.reason in {"unsubscribed", "edition cancelled", "stale", "suppressed"}


def test_a_row_that_may_have_arrived_is_not_refused_without_a_reply(engine: Engine) -> None:
    """The last try of a letter after an uncertain one, without any refusal by a server."""
    ledgers.fill(engine, 1, priority=0, now=NOW - retry.LETTER_LIFE)
    claims = claim(engine)
    mark(engine, claims)
    take_over(engine, 1)
    claims = claim(engine, 2)
    mark(engine, claims, 2)

    record(engine, claims, GREYLISTED, worker_id=2)

    assert ledgers.states(engine) == {"unknown": 1}


def test_a_refusal_of_the_second_copy_refuses_the_first(engine: Engine) -> None:
    """The first copy had the same bytes for the same mailbox, so it was refused as well."""
    ledgers.fill(engine, 1)
    claims = claim(engine)
    mark(engine, claims)
    take_over(engine, 1)
    claims = claim(engine, 2)
    mark(engine, claims, 2)

    record(engine, claims, NO_SUCH_USER, worker_id=2)

    assert ledgers.states(engine) == {"refused": 1}


def test_cancelling_an_edition_leaves_rows_in_flight(engine: Engine) -> None:
    mailing_id = ledgers.fill(engine, 10)
    claims = claim(engine, limit=4)
    mark(engine, claims[:2])

    with sessions.writing(engine) as session:
        mailings = select(Mailing.id).where(Mailing.id == mailing_id)
        cancelled = cancellation.cancel_mailings(
            session, mailings=mailings, reason=Reason.EDITION_CANCELLED, now=NOW
        )
    assert cancelled == 8
    record(engine, claims[:1], ACCEPTED)
    record(engine, claims[1:2], GREYLISTED)

    assert ledgers.states(engine) == {"cancelled": 9, "accepted": 1}


# Record


def test_an_accepted_message_keeps_the_reply(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    claims = claim(engine)
    mark(engine, claims)

    record(engine, claims, ACCEPTED)

    for row in rows(engine):
        assert (row.state, row.code, row.enhanced) == ("accepted", 250, "2.0.0")
        assert row.reply == "queued as 4F2A"
        assert row.attempts == 1
    assert attempts(engine) == []


def test_every_try_that_was_not_accepted_is_kept(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    first, second = claim(engine)

    record(engine, [first], GREYLISTED)
    record(engine, [second], NO_SUCH_USER)

    deferred, refused = rows(engine)
    assert (deferred.state, deferred.attempts, refused.state) == ("deferred", 1, "refused")
    assert NOW + timedelta(minutes=5) <= deferred.due_at <= NOW + timedelta(minutes=6)
    kept = [(a.number, a.outcome, a.phase, a.code, a.enhanced) for a in attempts(engine)]
    assert kept == [(1, "deferred", "rcpt", 451, "4.7.1"), (1, "refused", "rcpt", 550, "5.1.1")]


def test_a_failure_of_the_connection_is_not_charged(engine: Engine) -> None:
    ledgers.fill(engine, 1)

    record(engine, claim(engine), reply.lost(Phase.MAIL, "421 too many"))

    (row,) = rows(engine)
    assert (row.state, row.attempts) == ("queued", 0)


def test_a_record_repeated_after_a_commit_whose_answer_was_lost_changes_nothing(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 3)
    one, two, three = claim(engine)
    mark(engine, [one, two, three])
    for _ in range(2):
        record(engine, [one], ACCEPTED)
        record(engine, [two], GREYLISTED)
        record(engine, [three], LOST, policy="hold")

    assert ledgers.states(engine) == {"accepted": 1, "deferred": 1, "unknown": 1}
    assert [row.attempts for row in rows(engine)] == [1, 1, 1]
    assert len(attempts(engine)) == 2


def test_a_worker_that_lost_its_rows_changes_nothing(engine: Engine) -> None:
    ledgers.fill(engine, 4)
    claims = claim(engine, 1, limit=3)
    mark(engine, claims, 1)
    lost = claimants.hold_of(engine, 1)
    take_over(engine, 1)
    before = rows(engine)

    with pytest.raises(LeaseLost):
        claimants.record(engine, verdicts(claims[:1], ACCEPTED), lost, now=NOW)
    with pytest.raises(LeaseLost):
        claimants.record(engine, verdicts(claims[1:2], GREYLISTED), lost, now=NOW)
    with pytest.raises(LeaseLost):
        claimants.mark(engine, [claims[2].id], lost, now=NOW)
    with pytest.raises(LeaseLost):
        claimants.claim(engine, lost, limit=1, now=NOW)
    with pytest.raises(LeaseLost):
        claimants.put_back(engine, {claims[2].id: "example.com"}, lost, now=NOW)

    assert rows(engine) == before
    assert {a.outcome for a in attempts(engine)} == {"unknown"}


# Take over


def test_claimed_rows_of_a_crashed_worker_are_queued_and_those_in_flight_unknown(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 10)
    claims = claim(engine, 1, limit=6)
    mark(engine, claims[:2], 1)
    claim(engine, 2, limit=1)

    take_over(engine, 1)

    assert ledgers.states(engine) == {"queued": 9, "claimed": 1}
    assert [(a.number, a.outcome, a.phase) for a in attempts(engine)] == [
        (1, "unknown", "body")
    ] * 2
    # The uncertain ones are due at once, with the same bytes.
    assert len(claim(engine, 3)) == 9


def test_the_policy_hold_keeps_the_uncertain_for_the_operator(engine: Engine) -> None:
    ledgers.fill(engine, 3)
    claims = claim(engine, limit=2)
    mark(engine, claims[:1])

    take_over(engine, 1, policy="hold")

    assert ledgers.states(engine) == {"queued": 2, "unknown": 1}
    with sessions.writing(engine) as session:
        assert books.retry_now(session, ids=[claims[0].id], now=NOW) == 1
    assert ledgers.states(engine) == {"queued": 3}


def test_what_a_commit_claimed_whose_answer_was_lost_is_given_back_when_it_is_repeated(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 5)
    hold = claimants.hold_of(engine, 1)
    kept = claim(engine, limit=2)
    with sessions.writing(engine) as session:
        hold.begin(session)
        lost = queue.claim(session, hold, limit=2, now=NOW)
        hold.store(session)
    assert ledgers.states(engine) == {"claimed": 4, "queued": 1}

    with claimants.working(engine, 1, is_repeated=True):
        pass

    assert ledgers.states(engine) == {"claimed": 2, "queued": 3}
    assert {each.id for each in claim(engine, 2, limit=9)} == {row.id for row in rows(engine)} - {
        each.id for each in kept
    }
    assert len(lost) == 2


# Balance


def test_the_states_sum_to_the_audience_whatever_happens(engine: Engine) -> None:
    mailing_id = ledgers.fill(engine, 60)
    rng = random.Random(11)
    mailings = select(Mailing.id).where(Mailing.id == mailing_id)

    for step in range(40):
        worker_id = step % 3 + 1
        claims = claim(engine, worker_id, limit=rng.randint(1, 5))
        marked = [each for each in claims if rng.random() < 0.7]
        mark(engine, marked, worker_id)
        for each in claims:
            if rng.random() < 0.2:
                cancel(engine, each)
            elif rng.random() < 0.7:
                outcome = rng.choice([ACCEPTED, GREYLISTED, NO_SUCH_USER, LOST])
                record(engine, [each], outcome, worker_id=worker_id)
        if step % 7 == 0:
            take_over(engine, worker_id)
        with sessions.reading(engine) as session:
            assert sum(books.count_states(session, mailings).values()) == 60


# The indexes


@pytest.mark.parametrize(
    ("index", "action"),
    [
        ("ix_delivery_claimable", lambda engine: claim(engine, limit=16)),
        ("delivery", lambda engine: mark(engine, claim(engine, limit=16))),
        ("delivery", lambda engine: take_over(engine, 1)),
    ],
)
def test_a_long_history_costs_nothing_the_partial_index_is_used(
    engine: Engine, index: str, action: Callable[[Engine], object]
) -> None:
    ledgers.fill(engine, 3000)
    with sessions.writing(engine) as session:
        session.execute(text("UPDATE delivery SET state = 'accepted' WHERE id > 50"))
        counts.recount(session)
    if not engines.is_sqlite(engine):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE delivery"))

    with _explaining(engine) as plan:
        action(engine)

    found = "\n".join(plan)
    assert index in found
    assert not re.search(r"SCAN delivery(?! USING)|Seq Scan on delivery|TEMP B-TREE", found)


def test_a_claim_costs_the_same_whatever_waits_beside_it(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    def cost(beside: int) -> int:
        path = tmp_path / f"{beside}.db"
        shutil.copyfile(migrated_sqlite, path)
        opened = engines.open(f"sqlite:///{path}")
        paused = ledgers.fill(opened, beside)
        wanted = ledgers.fill(opened, beside, public_id="mailing000000002")
        excluded = select(Mailing.id).where(Mailing.id == paused)
        claims: list[Claim] = []
        steps = _steps(opened, lambda: claims.extend(claim(opened, limit=10, excluded=excluded)))
        assert [each.mailing_id for each in claims] == [wanted] * 10
        opened.dispose()
        return steps

    assert cost(20_000) <= cost(20) * 1.2


def _steps(engine: Engine, action: Callable[[], object]) -> int:
    """Return the number of SQLite VM instructions of an action, in tens."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    def watch(dbapi_connection: Any, *_rest: object) -> None:
        dbapi_connection.set_progress_handler(step, 10)

    event.listen(engine, "checkout", watch)
    action()
    event.remove(engine, "checkout", watch)
    return count


@contextmanager
def _explaining(engine: Engine) -> Iterator[list[str]]:
    """Collect the query plans of all statements on deliveries that are executed meanwhile."""
    explain = "EXPLAIN QUERY PLAN " if engines.is_sqlite(engine) else "EXPLAIN "
    plan: list[str] = []

    def note(
        connection: Connection, _cursor: object, statement: str, parameters: Any, *_rest: object
    ) -> None:
        # On SQLite rows are counted, sorted, by a statement before the one that changes them.
        is_counting = engines.is_sqlite(engine) and "INSERT INTO tally" in statement
        if not statement.startswith(explain) and "delivery" in statement and not is_counting:
            plan.extend(map(str, connection.exec_driver_sql(explain + statement, parameters)))

    def execute(statement: Statement, session: Session, parameters: Mapping[str, object]) -> Any:
        written = statement._of_engine(engine.dialect)
        explained = Statement(sqlite="", postgresql="")
        explained._written = {engine.dialect.name: written._replace(sql=explain + written.sql)}
        plan.extend(map(str, original(explained, session, parameters)))
        return original(statement, session, parameters)

    original = Statement._execute
    event.listen(engine, "before_cursor_execute", note)
    with mock.patch.object(Statement, "_execute", execute):
        yield plan
    event.remove(engine, "before_cursor_execute", note)
