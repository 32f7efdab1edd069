"""Which connections may stay: the deadlines of a request, and how many may be open.

No I/O and no clock. A connection that waits for its peer (between two requests, or in the middle
of one) makes room for a new one when there are too many, the one that has waited longest first;
one whose request is being answered is never closed for that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

#: How often a line of one kind is said at most (seconds).
_SAY_SECONDS = 60.0


class Phase(Enum):
    """What a connection waits for."""

    #: A request, or the rest of its head.
    HEAD = "head"
    #: The rest of a request's body.
    BODY = "body"
    #: The application's answer.
    ANSWER = "answer"


class Cause(Enum):
    """Why a connection was closed, or not taken."""

    HEAD = "no whole request within {0.head_seconds:g} s"
    BODY = "no whole request body within {0.body_seconds:g} s"
    UNREAD = "the answer not read within {0.unread_seconds:g} s"
    NETWORK = "more than {0.per_network} from one network"
    ROOM = "more than {0.connections} in all"
    MALFORMED = "what was sent is not a request (RFC 9112)"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a peer may take of the server's time and connections."""

    #: From the connection, or the end of the last answer, to the end of a request's head.
    head_seconds: float = 10.0
    body_seconds: float = 20.0
    #: How long something of an answer may stand unread.
    unread_seconds: float = 60.0
    #: Open connections: in all, and of one network.
    connections: int = 500
    per_network: int = 64
    #: How often the deadlines are looked at.
    look_seconds: float = 1.0

    @classmethod
    def of(cls, descriptors: int) -> Limits:
        """Return the limits of a process that may open so many files, half of them for peers."""
        return cls(connections=max(16, min(1_000, descriptors // 2)))


class Member(Protocol):
    """One open connection."""

    #: When it began to wait for what its phase says (seconds).
    since: float

    @property
    def peer(self) -> str:
        """The network address of the peer."""

    @property
    def network(self) -> str | None:
        """Whose connections are counted together; None for a proxy, which brings everybody's."""

    @property
    def phase(self) -> Phase:
        """What it waits for."""

    @property
    def unread(self) -> int:
        """Octets of answers that the peer has not taken."""

    def close(self, cause: Cause) -> None:
        """End the connection."""


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
        self._notes = Notes(limits, say)
        #: Each open connection, and since when something of an answer stands unread.
        self._open: dict[Member, float | None] = {}
        # A dict serves as a set that keeps its order: what has waited longest comes first.
        self._waiting: dict[Member, None] = {}
        self._by_network: defaultdict[str, set[Member]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is open, and nothing left to say."""
        return not self._open and self._notes.is_empty

    def admit(self, member: Member) -> Cause | None:
        """Take in a new connection; close the one that has waited longest if there are too many.

        Returns why it cannot be served, if all others are being answered.
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
        """Note that a connection has entered its next phase."""
        self._waiting.pop(member, None)
        if member in self._open and member.phase is not Phase.ANSWER:
            self._waiting[member] = None

    def leave(self, member: Member) -> None:
        """Note that a connection is closed; idempotent."""
        self._open.pop(member, None)
        self._waiting.pop(member, None)
        of_network = self._by_network.get(member.network or "", set())
        of_network.discard(member)
        if not of_network:
            self._by_network.pop(member.network or "", None)

    def note(self, member: Member, cause: Cause) -> None:
        """Count what will be said of a connection that was closed or not served."""
        self._notes.count(cause, member.peer)

    def look(self, now: float) -> None:
        """Close what has missed a deadline, and say what was closed."""
        for member in list(self._open):
            unread_since = self._unread_since(member, now)
            cause = overdue(member, self.limits, unread_since=unread_since, now=now)
            if cause is not None:
                self._end(member, cause)
        self._notes.flush(now)

    def _unread_since(self, member: Member, now: float) -> float | None:
        if not member.unread:
            self._open[member] = None
            return None
        # Nobody asks for the next thing before they have read the last one.
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
        self.leave(member)
        self.note(member, cause)
        member.close(cause)


class Notes:
    """Says what was closed, one line for many: at once, and then once a minute for each cause."""

    def __init__(self, limits: Limits, say: Callable[[str], object]) -> None:
        self._limits = limits
        self._say = say
        self._counts: dict[Cause, int] = {}
        self._peers: dict[Cause, str] = {}
        self._said_at: dict[Cause, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to say."""
        return not self._counts

    def count(self, cause: Cause, peer: str) -> None:
        """Add one connection."""
        self._counts[cause] = self._counts.get(cause, 0) + 1
        self._peers[cause] = peer

    def flush(self, now: float) -> None:
        """Say what was counted, unless a line of that kind was said less than a minute ago."""
        for cause in list(self._counts):
            said_at = self._said_at.get(cause)
            if said_at is None or now - said_at >= _SAY_SECONDS:
                self._said_at[cause] = now
                self._say(self._sentence(cause, self._counts.pop(cause)))

    def _sentence(self, cause: Cause, count: int) -> str:
        which = "a connection" if count == 1 else f"{count:,} connections, the last one"
        hint = ""
        if cause is Cause.NETWORK:
            hint = " If that is your own proxy, name it in trusted_proxies."
        reason = cause.value.format(self._limits)
        return f"Closed {which} from {self._peers[cause] or 'unknown'}: {reason}.{hint}"
