"""What a reply means: phase, code and text in, an outcome out. Pure: no I/O, no clock.

The first digit of the basic code decides between transient and permanent (RFC 5321 4.2.1); the
enhanced code (RFC 3463) says whose fault it is. Whatever is not known here falls on the careful
side: nothing is lost, nobody is blamed.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

#: What is kept of a reply's text, in characters.
TEXT_LIMIT = 400
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:[\s:;,]|$)")
# Multi-line replies repeat the enhanced code at the start of every line (RFC 2034 4).
_REPEATED = re.compile(r"\n[245]\.\d{1,3}\.\d{1,3}\s")
_LEADING = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\s")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
# How relays say that we, not the reader, have sent too much; they use 550 for it, too.
_LIMIT = re.compile(r"\brate\b|\b(?:daily|hourly|sending|message)\b.*\b(?:limit|quota)", re.I)
#: Authentication or encryption is missing or wrong: the credentials are ours.
_CREDENTIALS = frozenset({530, 534, 535, 538})
#: Commands that the server does not know, or not here: the conversation is ours.
_CONVERSATION = frozenset({500, 502, 503, 504})


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


class Reply(NamedTuple):
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
        """The text without its repeated codes, printable and short enough to keep."""
        if "\n" in self.text:
            return _legible(_REPEATED.sub(" ", "\n" + self.text))
        leading = _LEADING.match(self.text)
        return _legible(self.text[leading.end() :] if leading else self.text)


class Outcome(NamedTuple):
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
    kind, scope = _decide(phase, reply)
    return Outcome(kind, phase, scope, reply.code, reply.enhanced, reply.words)


def lost(phase: Phase, reason: str) -> Outcome:
    """Return what a disconnect or a time-out in `phase` means.

    Before the message left, nobody is charged. After its final dot nobody can know (RFC 1047).
    """
    if phase is Phase.BODY:
        return Outcome(Kind.UNKNOWN, phase, Scope.READER, text=_legible(reason))
    return Outcome(Kind.DEFERRED, phase, Scope.CONNECTION, text=_legible(reason))


def _decide(phase: Phase, reply: Reply) -> tuple[Kind, Scope]:
    code = reply.code
    if code == 421:
        # RFC 5321 3.8: the server closes the channel; the command was not carried out.
        return Kind.DEFERRED, Scope.CONNECTION
    if 200 <= code < 300 and phase is Phase.BODY:
        return Kind.ACCEPTED, Scope.READER
    if not 400 <= code < 600:
        # It answers no question that was asked: the conversation makes no sense any more.
        return _decide_nonsense(phase)
    if code >= 500 and _is_ours(phase, reply):
        return Kind.DEFERRED, Scope.RUN
    if phase in {Phase.CONNECT, Phase.MAIL}:
        # What is said before the recipient is named is about us.
        return Kind.DEFERRED, Scope.RUN if code >= 500 else Scope.CONNECTION
    return Kind.REFUSED if code >= 500 else Kind.DEFERRED, Scope.READER


def _decide_nonsense(phase: Phase) -> tuple[Kind, Scope]:
    if phase is Phase.BODY:
        return Kind.UNKNOWN, Scope.READER
    return Kind.DEFERRED, Scope.CONNECTION


def _is_ours(phase: Phase, reply: Reply) -> bool:
    """Tell whether a permanent refusal is for us to mend, whoever the recipient is."""
    code, enhanced = reply.code, reply.enhanced or ""
    if code in _CREDENTIALS or code in _CONVERSATION:
        return True
    if enhanced == "5.4.5" or (enhanced == "5.7.1" and _LIMIT.search(reply.text)):
        # More than we are allowed to send: it passes, and no reader is to blame.
        return True
    # 550 5.5.0 is how some say that a mailbox does not exist, 501 5.5.2 that an address is odd.
    if phase is Phase.RCPT:
        return False
    is_malformed = code == 554 and "malformed" in reply.text.lower()
    return enhanced == "5.6.0" or is_malformed or (code == 501 and enhanced.startswith("5.5."))


def _legible(text: str) -> str:
    """Return what can be kept and shown of a stranger's text."""
    return _UNPRINTABLE.sub(" ", text).strip()[:TEXT_LIMIT]
