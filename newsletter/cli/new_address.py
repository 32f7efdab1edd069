"""Messages about a new address that the operator has requested on behalf of a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from newsletter.cli import output
from newsletter.errors import Conflict

if TYPE_CHECKING:
    from newsletter.models import AddressChange


def check(came_to: str, *, old: str, new: str) -> None:
    """Raise Conflict, with a hint, for each result that sends no confirmation link."""
    refusals = {
        "same": (f"{new} is their address already.", None),
        "reader": (
            f"{new} is another reader's address, and two readers are never merged.",
            f"If they want mail there alone: `newsletter subscribers unsubscribe {old}`.",
        ),
        "suppressed": (
            f"{new} is suppressed, so it must not be mailed.",
            f"If it may be mailed again, run `newsletter suppression remove {new}` first.",
        ),
        "nothing": (
            f"{new} has had a letter today, or three in 30 days that it did not confirm.",
            "A link that was sent works for 72 hours; else ask again when that time is over.",
        ),
    }
    if came_to in refusals:
        message, hint = refusals[came_to]
        raise Conflict(message, hint=hint)


def say(change: AddressChange, *, old: str, json: bool) -> None:
    """Print to which addresses mail was sent, and that the new one must be confirmed."""
    if json:
        output.as_json({"new_address": change.address, "expires_at": change.expires_at})
        return
    output.say(
        f"{change.address} is asked to confirm by a letter with a link, which works for 72 hours."
    )
    output.say(
        f"{old} gets a note about it, once a day at most; until then mail goes there as before."
    )
