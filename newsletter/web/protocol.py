"""uvicorn's HTTP/1.1 protocol with deadlines, a limit of connections, and strict framing.

uvicorn itself has no timeout for the rest of a request, or for a peer that does not read responses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from newsletter.web import peers
from newsletter.web.connections import Cause, Connections, Phase
from newsletter.web.peers import Proxies

#: Seconds after which a closing connection with unread octets is aborted.
_FLUSH_SECONDS = 5.0
_ENDING = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request" + _ENDING
_TIMEOUT = b"HTTP/1.1 408 Request Timeout" + _ENDING
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5" + _ENDING


class Guard(Connections):
    """The connections of a server, with a periodic check of deadlines while there are any."""

    _is_scheduled = False

    def protocols(self, proxies: Proxies) -> Callable[..., GuardedProtocol]:
        """Return the factory of the server's protocols, for uvicorn's option `http`."""
        return partial(GuardedProtocol, guard=self, proxies=proxies)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check the deadlines from now on, until no connection is open."""
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_later(self.limits.check_seconds, self._check_again, loop)

    def _check_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        self.check(loop.time())
        if not self.is_quiet:
            self.start(loop)


class GuardedProtocol(H11Protocol):
    """One HTTP connection."""

    def __init__(self, *, guard: Guard, proxies: Proxies, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**named)
        self.guard, self.proxies = guard, proxies
        self.conn = _StrictConnection(h11.SERVER)
        self.peer: str = ""
        self.network: str | None = None
        self.phase, self.since = Phase.HEAD, self.loop.time()
        self._noted = (self.phase, self.cycle)
        self._flush: asyncio.TimerHandle | None = None

    @property
    def unread(self) -> int:
        """Octets of responses in the write buffer."""
        return self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self.network = None if self.peer in self.proxies else peers.home(self.peer)
        cause = self.guard.admit(self)
        self.guard.start(self.loop)
        if cause is not None:
            self._end(_UNAVAILABLE)

    def connection_lost(self, exc: Exception | None) -> None:
        self.guard.remove(self)
        if self._flush is not None:
            self._flush.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note_phase()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note_phase()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - one sentence for all
        self.guard.note(self, Cause.MALFORMED)
        self._end(_BAD_REQUEST if self._may_answer else b"")

    def close(self, cause: Cause) -> None:
        """Close the connection, with a response if a request has begun and none was sent."""
        if self.unread:
            self.transport.abort()
        elif self._may_answer and self._has_begun:
            self._end(_UNAVAILABLE if cause in {Cause.NETWORK, Cause.ROOM} else _TIMEOUT)
        else:
            self._end(b"")

    @property
    def _may_answer(self) -> bool:
        return self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    @property
    def _has_begun(self) -> bool:
        return self.phase is Phase.BODY or bool(self.conn.trailing_data[0])

    def _end(self, answer: bytes) -> None:
        """Send the last octets and close; output of a still running application is dropped."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(answer)
        self.transport.close()
        if answer and self._flush is None:
            # close() waits for the write buffer, which a peer that does not read would delay.
            self._flush = self.loop.call_later(_FLUSH_SECONDS, self.transport.abort)

    def _note_phase(self) -> None:
        """Start the next deadline when a request, or the next part of it, begins."""
        noted = (_phase(self.conn), self.cycle)
        if noted != self._noted and not self.transport.is_closing():
            self._noted = noted
            self.phase, self.since = noted[0], self.loop.time()
            self.guard.moved(self)

    def _should_upgrade(self) -> bool:
        # WebSockets are not supported; the base class would log each request for one.
        return False


class _StrictConnection(h11.Connection):
    """Refuses ambiguous framing that h11 accepts (request smuggling behind a proxy)."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request) and is_ambiguous(event):
            raise h11.RemoteProtocolError("the end of this request is not certain")
        return event


def is_ambiguous(request: h11.Request) -> bool:
    """Return whether parsers may disagree on the end of a request (RFC 9112 6.1, 6.3)."""
    names = {name for name, _ in request.headers}
    if request.http_version not in {b"1.0", b"1.1"}:
        return True
    is_chunked = b"transfer-encoding" in names
    return is_chunked and (b"content-length" in names or request.http_version == b"1.0")


def _phase(conn: h11.Connection) -> Phase:
    if conn.their_state is h11.SEND_BODY:
        return Phase.BODY
    return Phase.HEAD if conn.their_state is h11.IDLE else Phase.ANSWER
