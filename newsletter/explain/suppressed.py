"""Describes since when and why an address is suppressed, by pure functions."""

from __future__ import annotations

from newsletter import suppression
from newsletter.models import Suppression
from newsletter.suppression import Cause


def sentence(held: Suppression, address: str) -> str:
    """Return since when and why an address is suppressed."""
    return f"{address} is suppressed since {held.created_at:%Y-%m-%d}, {cause(held)}."


def cause(held: Suppression) -> str:
    """Return why an address is suppressed: the cause, its meaning, the reason and the source."""
    meaning = suppression.RULES[Cause(held.cause)].meaning
    said = f"; {held.reason.rstrip('.')}" if held.reason and held.reason != meaning else ""
    source = f" ({held.source})" if held.source else ""
    return f"{held.cause}: {meaning}{said}{source}"
