"""Describes the result of fetching a feed, for the command line and the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from newsletter.articles.quarantine import QuarantineRules

if TYPE_CHECKING:
    from newsletter.articles.ingest import Counts, Result


def counts(found: Counts) -> str:
    """Return the articles of a document by result: "2 new, 0 updated, 7 known"."""
    named = [f"{found.new:,} new", f"{found.updated:,} updated", f"{found.known:,} known"]
    if found.quarantined:
        named.append(f"{found.quarantined:,} in quarantine")
    if found.dropped:
        named.append(f"{found.dropped:,} unusable")
    if found.left_out:
        named.append(f"{found.left_out:,} not taken in")
    return ", ".join(named)


def left_out(result: Result) -> str:
    """Return the sentence about a feed with more articles than are stored."""
    return (
        f"{result.title}: {result.counts.left_out:,} articles are not taken in today: "
        f"of one feed no more than {QuarantineRules.waiting_per_day} a day are kept for approval."
    )
