"""Why a reader did not get a mail: a closed list, with a clause each that says what it means.

Some end a delivery that was queued, and stand in its row; for others no delivery was ever made.
Plan, explain, status and lists take their words from here.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was skipped or cancelled, or never made; rows have the value."""

    # Stored in `Delivery.reason`, by `cancellation` and `erasure` alone.
    SUPERSEDED = "superseded"
    STALE = "stale"
    EDITION_CANCELLED = "edition cancelled"
    ADDRESS_CHANGED = "address changed"
    FORGOTTEN = "forgotten"
    # Stored; and readers who are this when an edition is made have no delivery of it.
    UNSUBSCRIBED = "unsubscribed"
    PAUSED = "paused"
    SUPPRESSED = "suppressed"
    # Never stored: a freeze makes no delivery for these readers.
    PENDING = "pending"
    OTHER_CADENCE = "other cadence"
    JOINED_LATER = "joined later"
    NOTHING_NEW = "nothing new"
    UNDER_WAY = "under way"

    @property
    def meaning(self) -> str:
        """The clause that says it, as in `skipped: MEANING`."""
        return MEANINGS[self]


MEANINGS = {
    Reason.SUPERSEDED: "a newer edition was made before it could be sent, and has its articles",
    Reason.STALE: "it could not be sent before the next edition was due",
    Reason.EDITION_CANCELLED: "the operator cancelled the edition",
    Reason.ADDRESS_CHANGED: "the reader's address had changed",
    Reason.FORGOTTEN: "the reader's data had been erased",
    Reason.UNSUBSCRIBED: "the reader had unsubscribed",
    Reason.PAUSED: "the reader had paused",
    Reason.SUPPRESSED: "the address was suppressed",
    Reason.PENDING: "the sign-up had not been confirmed",
    Reason.OTHER_CADENCE: "the reader had chosen another cadence",
    Reason.JOINED_LATER: "the reader subscribed after it was made",
    Reason.NOTHING_NEW: "no article was new to the reader, or too few were",
    Reason.UNDER_WAY: "an earlier edition was still on its way to the reader",
}

#: Readers who are this when an edition is made have no delivery of it.
NEVER_MADE = frozenset(
    {
        Reason.UNSUBSCRIBED,
        Reason.PAUSED,
        Reason.SUPPRESSED,
        Reason.PENDING,
        Reason.OTHER_CADENCE,
        Reason.JOINED_LATER,
        Reason.NOTHING_NEW,
        Reason.UNDER_WAY,
    }
)
#: Those that a delivery may have in its row.
STORED = frozenset(list(Reason)[: list(Reason).index(Reason.PENDING)])


def meaning(stored: str) -> str:
    """Return the clause for what a row has; a value of another version as it stands."""
    return Reason(stored).meaning if stored in set(Reason) else stored
