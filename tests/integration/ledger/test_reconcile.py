"""Unknown deliveries are settled by a relay's log, on both databases."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from datetime import timedelta

import claimants
import ledgers
import pytest
from sqlalchemy import Engine, select

from newsletter.db import session as sessions
from newsletter.ledger import books, cancellation, reconcile, retry
from newsletter.ledger.queue import Verdict
from newsletter.ledger.reasons import Reason
from newsletter.ledger.reconcile import ReconcileTally
from newsletter.models import Attempt, Delivery, State
from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase
from newsletter.smtp.reply import Reply

NOW = ledgers.NOW + timedelta(hours=1)
LATER = NOW + timedelta(hours=1)
ACCEPTED = reply.classify(Phase.BODY, Reply(250, "2.0.0 Ok: queued as 1C0B1A0042"))
LOST = reply.lost(Phase.BODY, "the server left")


def fill(engine: Engine, *outcomes: Outcome | None, mailing: str = "mailing000000001") -> None:
    """Enqueue a delivery for each of `outcomes` and record it; None stays queued."""
    ledgers.fill(engine, len(outcomes), public_id=mailing)
    # A worker holds hundreds at a time; with thousands each of its statements takes long.
    for start in range(0, len(outcomes), 100):
        _record(engine, outcomes[start : start + 100])
    claimants.take_over(engine, 1, now=NOW)


def _record(engine: Engine, outcomes: Sequence[Outcome | None]) -> None:
    claims = sorted(claimants.claim(engine, limit=len(outcomes), now=NOW))
    ended = [each for each in zip(claims, outcomes, strict=True) if each[1] is not None]
    claimants.mark(engine, [one.id for one, _ in ended], now=NOW)
    verdicts = [
        Verdict(
            one.id,
            one.address,
            outcome,
            retry.decide(
                outcome,
                attempts=0,
                rules=retry.RetryRules("hold", ledgers.WAITS),
                give_up_at=None,
                now=NOW,
                rng=random.Random(1),
            ),
        )
        for one, outcome in ended
    ]
    claimants.record(engine, verdicts, now=NOW)


def message_id(number: int, mailing: str = "mailing000000001") -> str:
    return f"<{mailing}.reader{number + 1_000_000_000}@miasfeed.example>"


def run(engine: Engine, lines: Sequence[str], *, is_rehearsal: bool = False) -> ReconcileTally:
    stream = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    return reconcile.run(engine, stream, now=LATER, actor="test", is_rehearsal=is_rehearsal)


def rows(engine: Engine) -> list[Delivery]:
    with sessions.reading(engine) as session:
        return list(session.execute(select(Delivery).order_by(Delivery.id)).scalars())


def everything(engine: Engine) -> list[dict[str, object]]:
    with sessions.reading(engine) as session:
        return [
            one.model_dump()
            for table in (Delivery, Attempt)
            for one in session.execute(select(table).order_by(table.id)).scalars()  # type: ignore[arg-type]
        ]


def test_deliveries_in_the_log_are_accepted_and_nothing_else_changes(engine: Engine) -> None:
    refused = reply.classify(Phase.RCPT, Reply(550, "5.1.1 no such user"))
    deferred = reply.classify(Phase.RCPT, Reply(451, "4.7.1 later"))
    fill(engine, LOST, LOST, LOST, ACCEPTED, refused, deferred, None)
    before = everything(engine)

    tally = run(engine, [message_id(number) for number in (1, 3, 4, 5, 6, 7)])

    assert tally == ReconcileTally(
        unknown_before=3, accepted=2, already_settled=4, not_ours=0, lines=6
    )
    assert tally.still_unknown == 1
    settled = {
        "state": "accepted",
        "state_at": LATER,
        "code": 250,
        "reply": "reconciled with the mail server's log",
    }
    before[0] |= settled
    before[2] |= settled
    assert everything(engine) == before


def test_run_again_it_changes_nothing(engine: Engine) -> None:
    fill(engine, LOST, LOST)
    named = [message_id(1), message_id(1), "<1@elsewhere.example>"]
    first = run(engine, named)
    before = everything(engine)

    again = run(engine, named)

    assert first == ReconcileTally(
        unknown_before=2, accepted=1, already_settled=1, not_ours=1, lines=3
    )
    assert again == ReconcileTally(
        unknown_before=1, accepted=0, already_settled=2, not_ours=1, lines=3
    )
    assert everything(engine) == before


def test_a_rehearsal_says_the_same_and_changes_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "BATCH", 2)
    fill(engine, LOST, ACCEPTED, LOST)
    before = everything(engine)
    named = [message_id(number) for number in (1, 1, 2, 1, 8)]

    rehearsed = run(engine, named, is_rehearsal=True)

    assert everything(engine) == before
    assert rehearsed == run(engine, named)
    assert rehearsed == ReconcileTally(
        unknown_before=2, accepted=1, already_settled=3, not_ours=1, lines=5
    )


def test_a_log_settles_with_the_queue_id_and_not_without_its_acceptance(engine: Engine) -> None:
    fill(engine, LOST, LOST)
    begin = "Nov 22 06:00:01 relay postfix"

    tally = run(
        engine,
        [
            f"{begin}/cleanup[1]: 4F2A1: message-id={message_id(1)}",
            f"{begin}/cleanup[1]: 4F2A2: message-id={message_id(2)}",
            f"{begin}/qmgr[2]: 4F2A2: from=<bounces@a.example>, size=9, nrcpt=1 (queue active)",
            f"{begin}/smtpd[3]: lost connection after DATA (9 bytes) from a.example[192.0.2.1]",
        ],
    )

    assert tally == ReconcileTally(unknown_before=2, accepted=1, lines=4)
    first, second = rows(engine)
    assert first.state == "unknown"
    assert second.reply == "reconciled with the mail server's log, queued as 4F2A2"


def test_a_queue_id_alone_finds_the_delivery_whose_reply_has_named_it(engine: Engine) -> None:
    odd = Outcome(Kind.UNKNOWN, Phase.BODY, code=354, text="Ok: queued as 4F2A")
    twice = Outcome(Kind.UNKNOWN, Phase.BODY, code=354, text="Ok: queued as 77777")
    fill(engine, LOST, odd, ACCEPTED, twice, twice)
    named = ["4F2A", "4F2A", "1C0B1A0042", "77777", "AAAAAA"]

    tally = run(engine, named)

    # Deliveries that were never unknown are not looked up, and ambiguous queue ids are ignored.
    assert tally == ReconcileTally(
        unknown_before=4, accepted=1, already_settled=1, not_ours=3, lines=5
    )
    assert [row.state for row in rows(engine)] == [
        "unknown", "accepted", "accepted", "unknown", "unknown",
    ]  # fmt: skip
    assert rows(engine)[1].reply == "reconciled with the mail server's log, queued as 4F2A"
    again = run(engine, named)
    assert (again.accepted, again.already_settled) == (0, 2)


def test_a_queue_id_of_an_earlier_try_counts_too(engine: Engine) -> None:
    fill(engine, Outcome(Kind.UNKNOWN, Phase.BODY, code=354, text="Ok: queued as 4F2A"))
    with sessions.writing(engine) as session:
        assert books.retry_now(session, ids=[1], now=NOW) == 1
    claimants.claim(engine, limit=1, now=NOW)
    claimants.mark(engine, [1], now=NOW)
    held = retry.Decision(State.UNKNOWN, NOW, is_charged=True)
    claimants.record(engine, [Verdict(1, "", LOST, held)], now=NOW)
    assert rows(engine)[0].reply == "the server left"

    assert run(engine, ["4F2A"]).accepted == 1


def test_a_delivery_to_an_unsubscribed_reader_is_settled_too(engine: Engine) -> None:
    fill(engine, LOST)
    with sessions.writing(engine) as session:
        cancellation.cancel(
            session, references=["reader1000000001"], reason=Reason.UNSUBSCRIBED, now=NOW
        )

    assert run(engine, [message_id(1)]).accepted == 1

    assert (rows(engine)[0].state, rows(engine)[0].reason) == ("accepted", None)


def test_thousands_are_settled_in_a_few_transactions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "BATCH", 1_000)
    fill(engine, *[LOST] * 3_000)
    transactions = 0

    def counted(engine: Engine) -> object:
        nonlocal transactions
        transactions += 1
        return sessions.writing(engine)

    monkeypatch.setattr(reconcile, "sessions", _Counting(counted))
    others = [message_id(number, "mailing000000002") for number in range(2_000)]
    tally = run(engine, [*map(message_id, range(1, 2_501)), *others])

    assert tally == ReconcileTally(
        unknown_before=3_000, accepted=2_500, not_ours=2_000, lines=4_500
    )
    assert ledgers.states(engine) == {"accepted": 2_500, "unknown": 500}
    assert transactions == 4  # one more for the audit row


class _Counting:
    """Wraps the transactions module, and counts calls of one function."""

    reading = staticmethod(sessions.reading)

    def __init__(self, writing: Callable[[Engine], object]) -> None:
        self.writing = writing


@pytest.mark.parametrize("octets", [b"", b"\n\n", b"\x00" * 100_000, b"x" * 8_192 + b"4F2A\n"])
def test_input_without_lines_is_read_in_bounded_memory(
    sqlite_engine: Engine, octets: bytes
) -> None:
    fill(sqlite_engine, Outcome(Kind.UNKNOWN, Phase.BODY, code=354, text="Ok: queued as 4F2A"))

    tally = reconcile.run(sqlite_engine, io.BytesIO(octets), now=LATER, actor="test")

    assert tally.entries == 0


@pytest.mark.parametrize("state", [State.UNKNOWN, State.DEFERRED])
def test_all_of_a_state_are_due_at_once_but_of_those_who_may_not_be_mailed(
    engine: Engine, state: State
) -> None:
    deferred = reply.classify(Phase.RCPT, Reply(451, "4.7.1 later"))
    fill(engine, LOST, LOST, LOST, deferred, deferred, ACCEPTED)
    fill(engine, LOST, deferred, mailing="mailing000000002")
    other = select(Delivery.mailing_id).where(Delivery.id > 6)
    with sessions.writing(engine) as session:
        cancellation.cancel(session, references=["reader1000000003"], reason=Reason.PAUSED, now=NOW)

    with sessions.writing(engine) as session:
        before = books.count_in(session, state)
        of_other = books.count_in(session, state, other)
        alone = books.retry_now(session, state=state, mailings=other, now=NOW)
        excluding = books.retry_now(session, state=state, excluded=other, now=NOW)

    expected = {State.UNKNOWN: (4, 1, 1, 2), State.DEFERRED: (3, 1, 1, 2)}
    assert (before, of_other, alone, excluding) == expected[state]
    with sessions.writing(engine) as session:
        assert books.retry_now(session, now=NOW) == 0
