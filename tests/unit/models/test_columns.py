from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import DateTime
from sqlalchemy.dialects import sqlite

from newsletter.models.columns import Instant

SQLITE = sqlite.dialect()
ZONES = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=ZONES)  # noqa: DTZ001


def stored(value: datetime | None) -> str | None:
    convert = Instant().dialect_impl(SQLITE).bind_processor(SQLITE)
    assert convert is not None
    kept: str | None = convert(value)
    return kept


@given(INSTANTS)
def test_sqlite_stores_an_instant_as_sqlalchemys_own_type_does(at: datetime) -> None:
    naive = Instant().process_bind_param(at, SQLITE)
    convert = DateTime().dialect_impl(SQLITE).bind_processor(SQLITE)
    assert convert is not None
    assert stored(at) == convert(naive)


def test_sqlite_stores_no_instant_as_null() -> None:
    assert stored(None) is None


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        stored(datetime(2026, 1, 1))  # noqa: DTZ001
