"""When a try is repeated, and when not. Pure: `now` and `rng` are arguments."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from newsletter.models import State
from newsletter.smtp.reply import Kind, Outcome

#: The wait after the first, second ... charged try; greylisting (RFC 6647) asks for minutes, RFC
#: 5321 4.5.4.1 for at least half an hour after that.
WAITS = tuple(timedelta(minutes=m) for m in (5, 15, 30, 60, 120, 240, 480))
#: The wait of a message that was not to blame: the server or the connection was.
UNCHARGED_WAIT = timedelta(seconds=30)
#: Charged tries after which an uncertain message is held whatever the policy: one on which the
#: server fails each time after it has taken it would else arrive a dozen times.
MAXIMUM_RESENDS = 3
#: RFC 5321 4.5.4.1: give up after four to five days. Editions go stale earlier.
MAXIMUM_ATTEMPTS = 16

Policy = Literal["resend", "hold"]


class Decision(NamedTuple):
    """What an outcome does to the delivery."""

    state: State
    due_at: datetime
    #: Whether the try counts (see `Outcome.is_charged`).
    is_charged: bool


def decide(
    outcome: Outcome, *, attempts: int, policy: Policy, now: datetime, rng: random.Random
) -> Decision:
    """Return what becomes of a delivery whose `attempts` earlier tries were charged."""
    if not outcome.is_charged:
        return Decision(State.QUEUED, now + UNCHARGED_WAIT, is_charged=False)
    if outcome.kind is Kind.ACCEPTED:
        return Decision(State.ACCEPTED, now, is_charged=True)
    if outcome.kind is Kind.REFUSED:
        return Decision(State.REFUSED, now, is_charged=True)
    if outcome.kind is Kind.UNKNOWN and (policy == "hold" or attempts >= MAXIMUM_RESENDS):
        return Decision(State.UNKNOWN, now, is_charged=True)
    if attempts + 1 >= MAXIMUM_ATTEMPTS:
        return Decision(State.REFUSED, now, is_charged=True)
    return Decision(State.DEFERRED, now + wait(attempts, rng), is_charged=True)


def wait(attempts: int, rng: random.Random) -> timedelta:
    """Return how long to wait after `attempts` earlier tries; up to a fifth longer, by chance."""
    step = WAITS[min(attempts, len(WAITS) - 1)]
    return step * (1 + rng.random() / 5)
