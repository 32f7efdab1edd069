"""Retry policy: back-off, and outcomes that are final."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.ledger import retry
from newsletter.ledger.retry import Decision, Policy
from newsletter.models import State
from newsletter.smtp.outcome import Kind, Outcome, Phase, Scope

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


WAITS = [timedelta(minutes=minutes) for minutes in (5, 15, 30, 60, 120, 240, 480)]


def decide(
    kind: Kind,
    *,
    scope: Scope = Scope.READER,
    attempts: int = 0,
    policy: Policy = "resend",
    give_up_at: datetime | None = None,
) -> Decision:
    return retry.decide(
        Outcome(kind, Phase.BODY, scope),
        attempts=attempts,
        rules=retry.RetryRules(policy, WAITS),
        give_up_at=give_up_at,
        now=NOW,
        rng=random.Random(1),
    )


@pytest.mark.parametrize("policy", ["resend", "hold"])
def test_accepted_and_refused_are_final(policy: Policy) -> None:
    assert decide(Kind.ACCEPTED, policy=policy).state is State.ACCEPTED
    assert decide(Kind.REFUSED, policy=policy).state is State.REFUSED


@pytest.mark.parametrize("scope", [Scope.CONNECTION, Scope.DOMAIN, Scope.RELAY])
@pytest.mark.parametrize("attempts", [0, 3, 100])
def test_a_failure_that_is_not_the_readers_is_requeued_uncharged(
    scope: Scope, attempts: int
) -> None:
    decision = decide(Kind.DEFERRED, scope=scope, attempts=attempts)

    assert decision == Decision(State.QUEUED, NOW + retry.UNCHARGED_WAIT, is_charged=False)


def test_an_unknown_is_sent_again_or_held_by_policy() -> None:
    assert decide(Kind.UNKNOWN, policy="resend").state is State.DEFERRED
    assert decide(Kind.UNKNOWN, policy="hold").state is State.UNKNOWN


def test_a_message_that_stays_uncertain_is_held_whatever_the_policy() -> None:
    assert decide(Kind.UNKNOWN, attempts=retry.MAXIMUM_RESENDS - 1).state is State.DEFERRED
    assert decide(Kind.UNKNOWN, attempts=retry.MAXIMUM_RESENDS).state is State.UNKNOWN


@pytest.mark.parametrize("attempts", [0, 10, 1_000])
def test_without_a_deadline_a_mail_is_always_retried(attempts: int) -> None:
    assert decide(Kind.DEFERRED, attempts=attempts).state is State.DEFERRED


@pytest.mark.parametrize("kind", [Kind.DEFERRED, Kind.UNKNOWN])
def test_a_letter_is_refused_when_the_next_try_would_be_past_its_deadline(kind: Kind) -> None:
    soon, late = NOW + timedelta(minutes=4), NOW + timedelta(minutes=7)

    assert decide(kind, give_up_at=late).state is State.DEFERRED
    assert decide(kind, give_up_at=soon).state is State.REFUSED


def test_the_back_off_grows_from_minutes_to_hours() -> None:
    waits = [retry.wait(attempts, WAITS, random.Random(7)) for attempts in range(len(WAITS))]

    assert waits == sorted(waits)
    assert timedelta(minutes=5) <= waits[0] < timedelta(minutes=6)
    assert waits[-1] >= timedelta(hours=8)


@given(attempts=st.integers(0, 1000), seed=st.integers())
def test_the_jitter_is_at_most_20_percent(attempts: int, seed: int) -> None:
    waited = retry.wait(attempts, WAITS, random.Random(seed))
    step = WAITS[min(attempts, len(WAITS) - 1)]

    assert step <= waited <= step * 1.2
