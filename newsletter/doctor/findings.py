"""Findings, which are results of checks with hints for the operator, by groups. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding."""

    #: Something does not work, or must not be done.
    ERROR = "error"
    #: Something waits for the operator.
    WARNING = "warning"
    #: Information; no action is needed.
    INFO = "info"
    #: The check could not be made, because its input could not be read.
    NOT_CHECKED = "not checked"

    @property
    def needs_a_look(self) -> bool:
        """Whether a command with a finding of this level exits with code 3."""
        return self in {Level.ERROR, Level.WARNING}


class Checks(StrEnum):
    """A group of checks that are made together; the value is the heading."""

    SETTINGS = "Settings"
    TODAY = "Today"
    MACHINE = "This machine"
    DNS = "DNS"
    RELAYS = "Mail servers"
    WEB = "Web address"
    RETURNS = "Returned mails"
    MAIL = "Received mail"
    POINTERS = "Elsewhere"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of a check; scripts can rely on its id, which never changes."""

    id: str
    level: Level
    #: The present state, and the state that is expected.
    sentence: str
    #: What to do about the finding.
    hint: str
    #: The feed, relay or domain of the finding; empty if the check has only one object.
    subject: str = ""
    #: Text to copy, such as a DNS record in zone file syntax; empty if there is none.
    record: str = ""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The result of one group of checks."""

    checks: Checks
    #: The checks that were made, as prefixes of the ids of their findings.
    looked_at: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """The checks without a finding."""
        found = [f"{one.id}." for one in self.findings]
        return tuple(
            name for name in self.looked_at if not any(one.startswith(f"{name}.") for one in found)
        )

    @property
    def gravity(self) -> int:
        """The rank of the worst finding's level, 0 for the worst; without findings, the last."""
        return min((gravity(one) for one in self.findings), default=len(Level))


def gravity(finding: Finding) -> int:
    """Return the rank of a finding's level, 0 for the worst."""
    return list(Level).index(finding.level)


def summary(findings: Iterable[Finding]) -> str:
    """Return the line that comes first: "2 errors, 1 warning; 3 could not be checked."."""
    levels = [one.level for one in findings]
    words = [
        f"{count} {level}{'' if count == 1 else 's'}"
        for level in (Level.ERROR, Level.WARNING)
        if (count := levels.count(level))
    ]
    said = ", ".join(words) or "Nothing needs a look"
    unknown = levels.count(Level.NOT_CHECKED)
    return f"{said}; {unknown} could not be checked." if unknown else f"{said}."
