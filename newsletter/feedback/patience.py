"""A deadline for whole conversations with a mail server.

A socket's own timeout restarts with each piece that arrives, so that a server that sends a few
octets now and then would never reach it.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

#: Timeout of connecting, and of each read and write.
TIMEOUT_SECONDS = 60.0
#: Seconds within which a batch may still be finished after a request to stop.
GRACE_SECONDS = 10.0


class Patience:
    """A deadline after `seconds` in all, or soon after `is_stopped` returns true."""

    def __init__(
        self, seconds: float = math.inf, is_stopped: Callable[[], bool] = lambda: False
    ) -> None:
        self._until = time.monotonic() + seconds
        self._is_stopped = is_stopped

    def left(self) -> float:
        """Return the timeout of the next read in seconds; TimeoutError after the deadline."""
        now = time.monotonic()
        if self._is_stopped():
            # `min`, so that later calls do not extend the deadline.
            self._until = min(self._until, now + GRACE_SECONDS)
        if now >= self._until:
            raise TimeoutError("it takes too long")
        return min(self._until - now, TIMEOUT_SECONDS)

    def holding(self, connection: socket.socket) -> socket.socket:
        """Return a socket whose reads and writes end at this deadline."""
        if isinstance(connection, _Held):
            # A TLS socket made by `context` has the deadline already.
            return connection
        held = _Held(fileno=connection.detach())
        held.patience = self
        return held

    def context(self) -> ssl.SSLContext:
        """Return a TLS context whose sockets end at this deadline, too."""
        context = ssl.create_default_context()
        # A subclass with the deadline as attribute, because the context creates the sockets itself
        # and reads from them (handshake) before anything could be set on them.
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
