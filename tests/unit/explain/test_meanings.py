"""What replies of mail servers, and what came back, mean for a reader."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from newsletter.explain import meanings
from newsletter.explain.facts import Reply
from newsletter.feedback.reports import Verdict

NOW = datetime(2026, 11, 30, 7, tzinfo=UTC)


def reply(code: int | None, enhanced: str | None, text: str, phase: str, result: str) -> Reply:
    return Reply(at=NOW, result=result, phase=phase, code=code, enhanced=enhanced, text=text)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ((250, "2.0.0", "Ok", "body", "accepted"), "the mail server has taken it"),
        ((250, None, "Ok", "rcpt", "accepted"), "the mail server has taken it"),
        ((450, "4.2.0", "Greylisted", "rcpt", "deferred"), "the server asks to come back later"),
        ((452, "4.2.2", "Over quota", "rcpt", "deferred"), "the mailbox is full"),
        ((451, "4.3.0", "Try later", "rcpt", "deferred"), "the receiving server has trouble"),
        ((421, "4.7.28", "Rate", "rcpt", "deferred"), "takes no more of our mail for now"),
        ((550, "5.1.1", "No such user", "rcpt", "refused"), "there is no such mailbox"),
        ((550, "5.2.1", "Disabled", "rcpt", "refused"), "the mailbox is disabled, or not there"),
        ((552, "5.3.4", "Too big", "body", "refused"), "too large for the receiving server"),
        ((550, "5.7.1", "Spam", "body", "refused"), "a policy or a filter of the receiving server"),
        ((550, "5.7.26", "Unauthenticated", "body", "refused"), "SPF and DKIM: at least one"),
        ((535, "5.7.8", "Denied", "mail", "deferred"), "refuses us, whoever the reader is"),
        ((550, None, "Not today", "rcpt", "refused"), "the server refuses this mail"),
        ((None, None, "time-out", "body", "unknown"), "it may have taken the mail"),
        (
            (None, None, "reset", "rcpt", "deferred"),
            "the connection ended before the mail had left",
        ),
        ((None, None, "reset", "connect", "deferred"), "the connection ended before the mail"),
    ],
)
def test_a_reply_means_what_the_sender_takes_it_for(
    said: tuple[int | None, str | None, str, str, str], meaning: str
) -> None:
    assert meaning in meanings.of_reply(reply(*said))


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_a_clause(verdict: Verdict) -> None:
    assert meanings.of_verdict(verdict.value) != verdict.value


def test_a_verdict_of_another_version_stands_as_it_is() -> None:
    assert meanings.of_verdict("lost in space") == "lost in space"


def test_a_reply_that_was_not_kept_has_no_words() -> None:
    assert meanings.words(reply(None, None, "", "body", "unknown")) == ""
    assert meanings.words(reply(550, "5.1.1", "No", "rcpt", "refused")) == "550 5.1.1 No"
