"""A mail as one reader would get it, outside the ledger: for previews and tests."""

from __future__ import annotations

from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from newsletter import tokens
from newsletter.errors import TransportUnavailable
from newsletter.ledger.queue import Claim
from newsletter.rendering.message import CompiledMessage
from newsletter.sender import connections
from newsletter.sender.personalize import Filler, SlotValues
from newsletter.sender.plan import Plan
from newsletter.settings import Settings
from newsletter.smtp.outcome import Kind

#: The public id in the mail's links; no reader has it.
_NOBODY = "preview_________"


def filled(
    compiled: CompiledMessage, settings: Settings, recipient: str, *, now: datetime
) -> bytes:
    """Return a message as a reader would get it, with links that do not work."""
    claim = Claim(
        id=0,
        mailing_id=0,
        address=recipient,
        reference=_NOBODY,
        generation=0,
        since_at=None,
        created_at=now,
        attempts=0,
    )
    slot_values = SlotValues(
        tokens.new_public_id(), settings.sender_domain, settings.zone, settings.language
    )
    return Filler(settings.keyring()).fill(compiled, slot_values=slot_values, claim=claim)


def part(message: bytes, kind: str) -> str:
    """Return one of the two parts of a message, html or plain."""
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    body = parsed.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content


def post(settings: Settings, recipient: str, message: bytes) -> None:
    """Send one mail without recording it; raises TransportUnavailable if it is not accepted."""
    try:
        outcome = connections.post(Plan.of(settings), recipient, message)
    except TransportUnavailable as exc:
        raise TransportUnavailable(
            exc.message, hint="Look at NEWSLETTER_SMTP_URL; nothing was sent."
        ) from exc
    if outcome.kind is not Kind.ACCEPTED:
        raise TransportUnavailable(
            f"The mail was not accepted: {outcome.code or ''} {outcome.text}".rstrip() + "."
        )
