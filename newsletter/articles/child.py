"""The child process that parses documents, one after another, with limits on time and memory.

Only `newsletter.articles.sandbox` starts it. It inherits nothing but descriptor 0, its end of a
socket pair: no other descriptor, terminal or setting. It exits when that socket closes. A frame is
a length of four octets (network order) and the data. A request is two frames: the arguments of
`parse` as JSON, then the document. A response is one frame of JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

#: The exit code when a document needs more memory than the limit.
OUT_OF_MEMORY = 71

_LENGTH = struct.Struct("!I")
_CHUNK = 1 << 20


class Peer(Protocol):
    """The methods of a socket that frames need."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...


def main() -> None:
    """Serve the parent until it closes the socket.

    argv: seconds of processor time per document, octets of address space.
    """
    seconds, octets = map(int, sys.argv[1:3])
    # Signals that the parent blocks or ignores are inherited, and have to be reset.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_AS", octets)
    with socket.socket(fileno=0) as parent:
        while (label := receive(parent)) is not None:
            body = receive(parent)
            assert body is not None
            # RLIMIT_CPU counts from the start of the process, so it is raised for each document.
            used = resource.getrusage(resource.RUSAGE_SELF)
            _limit("RLIMIT_CPU", int(used.ru_utime + used.ru_stime) + seconds)
            with _ending_with(parent):
                answer = _answer(json.loads(label), body)
            send(parent, answer)


def send(peer: Peer, data: bytes) -> None:
    """Send a frame."""
    peer.sendall(_LENGTH.pack(len(data)))
    peer.sendall(data)


def receive(peer: Peer, limit: int | None = None) -> bytes | None:
    """Return the next frame, or None if the other side has closed.

    Raises ValueError for one that is longer than `limit` octets, EOFError for one that is cut off.
    """
    head = _read(peer, _LENGTH.size)
    if not head:
        return None
    (length,) = _LENGTH.unpack(head)
    if limit is not None and length > limit:
        raise ValueError(length)
    return _read(peer, length)


def _read(peer: Peer, length: int) -> bytes:
    """Return exactly `length` octets, or none if the socket is closed; EOFError for fewer."""
    found = bytearray()
    while len(found) < length:
        chunk = peer.recv(min(_CHUNK, length - len(found)))
        if not chunk:
            if found:
                raise EOFError
            return b""
        found += chunk
    return bytes(found)


@contextmanager
def _ending_with(parent: socket.socket) -> Iterator[None]:
    """Terminate this process as soon as the parent is gone, even within a long computation.

    A parent that is killed closes its socket, and the default action of SIGIO, requested here with
    O_ASYNC, terminates the process (on Linux; elsewhere the limits do). PR_SET_PDEATHSIG does not
    fit: it fires when the thread that started the child ends, which is before the fetch does.
    """
    flags = fcntl.fcntl(parent, fcntl.F_GETFL)
    fcntl.fcntl(parent, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(parent, fcntl.F_SETFL, flags | os.O_ASYNC)
    # The parent sends nothing before a response: a readable socket means that it is closed.
    if select.select([parent], [], [], 0)[0]:
        os._exit(0)
    yield
    fcntl.fcntl(parent, fcntl.F_SETFL, flags)


def _answer(label: dict[str, Any], body: bytes) -> bytes:
    from newsletter.articles import parse  # noqa: PLC0415 - the parent needs only the frames
    from newsletter.errors import FeedError  # noqa: PLC0415

    try:
        feed = parse.parse(body, **label)
        return json.dumps({"feed": asdict(feed)}, default=datetime.isoformat).encode()
    except MemoryError:
        # The interpreter's state is unreliable after a MemoryError.
        os._exit(OUT_OF_MEMORY)
    except FeedError as exc:
        return json.dumps({"error": exc.message, "hint": exc.hint}).encode()
    except Exception as exc:  # noqa: BLE001 - any failure is reported as one of this document
        name = type(exc).__name__
        return json.dumps({"failure": name, "trace": traceback.format_exc()[-4_000:]}).encode()


def _limit(name: str, value: int) -> None:
    """Lower a limit of this process; does nothing if the system has no such limit."""
    kind = getattr(resource, name, None)
    if kind is None:
        return
    try:
        _, hard = resource.getrlimit(kind)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, hard))
    except (OSError, ValueError):
        pass
