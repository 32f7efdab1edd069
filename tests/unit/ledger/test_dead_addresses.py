"""Which refusals suppress an address: at once, when repeated, or never."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from newsletter.ledger.dead_addresses import Earlier, why_dead
from newsletter.smtp import reply
from newsletter.smtp.outcome import Phase, Reaction
from newsletter.smtp.reply import Reply

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
TODAY, YESTERDAY = NOW.date(), date(2026, 11, 22)
ACCEPTED = Earlier(was_accepted=True, reaction=Reaction.NOTHING, day=YESTERDAY)


def said(code: int, text: str, *before: Earlier, full_mailboxes: int = 3) -> str:
    outcome = reply.classify(Phase.RCPT, Reply(code, text))
    grounds = why_dead(outcome, before, now=NOW, full_mailboxes=full_mailboxes)
    return f"{grounds.cause}: {grounds.reason}" if grounds else ""


def full(day: date = YESTERDAY) -> Earlier:
    return Earlier(was_accepted=False, reaction=Reaction.COUNT, day=day)


def disabled(day: date = YESTERDAY) -> Earlier:
    return Earlier(was_accepted=False, reaction=Reaction.SUSPECT, day=day)


def test_a_nonexistent_address_is_suppressed_at_once_with_the_servers_reply() -> None:
    assert said(550, "5.1.1 no such user") == "dead: 550 5.1.1 no such user"


def test_a_disabled_mailbox_is_suppressed_after_refusals_on_two_days() -> None:
    assert said(550, "5.2.1 disabled") == ""
    assert said(550, "5.2.1 disabled", disabled(TODAY)) == ""
    assert said(550, "5.2.1 disabled", disabled()) == "dead: on two days: 550 5.2.1 disabled"
    assert said(550, "5.2.1 disabled", full()) == ""


def test_an_accepted_mail_resets_earlier_refusals() -> None:
    assert said(550, "5.2.1 disabled", ACCEPTED, disabled()) == ""
    assert said(552, "5.2.2 full", full(), ACCEPTED, full(), full()) == ""


@pytest.mark.parametrize("earlier", range(5))
def test_a_full_mailbox_is_suppressed_after_so_many_mails_in_a_row(earlier: int) -> None:
    assert bool(said(552, "5.2.2 full", *[full()] * earlier)) == (earlier + 1 >= 3)
    # A deferred mail may still arrive: it does not count.
    assert bool(said(452, "4.2.2 full", *[full()] * earlier)) == (earlier >= 3)


def test_a_full_mailbox_has_a_cause_of_its_own() -> None:
    assert said(552, "5.2.2 full", full(), full()) == "full: 3 mails in a row: 552 5.2.2 full"


def test_with_the_setting_at_zero_a_full_mailbox_is_never_suppressed() -> None:
    assert said(552, "5.2.2 full", *[full()] * 50, full_mailboxes=0) == ""


@pytest.mark.parametrize("text", ["5.7.1 spam", "5.3.4 too large", "5.0.0 no", "no"])
def test_other_refusals_never_suppress_the_address(text: str) -> None:
    assert said(550, text, *[full(), disabled()] * 20) == ""
