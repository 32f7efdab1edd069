"""Who may sign up how often: per network and in all; what is too much is refused in kind words.

The limits of an address are silent and stand in `newsletter.subscribers.signup`: an answer that
depended on them would tell who has been entered before.
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
#: One network may make a quarter of all sign-ups, and a household's worth where that is less.
_SHARE = 4
_LEAST_SHARE = 3


@dataclass(frozen=True)
class Asking:
    """One sign-up: an address in its one spelling, a cadence, and where it comes from."""

    address: str
    cadence: Cadence
    origin: Origin


def ask(web: WebContext, asking: Asking, *, is_trusted: bool = False) -> None:
    """Take a sign-up; the answer is the same whoever it is for, and tells nothing.

    1. What is spent is found by reading alone, so that a flood of sign-ups writes nothing. 2. One
    transaction counts, and asks the reader by at most one letter. Raises TooManyRequests, by what
    the visitor's networks have asked for and nothing else. The site's own back end `is_trusted`: it
    counts its own visitors, and only addresses are limited.
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
    """Return the limits in the order in which they are taken, the same for everybody.

    No network gets more than its share of all sign-ups: whoever has one whole /48 cannot close the
    form for everybody else.
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
