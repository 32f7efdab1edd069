"""Dead addresses are suppressed in the transaction of the verdict that shows it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import claimants
import ledgers
import pytest
from sqlalchemy import Engine
from sqlmodel import select

from newsletter.db import session as sessions
from newsletter.ledger import dead_addresses, retry
from newsletter.ledger.queue import Verdict
from newsletter.models import Suppression
from newsletter.smtp import reply
from newsletter.smtp.outcome import Outcome, Phase
from newsletter.smtp.reply import Reply
from newsletter.tokens import Keyring

ADDRESS = "reader1@example.com"
RULES = dead_addresses.SuppressionRules(Keyring([ledgers.SECRET]), full_mailboxes=3)
FULL = Reply(552, "5.2.2 over quota")
DISABLED = Reply(550, "5.2.1 disabled")
OK = Reply(250, "2.0.0 Ok")


def send(engine: Engine, number: int, answer: Reply, *, now: datetime) -> None:
    """Enqueue one more mail to the reader, and record the server's reply."""
    ledgers.fill(engine, 1, public_id=f"mailing{number:09}", now=now)
    (claim,) = claimants.claim(engine, limit=10, now=now)
    claimants.mark(engine, [claim.id], now=now)
    verdict = Verdict(claim.id, claim.address, *_judged(answer, now))
    with sessions.writing(engine) as session:
        dead_addresses.suppress_dead(session, [verdict], rules=RULES, now=now)
    claimants.record(engine, [verdict], now=now)


def _judged(answer: Reply, now: datetime) -> tuple[Outcome, retry.Decision]:
    outcome = reply.classify(Phase.BODY, answer)
    rules = retry.RetryRules("resend", ledgers.WAITS)
    rng = random.Random(1)
    return outcome, retry.decide(
        outcome, attempts=0, rules=rules, give_up_at=None, now=now, rng=rng
    )


def reasons(engine: Engine) -> dict[str | None, str]:
    with sessions.reading(engine) as session:
        return {each.address: each.reason for each in session.exec(select(Suppression))}


@pytest.mark.parametrize(
    ("answers", "days", "reason"),
    [
        ([Reply(550, "5.1.1 no such user")], 1, "550 5.1.1 no such user"),
        ([FULL, FULL], 1, None),
        ([FULL, FULL, FULL], 1, "3 mails in a row: 552 5.2.2 over quota"),
        ([FULL, FULL, OK, FULL], 1, None),
        ([DISABLED, DISABLED], 0, None),
        ([DISABLED, DISABLED], 2, None),
        ([DISABLED, DISABLED], 3, "again after 3 days or more: 550 5.2.1 disabled"),
        ([DISABLED, OK, DISABLED], 5, None),
        ([Reply(550, "5.7.1 spam")] * 5, 1, None),
        ([Reply(554, "5.6.0 malformed")], 1, None),
    ],
)
def test_an_address_is_suppressed_for_what_was_said_to_its_mails_in_a_row(
    engine: Engine, answers: list[Reply], days: int, reason: str | None
) -> None:
    for number, answer in enumerate(answers):
        now = ledgers.NOW + timedelta(days=days * number, minutes=number)
        send(engine, number, answer, now=now)

    assert reasons(engine) == ({ADDRESS: reason} if reason else {})


def test_what_is_suppressed_is_not_claimed_any_more(engine: Engine) -> None:
    send(engine, 1, Reply(550, "5.1.1 no such user"), now=ledgers.NOW)
    ledgers.fill(engine, 2, public_id="mailing000000002")

    claims = claimants.claim(engine, limit=10, now=ledgers.NOW)

    assert [claim.address for claim in claims] == ["reader2@example.com"]
    assert ledgers.states(engine) == {"refused": 1, "skipped": 1, "claimed": 1}
