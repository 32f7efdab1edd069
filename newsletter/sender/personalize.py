"""Fills a mailing for its recipients; values that many recipients share are encoded once.

Tokens, Message-ID and dates derive from the mailing and the delivery row alone, so a retry has the
same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import format_datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from newsletter.ledger import message_ids
from newsletter.ledger.queue import Claim
from newsletter.models import Mailing
from newsletter.rendering import environment, message
from newsletter.rendering.message import CompiledMessage, Field, Slot
from newsletter.tokens import Keyring, Purpose

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class SlotValues:
    """The slot values that all recipients of one mailing share."""

    public_id: str
    #: The domain of the mailing's Message-IDs.
    domain: str
    zone: ZoneInfo
    language: str
    #: The name of the key that signs the links.
    key: str = ""

    @classmethod
    def of(cls, mailing: Mailing) -> SlotValues:
        """Return the values that were frozen with a mailing."""
        return cls(
            mailing.public_id,
            mailing.domain,
            ZoneInfo(mailing.timezone),
            mailing.language,
            mailing.signing_key,
        )


class Filler:
    """Makes the bytes of deliveries from their mailing."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def fill(self, compiled: CompiledMessage, *, slot_values: SlotValues, claim: Claim) -> bytes:
        """Return the message of one claim."""
        (values,) = self.values(compiled, slot_values=slot_values, claims=[claim])
        return compiled.fill(values)

    def values(
        self, compiled: CompiledMessage, *, slot_values: SlotValues, claims: Sequence[Claim]
    ) -> list[tuple[bytes, ...]]:
        """Return the slot values of each claim, in the order of the mailing's fields.

        `compiled.fill` makes the message from them.
        """
        columns: dict[Field | Slot, Sequence[bytes]] = {}
        same = set(_SAME_EVERYWHERE)
        if all(message.is_plain(claim.address) for claim in claims):
            same.add(Slot.ADDRESS)
        for field in compiled.fields:
            key = field.slot if field.slot in same else field
            if key not in columns:
                columns[key] = self._column(field, slot_values, claims)
            columns[field] = columns[key]
        if not columns:
            return [() for _ in claims]
        return list(zip(*(columns[field] for field in compiled.fields), strict=True))

    def _column(
        self, field: Field, slot_values: SlotValues, claims: Sequence[Claim]
    ) -> Sequence[bytes]:
        """Return the values of one field."""
        match field.slot:
            case Slot.UNSUBSCRIBE | Slot.MANAGE:
                bearers = ((claim.reference, claim.generation) for claim in claims)
                return self._keyring.issue_all(_PURPOSES[field.slot], bearers, key=slot_values.key)
            case Slot.CONFIRM | Slot.ERASE | Slot.DATA | Slot.NEW_ADDRESS:
                purpose = _PURPOSES[field.slot]
                return [self._expiring(purpose, claim, slot_values) for claim in claims]
            case Slot.MESSAGE_ID:
                return [
                    message_ids.make(
                        slot_values.public_id, claim.reference, slot_values.domain
                    ).encode()
                    for claim in claims
                ]
            case Slot.ADDRESS:
                return [message.encode(claim.address, field.place) for claim in claims]
            case Slot.DATE:
                return _each(
                    [claim.created_at for claim in claims], lambda at: _date(at, slot_values)
                )
            case Slot.SINCE:
                since = [claim.since_at or claim.created_at for claim in claims]
                days = [instant.astimezone(slot_values.zone).date() for instant in since]
                # Subscribers of the same day share one value.
                return _each(days, lambda day: _day(day, field, slot_values))

    def _expiring(self, purpose: Purpose, claim: Claim, slot_values: SlotValues) -> bytes:
        return self._keyring.issue(
            purpose,
            claim.reference,
            claim.generation,
            at=claim.created_at,
            key=slot_values.key,
        ).encode()


def _each(values: Sequence[T], write: Callable[[T], bytes]) -> Sequence[bytes]:
    """Return the encoded values; each distinct value is encoded once."""
    written = {value: write(value) for value in set(values)}
    return [written[value] for value in values]


def _date(at: datetime, slot_values: SlotValues) -> bytes:
    return format_datetime(at.astimezone(slot_values.zone)).encode()


def _day(day: date, field: Field, slot_values: SlotValues) -> bytes:
    return message.encode(environment.day(day, slot_values.language), field.place)


_PURPOSES = {
    Slot.UNSUBSCRIBE: Purpose.UNSUBSCRIBE,
    Slot.MANAGE: Purpose.MANAGE,
    Slot.CONFIRM: Purpose.CONFIRM,
    Slot.ERASE: Purpose.ERASE,
    Slot.DATA: Purpose.DATA,
    Slot.NEW_ADDRESS: Purpose.NEW_ADDRESS,
}
#: Slots whose values need no escaping, in any field.
_SAME_EVERYWHERE = {*_PURPOSES, Slot.MESSAGE_ID}
