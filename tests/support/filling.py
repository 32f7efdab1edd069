"""Fills a compiled message with values that are not encoded yet."""

from __future__ import annotations

from collections.abc import Mapping

from newsletter.rendering.message import CompiledMessage, Slot, encode


def filled(message: CompiledMessage, values: Mapping[Slot, str]) -> bytes:
    """Encode `values` for every field and fill them in."""
    return message.fill([encode(values[each.slot], each.place) for each in message.fields])
