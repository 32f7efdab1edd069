"""Retry policy: back-off with jitter, and when to give up. Pure: `now` and `rng` are arguments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from newsletter.models import State
from newsletter.smtp.outcome import Kind, Outcome

#: Delay before the next try after a failure of the server or the connection.
UNCHARGED_WAIT = timedelta(seconds=30)
#: Charged tries after which an uncertain message is held, whatever the policy. Otherwise a message
#: with which a server fails each time after accepting it would arrive a dozen times.
MAXIMUM_RESENDS = 3
#: Time for which a letter is retried, which is the lifetime of a confirmation link. The mail of an
#: edition is retried until the edition is stale.
LETTER_LIFE = timedelta(hours=72)

Policy = Literal["resend", "hold"]


class Decision(NamedTuple):
    """The next state of a delivery after a try."""

    state: State
    due_at: datetime
    #: Whether the try counts (see `Outcome.is_charged`).
    is_charged: bool


class RetryRules(NamedTuple):
    """The operator's settings for retries."""

    policy: Policy
    #: Back-off after the first, second ... charged try; the last value from then on.
    waits: Sequence[timedelta]


def decide(
    outcome: Outcome,
    *,
    attempts: int,
    rules: RetryRules,
    give_up_at: datetime | None,
    now: datetime,
    rng: random.Random,
) -> Decision:
    """Return the next state of a delivery whose `attempts` earlier tries were charged.

    Without `give_up_at` there is no limit here: a stale edition skips its own deliveries.
    """
    if not outcome.is_charged:
        return Decision(State.QUEUED, now + UNCHARGED_WAIT, is_charged=False)
    if outcome.kind is Kind.ACCEPTED:
        return Decision(State.ACCEPTED, now, is_charged=True)
    if outcome.kind is Kind.REFUSED:
        return Decision(State.REFUSED, now, is_charged=True)
    is_held = rules.policy == "hold" or attempts >= MAXIMUM_RESENDS
    if outcome.kind is Kind.UNKNOWN and is_held:
        return Decision(State.UNKNOWN, now, is_charged=True)
    due_at = now + wait(attempts, rules.waits, rng)
    if give_up_at is not None and due_at > give_up_at:
        return Decision(State.REFUSED, now, is_charged=True)
    return Decision(State.DEFERRED, due_at, is_charged=True)


def wait(attempts: int, waits: Sequence[timedelta], rng: random.Random) -> timedelta:
    """Return the back-off after `attempts` earlier tries, with a jitter of up to 20 percent."""
    step = waits[min(attempts, len(waits) - 1)]
    return step * (1 + rng.random() / 5)
