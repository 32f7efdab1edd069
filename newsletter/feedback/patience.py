"""How long a mail server is waited for, also one that sends a few octets now and then.

A socket's own timeout is for each piece that arrives; such a server would never reach it.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

#: For the connection and for each piece of an answer.
TIMEOUT_SECONDS = 60.0
#: How long a batch may still take after it was asked to stop.
GRACE_SECONDS = 10.0


class Patience:
    """Ends after so many seconds in all, and soon after `is_stopped` is true."""

    def __init__(
        self, seconds: float = math.inf, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._until = time.monotonic() + seconds
        self._is_stopped = is_stopped

    def left(self) -> float:
        """Return how many seconds the next octets may take; raises TimeoutError after the end."""
        now = time.monotonic()
        if self._is_stopped():
            # Later calls do not put it off.
            self._until = min(self._until, now + GRACE_SECONDS)
        if now >= self._until:
            raise TimeoutError("it takes too long")
        return min(self._until - now, TIMEOUT_SECONDS)

    def holding(self, connection: socket.socket) -> socket.socket:
        """Return a connection whose every read ends with this patience."""
        if isinstance(connection, _Held):
            # By `context`.
            return connection
        held = _Held(fileno=connection.detach())
        held.patience = self
        return held

    def context(self) -> ssl.SSLContext:
        """Return a context of TLS whose connections end with this patience, too."""
        context = ssl.create_default_context()
        # A class of its own: the context makes the connections, and some are read at once.
        context.sslsocket_class = type("_HeldTls", (_Held, ssl.SSLSocket), {"patience": self})
        return context


class _Held(socket.socket):
    patience: Patience

    def recv(self, *arguments: Any) -> bytes:  # noqa: ANN401 - as the library has it
        self.settimeout(self.patience.left())
        return super().recv(*arguments)

    def recv_into(self, *arguments: Any) -> int:  # noqa: ANN401 - as the library has it
        self.settimeout(self.patience.left())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:  # noqa: ANN401 - as the library has it
        self.settimeout(self.patience.left())
        super().sendall(*arguments)
