"""When a try is repeated, and when not. Pure: `now` and `rng` are arguments."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from newsletter.models import State
from newsletter.smtp.reply import Kind, Outcome

#: The wait of a message that was not to blame: the server or the connection was.
UNCHARGED_WAIT = timedelta(seconds=30)
#: Charged tries after which an uncertain message is held whatever the policy: one on which the
#: server fails each time after it has taken it would else arrive a dozen times.
MAXIMUM_RESENDS = 3
#: How long a letter is tried: a link to confirm is good for as long. An edition's mail is tried
#: until the edition is stale.
LETTER_LIFE = timedelta(hours=72)

Policy = Literal["resend", "hold"]


class Decision(NamedTuple):
    """What an outcome does to the delivery."""

    state: State
    due_at: datetime
    #: Whether the try counts (see `Outcome.is_charged`).
    is_charged: bool


class RetryRules(NamedTuple):
    """What the operator has chosen."""

    policy: Policy
    #: The wait after the first, second ... charged try; the last one from then on.
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
    """Return what becomes of a delivery whose `attempts` earlier tries were charged.

    Without `give_up_at` somebody else ends it: an edition that has grown stale.
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
    """Return how long to wait after `attempts` earlier tries; up to a fifth longer, by chance."""
    step = waits[min(attempts, len(waits) - 1)]
    return step * (1 + rng.random() / 5)
