"""Which failures suppress an address: at once, when repeated, or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from newsletter.feedback.reports import Kind, Verdict
from newsletter.ledger import dead_addresses, reports
from newsletter.ledger.dead_addresses import Earlier, Failure, why_dead
from newsletter.smtp import outcome, reply
from newsletter.smtp.outcome import Phase, Reaction
from newsletter.smtp.reply import Reply

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


def said(code: int, text: str, *before: Earlier, full_mailboxes: int = 3) -> str:
    found = reply.classify(Phase.RCPT, Reply(code, text))
    is_final = found.kind is outcome.Kind.REFUSED
    failure = Failure(found.reaction, dead_addresses.answer(found), NOW, is_final)
    grounds = why_dead(failure, before, now=NOW, full_mailboxes=full_mailboxes)
    return f"{grounds[0] or 'dead'}: {grounds[1]}" if grounds else ""


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def accepted(days: float = 1) -> Earlier:
    return Earlier(ago(days), was_accepted=True, reaction=Reaction.NOTHING)


def full(days: float = 1) -> Earlier:
    return Earlier(ago(days), was_accepted=False, reaction=Reaction.COUNT)


def disabled(days: float = 3) -> Earlier:
    return Earlier(ago(days), was_accepted=False, reaction=Reaction.SUSPECT)


def test_a_nonexistent_address_is_suppressed_at_once_with_the_servers_reply() -> None:
    assert said(550, "5.1.1 no such user") == "dead: 550 5.1.1 no such user"


def test_a_doubt_suppresses_when_it_is_repeated_three_days_later() -> None:
    again = "dead: again after 3 days or more: 550 5.2.1 disabled"

    assert said(550, "5.2.1 disabled") == ""
    assert said(550, "5.2.1 disabled", disabled(2.9)) == ""
    assert said(550, "5.2.1 disabled", disabled(2.9), disabled(2.95)) == ""
    assert said(550, "5.2.1 disabled", disabled(1), disabled(3)) == again
    assert said(550, "5.2.1 disabled", full(4)) == ""
    # A mail that was tried later says nothing of what came before.
    assert said(550, "5.2.1 disabled", disabled(-4)) == ""


def test_a_mail_of_which_nothing_came_back_in_five_days_takes_a_doubt_away() -> None:
    assert said(550, "5.2.1 disabled", accepted(5), disabled(9)) == ""
    # It may still come back.
    assert said(550, "5.2.1 disabled", accepted(4.9), disabled(9)) != ""
    assert said(550, "5.2.1 disabled", disabled(3), accepted(5)) != ""


def test_an_accepted_mail_ends_a_row_of_full_mailboxes() -> None:
    assert said(552, "5.2.2 full", full(), accepted(), full(), full()) == ""
    # One that was sent later is not between them.
    assert said(552, "5.2.2 full", accepted(-1), full(), full()) != ""


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
    assert said(550, text, *[full(), disabled(9)] * 20) == ""


def test_a_bounce_counts_as_what_it_says() -> None:
    assert (reports.BOUNCE, reports.COMPLAINT) == (Kind.BOUNCE, Kind.COMPLAINT)
    assert dead_addresses._OF_VERDICT == {
        Verdict.DEAD: Reaction.SUPPRESS,
        Verdict.MAYBE: Reaction.SUSPECT,
        Verdict.FULL: Reaction.COUNT,
    }
