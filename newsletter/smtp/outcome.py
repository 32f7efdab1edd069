"""The outcome of one try to send a message: its result, scope and reaction."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """The phase of the SMTP session; it decides whether a lost connection is safe to retry."""

    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    #: From the first octet of the message to the reply to its final dot.
    BODY = "body"


class Kind(StrEnum):
    """The result of one try."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """What an outcome concerns. Only READER is charged to the delivery."""

    READER = "reader"
    CONNECTION = "connection"
    #: All mail to the same domain.
    DOMAIN = "domain"
    #: Everything that is sent through this relay.
    RELAY = "relay"


class Reaction(StrEnum):
    """What the worker does besides updating the delivery."""

    NOTHING = "nothing"
    #: The address does not exist: never mail it again.
    SUPPRESS = "suppress"
    #: The address may not exist: suppress it after the same reply at least three days later.
    SUSPECT = "suspect"
    #: The mailbox is full: count a soft bounce.
    COUNT = "count"
    #: The destination has trouble: fewer concurrent messages.
    SLOW = "slow"
    #: The destination limits our rate: pause it, then one message at a time.
    PAUSE = "pause"
    #: A policy of the destination: if it refuses every reader, stop sending to it.
    BREAK = "break"
    #: The mail of every reader may be affected: notify the operator.
    ALARM = "alarm"
    #: Every further try would fail the same way: stop using the relay and notify the operator.
    STOP = "stop"


class Outcome(NamedTuple):
    """The result of one try, and its consequences."""

    kind: Kind
    phase: Phase
    scope: Scope = Scope.READER
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    reaction: Reaction = Reaction.NOTHING

    @property
    def is_charged(self) -> bool:
        """Whether this try counts as an attempt of the delivery."""
        return self.scope is Scope.READER
