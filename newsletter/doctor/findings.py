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
