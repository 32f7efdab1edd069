"""TLS to relays: one certificate store for all connections, and sessions that are resumed.

Reading the store of the machine takes 40 ms of a processor, and a full handshake 3 to 4 ms; one
that resumes a session takes 1 ms, and with TLS 1.2 a round trip less (RFC 5077, RFC 8446 2.2). That
counts where relays close a connection after a number of messages.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cached_property


class _Resuming(ssl.SSLObject):
    """Begins its handshake with the last session of its server; a subclass has the sessions."""

    sessions: dict[str | None, ssl.SSLSession]
    _has_begun = False

    def do_handshake(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            # Only of a server whose certificate was verified. One that declines makes a full
            # handshake.
            if (known := self.sessions.get(self.server_hostname)) is not None:
                self.session = known
        super().do_handshake()

    def remember(self) -> None:
        """Keep the session for the next connection to this server."""
        if self.session is not None:
            self.sessions[self.server_hostname] = self.session


class Trust:
    """What the certificates of relays are verified by, and the last TLS session of each relay.

    `context` replaces the certificate store of the machine.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context of every connection; the store is read when it is first asked for."""
        context = self._context or ssl.create_default_context()
        context.sslobject_class = type("Resuming", (_Resuming,), {"sessions": {}})
        return context

    def remember(self, transport: asyncio.Transport) -> None:
        """Keep the TLS session of a connection for the next one to the same relay.

        With TLS 1.3 it arrives with the first answer after the handshake.
        """
        connection = transport.get_extra_info("ssl_object")
        if isinstance(connection, _Resuming):
            connection.remember()
