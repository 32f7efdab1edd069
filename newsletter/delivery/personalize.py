"""Fills a mailing for one recipient: what is the same for many is encoded once.

Tokens, Message-ID and dates derive from the mailing and the delivery row alone, so a retry has the
same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from newsletter.delivery.ledger import Claim
from newsletter.models import Mailing
from newsletter.rendering import environment, message
from newsletter.rendering.message import CompiledMessage, Field, Slot
from newsletter.tokens import Keyring, Purpose


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the slots of one mailing are written with, whoever gets it."""

    public_id: str
    #: To the right of the @ in its Message-IDs.
    domain: str
    zone: ZoneInfo
    language: str
    #: The name of the key that signs its links.
    key: str = ""

    @classmethod
    def of(cls, mailing: Mailing) -> Stamp:
        """Return what was frozen with a mailing."""
        return cls(
            mailing.public_id,
            mailing.domain,
            ZoneInfo(mailing.timezone),
            mailing.language,
            mailing.signing_key,
        )


class Filler:
    """Makes the bytes of one delivery from its mailing."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        # A digest has one date for all and a few thousand days of subscription at most.
        self._constant = lru_cache(maxsize=16_384)(_encoded)

    def fill(self, compiled: CompiledMessage, *, stamp: Stamp, claim: Claim) -> bytes:
        """Return the message of `claim`."""
        values: Mapping[Field, bytes] = {
            field: self._value(field, stamp, claim) for field in compiled.fields
        }
        return compiled.fill(values)

    def _value(self, field: Field, stamp: Stamp, claim: Claim) -> bytes:
        slot = field.slot
        if slot in _PURPOSES:
            purpose = _PURPOSES[slot]
            at = claim.created_at if purpose is Purpose.CONFIRM else None
            token = self._keyring.issue(
                purpose, claim.reference, claim.generation, at=at, key=stamp.key
            )
            return token.encode()
        if slot is Slot.MESSAGE_ID:
            return message_id(stamp.public_id, claim.reference, stamp.domain).encode()
        if slot is Slot.ADDRESS:
            return message.encode(claim.address, field.place)
        instant = claim.created_at if slot is Slot.DATE else claim.since_at or claim.created_at
        at = instant if slot is Slot.DATE else _day(instant, stamp.zone)
        return self._constant(field, at, stamp.zone, stamp.language)


# The zone is an argument of its own: to a cache, one instant in two zones is the same key.
def _encoded(field: Field, instant: datetime, zone: ZoneInfo, language: str) -> bytes:
    local = instant.astimezone(zone)
    if field.slot is Slot.DATE:
        return format_datetime(local).encode()
    return message.encode(environment.day(local.date(), language), field.place)


_PURPOSES = {
    Slot.UNSUBSCRIBE: Purpose.UNSUBSCRIBE,
    Slot.MANAGE: Purpose.MANAGE,
    Slot.CONFIRM: Purpose.CONFIRM,
}


def message_id(mailing: str, reference: str, domain: str) -> str:
    """Return the Message-ID without its brackets: the same on every retry, one per recipient."""
    return f"{mailing}.{reference}@{domain}"


def parse_message_id(text: str) -> tuple[str, str] | None:
    """Return mailing and reference of a Message-ID of ours, None for anybody else's."""
    left, at, _ = text.strip().strip("<>").partition("@")
    mailing, dot, reference = left.partition(".")
    if not at or not dot or len(mailing) != 16 or len(reference) != 16:
        return None
    return mailing, reference


def _day(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(hour=12, minute=0, second=0, microsecond=0)
