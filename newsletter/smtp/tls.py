"""TLS to relays: one certificate store for all connections, and sessions that are resumed.

Reading the machine's certificate store takes 40 ms of processor time, and a full handshake 3 to
4 ms. A handshake that resumes a session takes 1 ms, and with TLS 1.2 one round trip less (RFC 5077,
RFC 8446 2.2). That matters with relays that close a connection after a number of messages.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

#: Seconds for which a context is used.
_LONGEST_SECONDS = 3600


class _Resuming(ssl.SSLObject):
    """A TLS connection that resumes the last session with its server; a subclass has `sessions`."""

    sessions: dict[str | None, ssl.SSLSession]
    _has_begun = False

    def do_handshake(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            # Sessions are stored only after the certificate was verified. If the server declines
            # the session, the handshake is a full one.
            if (known := self.sessions.get(self.server_hostname)) is not None:
                self.session = known
        super().do_handshake()

    def remember(self) -> None:
        """Store the session for the next connection to this server."""
        if self.session is not None:
            self.sessions[self.server_hostname] = self.session


class Trust:
    """The certificate store for relays, and the last TLS session of each relay.

    `given` replaces the certificate store of the machine; `clock` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        given: ssl.SSLContext | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = given
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._made_at = 0.0
        self._sessions: dict[str | None, ssl.SSLSession] = {}

    @property
    def context(self) -> ssl.SSLContext:
        """The context of the next connection; raises OSError if it cannot be made.

        A new context is made after an hour: the store may have changed, and a session that is
        resumed repeatedly would outlive the certificate of its first handshake (RFC 8446 4.6.1).
        """
        if self._context is None or self._clock() - self._made_at > _LONGEST_SECONDS:
            self._made_at = self._clock()
            self._context = self._given or ssl.create_default_context()
            self._sessions = {}
            of_context = {"sessions": self._sessions}
            self._context.sslobject_class = type("Resuming", (_Resuming,), of_context)
        return self._context

    def remember(self, transport: asyncio.Transport) -> None:
        """Keep the TLS session of a connection for the next one to the same relay.

        With TLS 1.3 the session arrives with the first response after the handshake.
        """
        connection = transport.get_extra_info("ssl_object")
        if isinstance(connection, _Resuming):
            connection.remember()

    def forget(self, host: str) -> None:
        """Drop the session of a relay after a failed connection, as it may be the cause."""
        self._sessions.pop(host, None)

    def renew(self) -> None:
        """Make the next connection read the certificate store again."""
        self._context = None
