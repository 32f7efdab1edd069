"""Findings: what an operator should look at and what to do about it, by groups of checks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    #: Something does not work, or must not be done.
    ERROR = "error"
    #: Something waits for the operator.
    WARNING = "warning"
    #: Good to know; nothing has to be done.
    INFO = "info"
    #: Nobody knows: what it is judged by could not be read.
    NOT_CHECKED = "not checked"

    @property
    def needs_a_look(self) -> bool:
        """Whether a command that has found it exits with 3."""
        return self in {Level.ERROR, Level.WARNING}


class Checks(StrEnum):
    """A group of checks that are made together; its value is its heading."""

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
    """One thing that needs a look; scripts go by its id, which never changes."""

    id: str
    level: Level
    #: What is there, and what should be.
    sentence: str
    #: The way out.
    hint: str
    #: Which of several it is about: a feed, a relay, a domain; empty where there is one.
    subject: str = ""
    #: What to paste, such as a DNS record as a zone file has it; empty if there is nothing.
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
