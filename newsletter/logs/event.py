"""An event: a kind of log line with a stable name and a closed set of fields."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

from newsletter.logs import masking
from newsletter.logs.lines import TRACE, text_of

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
_logger = logging.getLogger("newsletter")


class Event:
    """Called with its fields, it logs one line; the first field is what the event is about."""

    __slots__ = ("fields", "level", "meaning", "name")

    def __init__(self, name: str, level: int, meaning: str, **fields: str) -> None:
        self.name = name
        self.level = level
        self.meaning = meaning
        #: What each of them is.
        self.fields: Mapping[str, str] = fields

    def __call__(self, level: int | None = None, /, **values: object) -> None:
        """Log it, at its own level or at another one; a field that is None is left out."""
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
        """Return whether it is logged; for events whose fields cost something."""
        return _logger.isEnabledFor(self.level)


def _plain(name: str, value: object) -> Any:  # noqa: ANN401 - what JSON has
    """Return a value as a log may hold it."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    text = str(value.value if isinstance(value, Enum) else value)
    return masking.masked_lines(text) if name == TRACE else masking.masked(text)
