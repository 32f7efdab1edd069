"""The counts of an edition's deliveries, as a clause for output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from newsletter.editions.summaries import Summary

#: The counts in the line of an edition, in this order; zero ones are left out.
_BOOKS = (
    "accepted", "bounced", "complained", "deferred", "refused", "unknown", "skipped", "cancelled",
)  # fmt: skip


def counts(summary: Summary) -> str:
    """Return the counts that are not zero, each after a comma."""
    found = [(getattr(summary, name), name) for name in _BOOKS]
    left = summary.queued + summary.claimed + summary.in_flight
    return "".join(
        f", {count:,} {name}" for count, name in (*found, (left, "still to go")) if count
    )
