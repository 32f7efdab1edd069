"""The closed list of reasons why a reader did not get a mail, with a clause that explains each.

Some reasons end a queued delivery and are stored in its row; for others no delivery was made. The
plan, explanations, status and lists take their wording from here.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was skipped, cancelled or never made; rows store the value."""

    # Stored in `Delivery.reason`, by `cancellation` and `erasure` alone.
    SUPERSEDED = "superseded"
    STALE = "stale"
    EDITION_CANCELLED = "edition cancelled"
    ADDRESS_CHANGED = "address changed"
    FORGOTTEN = "forgotten"
    # Stored for queued deliveries; such readers also get no delivery of a new edition.
    UNSUBSCRIBED = "unsubscribed"
    PAUSED = "paused"
    SUPPRESSED = "suppressed"
    # Never stored: a freeze makes no delivery for these readers.
    PENDING = "pending"
    OTHER_CADENCE = "other cadence"
    NOT_AMONG = "not among"
    JOINED_LATER = "joined later"
    NOTHING_NEW = "nothing new"
    UNDER_WAY = "under way"

    @property
    def meaning(self) -> str:
        """The clause that explains the reason, as in `skipped: MEANING`."""
        return MEANINGS[self]


MEANINGS = {
    Reason.SUPERSEDED: "a newer edition was made before it could be sent, and has its articles",
    Reason.STALE: "it could not be sent in time",
    Reason.EDITION_CANCELLED: "the operator cancelled the edition",
    Reason.ADDRESS_CHANGED: "the reader's address had changed",
    Reason.FORGOTTEN: "the reader's data had been erased",
    Reason.UNSUBSCRIBED: "the reader had unsubscribed",
    Reason.PAUSED: "the reader had paused",
    Reason.SUPPRESSED: "the address was suppressed",
    Reason.PENDING: "the sign-up had not been confirmed",
    Reason.OTHER_CADENCE: "the reader had chosen another cadence",
    Reason.NOT_AMONG: "it was for those who got another edition",
    Reason.JOINED_LATER: "the reader subscribed after it was made",
    Reason.NOTHING_NEW: "no article was new to the reader, or too few were",
    Reason.UNDER_WAY: "an earlier edition was still on its way to the reader",
}

#: Reasons why a new edition has no delivery for a reader.
NEVER_MADE = frozenset(
    {
        Reason.UNSUBSCRIBED,
        Reason.PAUSED,
        Reason.SUPPRESSED,
        Reason.PENDING,
        Reason.OTHER_CADENCE,
        Reason.NOT_AMONG,
        Reason.JOINED_LATER,
        Reason.NOTHING_NEW,
        Reason.UNDER_WAY,
    }
)
#: Reasons that may be stored in the row of a delivery.
STORED = frozenset(list(Reason)[: list(Reason).index(Reason.PENDING)])


def meaning(stored: str) -> str:
    """Return the clause for a stored value; a value of another version is returned unchanged."""
    return Reason(stored).meaning if stored in set(Reason) else stored
