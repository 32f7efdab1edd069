"""Messages about a new address that the operator has requested on behalf of a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from newsletter.cli import output

if TYPE_CHECKING:
    from newsletter.models import AddressChange


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
