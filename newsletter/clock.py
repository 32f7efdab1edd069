"""The one place that reads the wall clock; only doors and the worker call it."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return this instant as an aware UTC datetime."""
    return datetime.now(UTC)
