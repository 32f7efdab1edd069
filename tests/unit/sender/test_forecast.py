"""How long a number of messages takes: the slowest of what was measured and every limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from newsletter.sender.domain_limits import DomainRate
from newsletter.sender.forecast import Bound, Capacity, Forecast, forecast
from newsletter.sender.limits import Limits

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR, DAY = 3_600, 86_400


def of(
    domains: dict[str, int],
    limits: Limits | None = None,
    *,
    free: dict[str, int] | None = None,
    rates: dict[str, DomainRate] | None = None,
    per_second: float | None = None,
) -> Forecast | None:
    return forecast(
        domains,
        Capacity(limits or Limits(), connections=10),
        free=free or {},
        rates=rates or {},
        per_second=per_second,
        at=NOON,
    )


def test_without_a_limit_and_a_past_nothing_is_known() -> None:
    assert of({"a.example": 1_000}) is None


def test_the_measured_rate_counts() -> None:
    assert of({"a.example": 600, "b.example": 400}, per_second=50) == Forecast(
        seconds=20, bound=Bound.MEASURED
    )


@pytest.mark.parametrize(
    ("limits", "free", "seconds", "bound"),
    [
        # The spacing of permits is a little longer than the limit asks for.
        (
            Limits(per_second=10),
            {},
            1_000 * Limits(per_second=10).spacing.total_seconds(),
            Bound.SECOND,
        ),
        (Limits(per_hour=400), {}, 2 * HOUR, Bound.HOUR),
        (Limits(per_hour=400), {"hour": 0}, 3 * HOUR, Bound.HOUR),
        (Limits(per_day=500), {}, DAY, Bound.DAY),
        (Limits(per_day=500), {"day": 100}, 2 * DAY, Bound.DAY),
        (
            Limits(warm_up=(50, 100, 200), warm_up_from=date(2026, 11, 30)),
            {},
            3 * DAY,
            Bound.WARM_UP,
        ),
    ],
)
def test_a_limit_that_lets_fewer_go_decides(
    limits: Limits, free: dict[str, int], seconds: float, bound: Bound
) -> None:
    found = of({"a.example": 1_000}, limits, free=free, per_second=1_000)

    assert found == Forecast(seconds=seconds, bound=bound)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(per_hour=1_000),
        Limits(per_day=1_000),
        Limits(warm_up=(50, 100), warm_up_from=date(2026, 1, 1)),
        Limits(warm_up=(50, 100)),
    ],
)
def test_a_limit_with_room_for_all_decides_nothing(limits: Limits) -> None:
    assert of({"a.example": 1_000}, limits) is None


def test_a_domain_that_takes_less_decides_and_is_named() -> None:
    rates = {"slow.example": DomainRate(1, timedelta(seconds=1))}

    assert of({"a.example": 1_000, "slow.example": 60}, rates=rates, per_second=100) == Forecast(
        seconds=60, bound=Bound.DOMAIN, domain="slow.example"
    )


def test_a_domain_of_one_connection_gets_a_tenth_of_the_rate_of_ten() -> None:
    rates = {"slow.example": DomainRate(1, timedelta())}

    found = of({"a.example": 100, "slow.example": 900}, rates=rates, per_second=100)

    assert found == Forecast(seconds=90, bound=Bound.DOMAIN, domain="slow.example")
