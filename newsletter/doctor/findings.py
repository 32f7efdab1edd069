"""A finding: a problem, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    #: Something does not work or is not allowed.
    ERROR = "error"
    #: Something needs the operator's attention.
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One problem; its id is stable, for scripts."""

    id: str
    level: Level
    sentence: str
    hint: str
