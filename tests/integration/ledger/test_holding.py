"""What workers hold, beside whoever ends their rows, at each statement of a transaction.

On PostgreSQL the other transaction comes before each statement of the first one in turn; on SQLite,
which has one writer, before the first statement and after the last.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import claimants
import counts
import ledgers
import pytest
from interleave import stopped_before
from sqlalchemy import Engine, select
from sqlmodel import Session, col

from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.ledger import books, cancellation, erasure, holding, queue, recovery
from newsletter.ledger.holding import LeaseLost
from newsletter.ledger.queue import Claim, Verdict
from newsletter.ledger.reasons import Reason
from newsletter.ledger.retry import Decision, Policy
from newsletter.models import Attempt, Cause, Delivery, Holding, Mailing, State, Suppression, Worker
from newsletter.smtp import reply
from newsletter.smtp.outcome import Outcome, Phase
from newsletter.smtp.reply import Reply

NOW = ledgers.NOW
ACCEPTED = reply.classify(Phase.BODY, Reply(250, "2.0.0 queued for reader@example.com"))
GREYLISTED = reply.classify(Phase.RCPT, Reply(451, "4.7.1 later"))

#: What ends a row: the name of its reason, and whether a row in flight keeps it.
Ending = Callable[[Session, Claim], object]


def goodbye(session: Session, claim: Claim) -> None:
    cancellation.cancel(session, references=[claim.reference], reason=Reason.UNSUBSCRIBED, now=NOW)


def cancelled(session: Session, claim: Claim) -> None:
    cancellation.cancel_mailings(
        session, mailings=_mailing(claim), reason=Reason.EDITION_CANCELLED, now=NOW
    )


def stale(session: Session, claim: Claim) -> None:
    cancellation.skip_mailings(session, mailings=_mailing(claim), reason=Reason.STALE, now=NOW)


def superseded(session: Session, claim: Claim) -> None:
    theirs = select(col(Delivery.reference)).where(col(Delivery.id) == claim.id)
    cancellation.supersede(session, references=theirs, mailings=_mailing(claim), now=NOW)


def erased(session: Session, claim: Claim) -> None:
    erasure.erase(session, col(Delivery.id) == claim.id, now=NOW)


#: Each ending, the state of a row that it ends, and the reason of one that it leaves in flight.
ENDINGS = [
    (goodbye, "cancelled", "unsubscribed"),
    (cancelled, "cancelled", "edition cancelled"),
    (stale, "skipped", None),
    (superseded, "skipped", None),
    (erased, "cancelled", "forgotten"),
]


def _mailing(claim: Claim):  # noqa: ANN202
    return select(col(Mailing.id)).where(col(Mailing.id) == claim.mailing_id)


def scenes(engine: Engine) -> Iterator[tuple[int, Claim]]:
    """Yield the number of a step, and a row that a worker of that number has claimed."""
    for step in itertools.count():
        mailing_id = ledgers.fill(engine, 1, public_id=f"mailing{step:09}")
        this = select(col(Mailing.id)).where(col(Mailing.id) == mailing_id)
        (claim,) = claimants.claim(engine, step + 1, limit=1, now=NOW, mailings=this)
        yield step, claim


def ending(engine: Engine, end: Ending, claim: Claim) -> Callable[[], None]:
    def run() -> None:
        with sessions.writing(engine) as session:
            end(session, claim)

    return run


def row(engine: Engine, claim: Claim) -> Delivery:
    with sessions.reading(engine) as session:
        found = session.get(Delivery, claim.id)
        assert found is not None
        return found


def in_flight(engine: Engine) -> set[int]:
    with sessions.reading(engine) as session:
        return holding.in_flight(session)


def verdict(claim: Claim, outcome: Outcome) -> Verdict:
    state = State.ACCEPTED if outcome is ACCEPTED else State.DEFERRED
    return Verdict(claim.id, claim.address, outcome, Decision(state, NOW, is_charged=True))


# A mark, and whoever ends the row


@pytest.mark.parametrize("is_first", [True, False], ids=["mark first", "ending first"])
@pytest.mark.parametrize(("end", "state", "reason"), ENDINGS)
def test_a_row_that_is_ended_beside_its_mark_leaves_or_ends_and_never_both(
    engine: Engine, end: Ending, state: str, reason: str | None, is_first: bool
) -> None:
    results = set()
    for step, claim in scenes(engine):
        marked: set[int] = set()

        def mark(claim: Claim = claim, marked: set[int] = marked, worker: int = step + 1) -> None:
            marked |= claimants.mark(engine, [claim.id], worker, now=NOW)

        leave = ending(engine, end, claim)
        one, other = (mark, leave) if is_first else (leave, mark)
        is_reached, _ = stopped_before(engine, step, one, other)
        found = row(engine, claim)
        results.add(bool(marked))
        if marked:
            assert (found.state, found.reason) == ("queued", reason)
            assert claim.id in in_flight(engine)
        else:
            assert found.state == state
            assert claim.id not in in_flight(engine)
        if not is_reached:
            break
    assert results == {True, False}


# An outcome, and whoever ends the row


@pytest.mark.parametrize("outcome", [ACCEPTED, GREYLISTED], ids=["accepted", "greylisted"])
@pytest.mark.parametrize(("end", "state", "reason"), ENDINGS)
def test_what_is_ended_beside_its_outcome_keeps_the_outcome_and_is_not_tried_again(
    engine: Engine, end: Ending, state: str, reason: str | None, outcome: Outcome
) -> None:
    for step, claim in scenes(engine):
        claimants.mark(engine, [claim.id], step + 1, now=NOW)
        is_reached, _ = stopped_before(
            engine,
            step,
            lambda claim=claim, worker=step + 1: claimants.record(  # type: ignore[misc]
                engine, [verdict(claim, outcome)], worker, now=NOW
            ),
            ending(engine, end, claim),
        )
        found = row(engine, claim)
        if outcome is ACCEPTED:
            assert found.state == "accepted"
        elif reason is None:
            # A row in flight goes on with its own mailing; one that came back before ends.
            assert found.state in {"deferred", state}
        else:
            assert found.state == "cancelled"
        if end is erased:
            assert (found.address, found.reply) == ("", None)
        assert claim.id not in in_flight(engine)
        if not is_reached:
            break


# Two workers


def test_two_workers_that_claim_at_once_never_hold_the_same_row(engine: Engine) -> None:
    for step in itertools.count():
        ledgers.fill(engine, 4, public_id=f"mailing{step:09}")
        one, other = 2 * step + 1, 2 * step + 2
        claimants.hold_of(engine, one)
        claimants.hold_of(engine, other)
        is_reached, claims = stopped_before(
            engine,
            step,
            lambda one=one: claimants.claim(engine, one, limit=3, now=NOW),  # type: ignore[misc]
            lambda other=other: claimants.claim(engine, other, limit=3, now=NOW),  # type: ignore[misc]
        )
        assert isinstance(claims, list)
        held = [claimants.hold_of(engine, each).claimed for each in (one, other)]
        assert not held[0] & held[1]
        assert len(held[0] | held[1]) == 4
        claimants.record(engine, [verdict(each, ACCEPTED) for each in claims], one, now=NOW)
        left = claimants.claim(engine, other, limit=9, now=NOW)
        assert left == []
        claimants.take_over(engine, one, other, now=NOW)
        rest = claimants.claim(engine, 10_000 + step, limit=9, now=NOW)
        claimants.record(engine, [verdict(each, ACCEPTED) for each in rest], 10_000 + step, now=NOW)
        if not is_reached:
            break


def test_a_row_whose_outcome_another_worker_commits_meanwhile_is_not_claimed(
    engine: Engine,
) -> None:
    for step, claim in scenes(engine):
        another = 10_000 + step
        claimants.hold_of(engine, another)
        claimants.mark(engine, [claim.id], step + 1, now=NOW)
        is_reached, found = stopped_before(
            engine,
            step,
            lambda another=another: claimants.claim(engine, another, limit=9, now=NOW),  # type: ignore[misc]
            lambda claim=claim, worker=step + 1: claimants.record(  # type: ignore[misc]
                engine, [verdict(claim, ACCEPTED)], worker, now=NOW
            ),
        )
        assert found == []
        if not is_reached:
            break


def test_a_suppressed_row_that_another_transaction_changes_holds_up_no_claim(
    engine: Engine,
) -> None:
    if is_sqlite(engine):
        pytest.skip("SQLite has one writer")
    ledgers.fill(engine, 3)
    with sessions.writing(engine) as session:
        suppression = {"reason": "bounced", "cause": Cause.DEAD, "created_at": NOW}
        session.add(Suppression(address="reader1@example.com", address_hash="h", **suppression))
        counts.recount(session)
    with sessions.writing(engine) as session:
        chosen = select(Delivery.id).where(col(Delivery.address) == "reader1@example.com")
        session.execute(chosen.with_for_update()).all()

        claims = [claimants.claim(engine, limit=1, now=NOW) for _ in range(2)]

    assert sorted(len(found) for found in claims) == [1, 1]
    assert ledgers.states(engine) == {"queued": 1, "claimed": 2}


def test_rows_that_a_worker_gives_back_wait_for_their_domain_no_longer(engine: Engine) -> None:
    ledgers.fill(engine, 2)
    one, two = claimants.claim(engine, limit=2, now=NOW)
    claimants.put_back(engine, {one.id: "example.com", two.id: "example.com"}, now=NOW)
    blocked = queue.BlockedDomain(one.mailing_id, "example.com")
    for worker in (1, 2):
        with claimants.working(engine, worker) as (session, hold):
            assert len(queue.claim_of_domain(session, hold, blocked, limit=1, now=NOW)) == 1

    claimants.put_back(engine, dict.fromkeys(claimants.hold_of(engine, 1).claimed), now=NOW)
    claimants.take_over(engine, 2, now=NOW)

    with sessions.reading(engine) as session:
        assert set(session.execute(select(Delivery.blocked_domain)).scalars()) == {None}
        assert queue.next_due(session) == NOW


# A worker that is taken for dead


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_a_worker_that_wakes_beside_its_take_over_marks_nothing_or_is_uncertain(
    engine: Engine, policy: Policy
) -> None:
    results = set()
    for step, claim in scenes(engine):
        hold = claimants.hold_of(engine, step + 1)

        def take_over(worker_id: int = hold.worker_id) -> None:
            with sessions.writing(engine) as session:
                found = select(Worker.id).where(col(Worker.id) == worker_id).with_for_update()
                session.execute(found).all()
                recovery.take_over(session, dead=[worker_id], policy=policy, now=NOW)

        is_reached, marked = stopped_before(
            engine,
            step,
            lambda claim=claim, hold=hold: claimants.mark(engine, [claim.id], hold, now=NOW),  # type: ignore[misc]
            take_over,
        )
        with sessions.reading(engine) as session:
            tried = select(Attempt.outcome).where(col(Attempt.delivery_id) == claim.id)
            uncertain = session.execute(tried).scalars().all()
        results.add(isinstance(marked, LeaseLost))
        if isinstance(marked, LeaseLost):
            assert uncertain == []
            assert row(engine, claim).state == "queued"
        else:
            assert uncertain == ["unknown"]
            assert row(engine, claim).state == ("unknown" if policy == "hold" else "queued")
        with pytest.raises(LeaseLost):
            claimants.record(engine, [verdict(claim, ACCEPTED)], hold, now=NOW)
        if not is_reached:
            break
    assert results == {True, False}


@pytest.mark.parametrize("is_first", [True, False], ids=["goodbye first", "take-over first"])
def test_a_goodbye_beside_a_take_over_ends_what_may_have_arrived_as_unknown(
    engine: Engine, is_first: bool
) -> None:
    for step, claim in scenes(engine):
        claimants.mark(engine, [claim.id], step + 1, now=NOW)
        leave = ending(engine, goodbye, claim)
        take_over = partial(claimants.take_over, engine, step + 1, now=NOW)
        one, other = (leave, take_over) if is_first else (take_over, leave)
        is_reached, _ = stopped_before(engine, step, one, other)
        found = row(engine, claim)
        assert (found.state, found.reason) == ("unknown", "unsubscribed")
        if not is_reached:
            break


# The arrays


def stored(engine: Engine, worker_id: int) -> list[int]:
    with sessions.reading(engine) as session:
        ids: list[int] = session.execute(
            select(Holding.ids).where(col(Holding.worker_id) == worker_id)
        ).scalar_one()
        return ids


def test_an_accepted_message_costs_no_write_of_what_is_held_until_the_next_claim(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 3)
    claims = claimants.claim(engine, limit=2, now=NOW)
    claimants.mark(engine, [each.id for each in claims], now=NOW)
    claimants.record(engine, [verdict(each, ACCEPTED) for each in claims], now=NOW)
    assert stored(engine, 1) == [each.id for each in claims]

    (last,) = claimants.claim(engine, limit=2, now=NOW)

    assert stored(engine, 1) == [last.id]


def test_a_worker_that_finds_nothing_to_claim_keeps_no_ids_of_rows_that_have_ended(
    engine: Engine,
) -> None:
    """SQLite gives the ids of rows that were pruned to new rows, which would count as held."""
    ledgers.fill(engine, 1)
    claims = claimants.claim(engine, limit=2, now=NOW)
    claimants.mark(engine, [claims[0].id], now=NOW)
    claimants.record(engine, [verdict(claims[0], ACCEPTED)], now=NOW)

    assert claimants.claim(engine, limit=2, now=NOW) == []

    assert stored(engine, 1) == []


def test_a_deferred_row_is_held_no_longer(engine: Engine) -> None:
    ledgers.fill(engine, 1)
    (claim,) = claimants.claim(engine, limit=1, now=NOW)
    claimants.record(engine, [verdict(claim, GREYLISTED)], now=NOW)

    assert stored(engine, 1) == []
    assert len(claimants.claim(engine, 2, limit=1, now=NOW)) == 1


def test_a_stale_edition_takes_no_reason_from_a_reader_who_has_left(engine: Engine) -> None:
    ledgers.fill(engine, 1)
    (claim,) = claimants.claim(engine, limit=1, now=NOW)
    claimants.mark(engine, [claim.id], now=NOW)
    ending(engine, goodbye, claim)()
    ending(engine, stale, claim)()

    claimants.record(engine, [verdict(claim, GREYLISTED)], now=NOW)

    assert (row(engine, claim).state, row(engine, claim).reason) == ("cancelled", "unsubscribed")


def test_an_erasure_beside_an_outcome_leaves_no_reply_behind(engine: Engine) -> None:
    for step, claim in scenes(engine):
        claimants.mark(engine, [claim.id], step + 1, now=NOW)
        is_reached, _ = stopped_before(
            engine,
            step,
            ending(engine, erased, claim),
            partial(claimants.record, engine, [verdict(claim, GREYLISTED)], step + 1, now=NOW),
        )
        with sessions.reading(engine) as session:
            assert set(session.execute(select(Attempt.reply)).scalars()) == {None}
        assert row(engine, claim).reply is None
        if not is_reached:
            break


def test_an_erased_reader_whose_mail_was_in_flight_leaves_no_address_behind(
    engine: Engine,
) -> None:
    ledgers.fill(engine, 2)
    one, two = claimants.claim(engine, limit=2, now=NOW)
    claimants.mark(engine, [one.id, two.id], now=NOW)
    for each in (one, two):
        ending(engine, erased, each)()

    claimants.record(engine, [verdict(one, ACCEPTED), verdict(two, GREYLISTED)], now=NOW)

    assert [row(engine, each).state for each in (one, two)] == ["accepted", "cancelled"]
    assert {row(engine, each).reply for each in (one, two)} == {None}
    with sessions.reading(engine) as session:
        assert session.execute(select(Attempt.reply)).scalars().all() == [None]


def test_what_is_let_go_of_after_a_restore_is_not_uncertain_once_more(engine: Engine) -> None:
    """The backup has a worker that had a message in flight, and that will never come back."""
    ledgers.fill(engine, 1)
    (claim,) = claimants.claim(engine, limit=1, now=NOW)
    claimants.mark(engine, [claim.id], now=NOW)

    with sessions.writing(engine) as session:
        assert cancellation.mark_open_unknown(session, now=NOW) == 1
        assert books.retry_now(session, ids=[claim.id], now=NOW) == 1
    claimants.take_over(engine, 1, policy="hold", now=NOW)

    assert ledgers.states(engine) == {"queued": 1}
    with sessions.reading(engine) as session:
        assert session.execute(select(Attempt.id)).all() == []
