"""An event: a kind of log line with a stable name and a closed set of fields."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

from newsletter.logs import masking
from newsletter.logs.lines import NAME, TRACE, text_of

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_logger = logging.getLogger(NAME)


class Event:
    """A callable that logs one line with its fields; the first field is the event's subject."""

    __slots__ = ("fields", "level", "meaning", "name")

    def __init__(self, name: str, level: int, meaning: str, **fields: str) -> None:
        self.name = name
        self.level = level
        self.meaning = meaning
        #: The meaning of each field.
        self.fields: Mapping[str, str] = fields

    def __call__(self, level: int | None = None, /, **values: object) -> None:
        """Log the event, at its own level or at another one; fields that are None are omitted."""
        level = self.level if level is None else level
        if not _logger.isEnabledFor(level):
            return
        found = {
            name: _plain(name, values[name]) for name in self.fields if values.get(name) is not None
        }
        _logger.log(
            level, "%s", text_of(self.name, found), extra={"event": self.name, "values": found}
        )

    def is_on(self) -> bool:
        """Return whether the event is logged; for events with fields that are costly to compute."""
        return _logger.isEnabledFor(self.level)


def _plain(name: str, value: object) -> Any:  # noqa: ANN401 - what JSON has
    """Convert a field's value to a type of JSON."""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    text = str(value.value if isinstance(value, Enum) else value)
    return masking.masked_lines(text) if name == TRACE else masking.masked(text)
