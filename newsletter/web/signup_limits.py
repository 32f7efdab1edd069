"""Rate limits of sign-ups, per network and in all; more are refused with 429.

The limits of an address are in `newsletter.subscribers.signup` and have no effect on the response,
because they would disclose which addresses have been entered before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from newsletter import throttle
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.errors import TooManyRequests
from newsletter.subscribers import signup
from newsletter.subscribers.consent import Origin
from newsletter.throttle import Limit
from newsletter.web import network
from newsletter.web.dependencies import WebContext

_HOUR = timedelta(hours=1)
_EVERYBODY = "everybody"
#: One network may make a quarter of all sign-ups, and at least three.
_SHARE = 4
_LEAST_SHARE = 3


@dataclass(frozen=True)
class Asking:
    """One sign-up: a normalised address, a cadence, and its origin."""

    address: str
    cadence: Cadence
    origin: Origin


def ask(web: WebContext, asking: Asking, *, is_trusted: bool = False) -> None:
    """Process a sign-up, with the same result whether the address is known or not.

    1. Check the rate limits in a read-only transaction, so that a flood of sign-ups writes nothing.
    2. Count and queue at most one letter, in one transaction.

    Raises TooManyRequests for the limits
    of the visitor's networks alone. With `is_trusted`, for the site's own back end, only the limits
    of the address apply: the back end has to limit its visitors itself.
    """
    now = web.clock()
    with sessions.reading(web.engine) as session:
        if not is_trusted:
            _refuse_if_spent(web, session, asking, now)
    with sessions.writing(web.engine) as session:
        if not is_trusted:
            _count(web, session, asking, now)
        signup.ask(
            session,
            asking.address,
            cadence=asking.cadence,
            origin=asking.origin,
            publication=web.publication,
            now=now,
        )


def _limits(web: WebContext, asking: Asking) -> list[tuple[Limit, str]]:
    """Return the limits with their subjects, from the widest; the lock order of their rows.

    No network gets more than its share of all sign-ups, so that even the owner of a /48 cannot
    exhaust the limit for everybody else.
    """
    chosen = web.settings
    share = max(chosen.signups_in_all // _SHARE, _LEAST_SHARE)
    limits = [(Limit("all", chosen.signups_in_all, _HOUR), _EVERYBODY)]
    for one in network.networks(asking.origin.remote):
        count = share if one.homes is None else min(one.homes * chosen.signups_per_machine, share)
        limits.append((Limit(f"net{one.prefix}", count, _HOUR), one.name))
    return limits


def _refuse_if_spent(web: WebContext, session: Session, asking: Asking, now: datetime) -> None:
    for limit, subject in _limits(web, asking):
        until = throttle.spent_until(session, limit, subject, now=now, keyring=web.keyring)
        if until is not None:
            raise TooManyRequests(retry_after=until - now)


def _count(web: WebContext, session: Session, asking: Asking, now: datetime) -> None:
    for limit, subject in _limits(web, asking):
        if not throttle.take(session, limit, subject, now=now, keyring=web.keyring):
            raise TooManyRequests(retry_after=limit.window)
