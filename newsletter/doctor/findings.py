"""A finding: one thing that an operator should look at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    #: Something does not work, or must not be done.
    ERROR = "error"
    #: Something waits for the operator.
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that needs a look; scripts go by its id, which never changes."""

    id: str
    level: Level
    sentence: str
    hint: str
