"""What a reply means: phase, code and text in, an outcome out. Pure: no I/O, no clock.

The first digit of the basic code decides between transient and permanent (RFC 5321 4.2.1); the
enhanced code (RFC 3463) says whose fault it is. Whatever is not known here falls on the careful
side: nothing is lost, nobody is blamed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

#: What is kept of a reply's text, in characters.
TEXT_LIMIT = 400
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)")
# Multi-line replies repeat the enhanced code at the start of every line (RFC 2034 4).
_REPEATED = re.compile(r"\n[245]\.\d{1,3}\.\d{1,3}\s")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class Phase(StrEnum):
    """How far the conversation had come: it alone tells a safe loss from an uncertain one."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    #: From the first octet of the message to the reply to its final dot.
    BODY = "body"


class Kind(StrEnum):
    """What became of one try."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """Whom an outcome concerns. Only `reader` is charged to the reader."""

    READER = "reader"
    CONNECTION = "connection"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of the server, its lines joined."""

    code: int
    text: str

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code at the start of the text (RFC 2034), if there is one."""
        found = _ENHANCED.match(self.text)
        return found[1] if found else None

    @property
    def words(self) -> str:
        """The text without its enhanced codes, printable and short enough to keep."""
        text = _REPEATED.sub(" ", "\n" + self.text)
        return _UNPRINTABLE.sub(" ", text).strip()[:TEXT_LIMIT]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one try came to."""

    kind: Kind
    phase: Phase
    scope: Scope = Scope.READER
    code: int | None = None
    enhanced: str | None = None
    text: str = ""

    @property
    def is_charged(self) -> bool:
        """Tell whether this try counts against the reader's deliveries."""
        return self.scope is Scope.READER


def classify(phase: Phase, reply: Reply) -> Outcome:
    """Return what `reply` means when it answers `phase`."""
    kind, scope = _decide(phase, reply.code, reply.enhanced or "")
    return Outcome(kind, phase, scope, reply.code, reply.enhanced, reply.words)


def lost(phase: Phase, reason: str) -> Outcome:
    """Return what a disconnect or a time-out in `phase` means.

    Before the message left, nobody is charged. After its final dot nobody can know (RFC 1047).
    """
    if phase is Phase.BODY:
        return Outcome(Kind.UNKNOWN, phase, Scope.READER, text=reason)
    return Outcome(Kind.DEFERRED, phase, Scope.CONNECTION, text=reason)


def _decide(phase: Phase, code: int, enhanced: str) -> tuple[Kind, Scope]:
    if code == 421:
        # RFC 5321 3.8: the server closes the channel; the command was not carried out.
        return Kind.DEFERRED, Scope.CONNECTION
    if code in {530, 534, 535, 538} or (enhanced.startswith("5.5.") and 500 <= code < 505):
        # Authentication, or commands that it does not understand: ours to mend.
        return Kind.DEFERRED, Scope.RUN
    if 200 <= code < 300 and phase is Phase.BODY:
        return Kind.ACCEPTED, Scope.READER
    if phase in {Phase.CONNECT, Phase.MAIL}:
        # What is said before the recipient is named is about us.
        return Kind.DEFERRED, Scope.RUN if code >= 500 else Scope.CONNECTION
    return _about_the_recipient(phase, code, enhanced)


def _about_the_recipient(phase: Phase, code: int, enhanced: str) -> tuple[Kind, Scope]:
    if phase is Phase.BODY and enhanced == "5.6.0":
        # A malformed message is malformed for everybody.
        return Kind.DEFERRED, Scope.RUN
    if 400 <= code < 500:
        return Kind.DEFERRED, Scope.READER
    if 500 <= code < 600:
        return Kind.REFUSED, Scope.READER
    # A code that RFC 5321 does not have: the conversation makes no sense any more.
    if phase is Phase.BODY:
        return Kind.UNKNOWN, Scope.READER
    return Kind.DEFERRED, Scope.CONNECTION
