"""Pure estimate of the time to send messages: the slowest of the measured rate and all limits.

The speed of the relay is known only from earlier editions, and future replies are unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from newsletter.sender.domain_limits import DomainRate
from newsletter.sender.limits import Limits
from newsletter.settings import Settings

_DAY = timedelta(days=1)
#: Maximum of days in an estimate, about ten years.
_DAYS = 3_660
_DURATIONS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


class Bound(StrEnum):
    """The bottleneck of an estimate; the value is the name of the setting, if it is one."""

    MEASURED = "measured"
    SECOND = "limit_per_second"
    HOUR = "limit_per_hour"
    DAY = "limit_per_day"
    WARM_UP = "warm_up"
    DOMAIN = "domain_limits"


@dataclass(frozen=True)
class Capacity:
    """The limits and connections of this installation."""

    limits: Limits
    #: Connections to the mail servers, of each worker.
    connections: int

    @classmethod
    def of(cls, settings: Settings) -> Capacity:
        """Return the capacity that the settings describe."""
        return cls(Limits.of(settings), connections=settings.smtp_connections)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An estimated time, and its bottleneck."""

    seconds: float
    bound: Bound
    #: The domain whose limit is the bottleneck, if it is one of a domain.
    domain: str | None = None


def forecast(
    domains: Mapping[str, int],
    capacity: Capacity,
    *,
    free: Mapping[str, int],
    rates: Mapping[str, DomainRate],
    per_second: float | None,
    at: datetime,
) -> Forecast | None:
    """Return how long messages to these domains take from `at` on.

    `free` has the remaining messages of the rate limit windows at that time, by name; `rates` has
    the domains with limits; `per_second` is the measured rate. None if nothing is known.
    """
    messages = sum(domains.values())
    found = [
        *_measured(messages, per_second),
        *_of_windows(messages, capacity.limits, free, at),
        *_of_domains(domains, rates, per_second, capacity.connections),
    ]
    return max(found, key=lambda one: one.seconds, default=None)


def _measured(messages: int, per_second: float | None) -> Iterator[Forecast]:
    if per_second:
        yield Forecast(seconds=messages / per_second, bound=Bound.MEASURED)


def _of_windows(
    messages: int, limits: Limits, free: Mapping[str, int], at: datetime
) -> Iterator[Forecast]:
    if limits.per_second:
        spacing = limits.spacing.total_seconds()
        yield Forecast(seconds=messages * spacing, bound=Bound.SECOND)
    if limits.per_hour:
        later = max(messages - free.get("hour", limits.per_hour), 0)
        if hours := math.ceil(later / limits.per_hour):
            yield Forecast(seconds=hours * 3_600, bound=Bound.HOUR)
    if (days := _of_days(messages, limits, free, at)).seconds:
        yield days


def _of_days(messages: int, limits: Limits, free: Mapping[str, int], at: datetime) -> Forecast:
    """Add up daily limits until all are sent, since in a warm-up each day has its own limit."""
    left, days, bound = messages, 0, Bound.DAY
    while left > 0 and days < _DAYS:
        most = {name: size for name, _, size in limits.windows(at + days * _DAY)}.get("day")
        if most is None:
            break
        if most != limits.per_day:
            bound = Bound.WARM_UP
        left -= free.get("day", most) if days == 0 else most
        days += left > 0
    return Forecast(seconds=days * _DAY.total_seconds(), bound=bound)


def _of_domains(
    domains: Mapping[str, int],
    rates: Mapping[str, DomainRate],
    per_second: float | None,
    connections: int,
) -> Iterator[Forecast]:
    for domain, rate in rates.items():
        messages = domains.get(domain, 0)
        seconds = messages * rate.spacing.total_seconds()
        if per_second and rate.connections < connections:
            each = per_second / connections
            seconds = max(seconds, messages / (each * rate.connections))
        if seconds:
            yield Forecast(seconds=seconds, bound=Bound.DOMAIN, domain=domain)


def sentence(found: Forecast | None) -> str:
    """Return an estimate as a sentence."""
    if found is None:
        return "How long it takes is not known: no edition of 100 readers has gone out yet."
    why = {
        Bound.MEASURED: "at the rate of the last editions",
        Bound.DOMAIN: f"as {found.domain} takes no more",
    }.get(found.bound, f"by {found.bound}")
    return f"It takes {_spoken(found.seconds)}, {why}."


def _spoken(seconds: float) -> str:
    for size, name in _DURATIONS:
        if seconds >= 2 * size:
            return f"about {round(seconds / size):,} {name}"
    return "a second or two"
