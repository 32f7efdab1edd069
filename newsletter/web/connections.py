"""Limits of connections: the deadlines of a request, and the number of open connections.

This file has no I/O and no clock. Over the limit, a new connection replaces the one that has waited
longest for its peer, between two requests or within one. A connection whose request is being
processed is never closed for a new one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from newsletter.web.notes import Notes


class Phase(Enum):
    """The part of a request that a connection waits for."""

    #: Waits for a request, or the rest of its head.
    HEAD = "head"
    #: Waits for the rest of a request's body.
    BODY = "body"
    #: Waits for the application's response.
    ANSWER = "answer"


class Cause(Enum):
    """Why a connection was closed, or not accepted; the value is a part of a log line."""

    HEAD = "no whole request within {0.head_seconds:g} s"
    BODY = "no whole request body within {0.body_seconds:g} s"
    UNREAD = "the answer not read within {0.unread_seconds:g} s"
    NETWORK = "more than {0.per_network} from one network"
    ROOM = "more than {0.connections} in all"
    MALFORMED = "what was sent is not a request (RFC 9112)"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of time and connections."""

    #: Time from the connection, or the end of the last response, to the end of a request's head.
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    #: Time for which a response may stay unread in the write buffer.
    unread_seconds: float = 60.0
    #: Maximum open connections, in all and of one network.
    connections: int = 500
    per_network: int = 64
    #: Seconds between checks of the deadlines.
    check_seconds: float = 1.0

    @classmethod
    def of(cls, descriptors: int) -> Limits:
        """Return the limits for a number of file descriptors, half of them for connections."""
        return cls(connections=max(16, min(1_000, descriptors // 2)))


class Member(Protocol):
    """One open connection."""

    #: The beginning of the current phase (seconds of the event loop's clock).
    since: float

    @property
    def peer(self) -> str:
        """The network address of the peer."""

    @property
    def network(self) -> str | None:
        """The network whose connections are counted together; None for a trusted proxy."""

    @property
    def phase(self) -> Phase:
        """The part of a request that the connection waits for."""

    @property
    def unread(self) -> int:
        """Octets of responses in the write buffer."""

    def close(self, cause: Cause) -> None:
        """Close the connection."""


def overdue(
    member: Member, limits: Limits, *, unread_since: float | None, now: float
) -> Cause | None:
    """Return the deadline that a connection has missed, if there is one."""
    if unread_since is not None and now - unread_since >= limits.unread_seconds:
        return Cause.UNREAD
    if member.phase is Phase.HEAD and now - member.since >= limits.head_seconds:
        return Cause.HEAD
    if member.phase is Phase.BODY and now - member.since >= limits.body_seconds:
        return Cause.BODY
    return None


class Connections:
    """All open connections of one server. Every method runs in its event loop."""

    def __init__(self, limits: Limits, *, say: Callable[[str], object]) -> None:
        self.limits = limits
        self._notes: Notes[Cause] = Notes(lambda *what: say(self._sentence(*what)))
        #: Each open connection, with the time since which a response is unread.
        self._open: dict[Member, float | None] = {}
        # A dict as an ordered set: the connection that has waited longest is the first.
        self._waiting: dict[Member, None] = {}
        self._by_network: defaultdict[str, set[Member]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_quiet(self) -> bool:
        """Whether no connection is open, and no log line pending."""
        return not self._open and self._notes.is_empty

    def admit(self, member: Member) -> Cause | None:
        """Add a new connection; over the limit, close the one that has waited longest.

        Returns the cause if that is impossible because all others are being processed.
        """
        cause = self._make_room(member)
        if cause is not None:
            self.note(member, cause)
            return cause
        self._open[member] = None
        self._waiting[member] = None
        if member.network is not None:
            self._by_network[member.network].add(member)
        return None

    def moved(self, member: Member) -> None:
        """Update the order of waiting after a connection has entered its next phase."""
        self._waiting.pop(member, None)
        if member in self._open and member.phase is not Phase.ANSWER:
            self._waiting[member] = None

    def remove(self, member: Member) -> None:
        """Remove a closed connection; idempotent."""
        self._open.pop(member, None)
        self._waiting.pop(member, None)
        of_network = self._by_network.get(member.network or "", set())
        of_network.discard(member)
        if not of_network:
            self._by_network.pop(member.network or "", None)

    def note(self, member: Member, cause: Cause) -> None:
        """Count a connection that was closed or not accepted, for the log."""
        self._notes.count(cause, member.peer)

    def check(self, now: float) -> None:
        """Close the connections that have missed a deadline, and log how many were closed."""
        for member in list(self._open):
            unread_since = self._unread_since(member, now)
            cause = overdue(member, self.limits, unread_since=unread_since, now=now)
            if cause is not None:
                self._end(member, cause)
        self._notes.flush(now)

    def log_rest(self) -> None:
        """Log all pending counts; called when the server ends."""
        self._notes.flush()

    def _unread_since(self, member: Member, now: float) -> float | None:
        if not member.unread:
            self._open[member] = None
            return None
        # The deadline of the next request begins once the last response has been read.
        member.since = now
        if self._open[member] is None:
            self._open[member] = now
        return self._open[member]

    def _make_room(self, member: Member) -> Cause | None:
        of_network = self._by_network.get(member.network or "", set())
        if len(of_network) >= self.limits.per_network:
            waiting = (one for one in of_network if one in self._waiting)
            oldest = min(waiting, key=lambda one: one.since, default=None)
            return self._replace(oldest, Cause.NETWORK)
        if len(self._open) >= self.limits.connections:
            return self._replace(next(iter(self._waiting), None), Cause.ROOM)
        return None

    def _replace(self, oldest: Member | None, cause: Cause) -> Cause | None:
        if oldest is None:
            return cause
        self._end(oldest, cause)
        return None

    def _end(self, member: Member, cause: Cause) -> None:
        self.remove(member)
        self.note(member, cause)
        member.close(cause)

    def _sentence(self, cause: Cause, count: int, peer: str) -> str:
        which = "a connection" if count == 1 else f"{count:,} connections, the last one"
        hint = ""
        if cause is Cause.NETWORK:
            hint = " If that is your own proxy, name it in trusted_proxies."
        reason = cause.value.format(self.limits)
        return f"Closed {which} from {peer or 'unknown'}: {reason}.{hint}"
