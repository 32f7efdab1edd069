"""Ports that commands listen on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from newsletter.errors import InvalidInput


def listening(host: str, port: int, *, option: str = "--port") -> list[socket.socket]:
    """Listen on a port, at each address of a host; raises InvalidInput if that fails.

    `option` is the one that chooses the port.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places = dict.fromkeys((family, address[:2]) for family, *_, address in found)
        return [socket.create_server(place, family=family) for family, place in places]
    except (OSError, UnicodeError) as exc:
        if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
            raise InvalidInput(
                f"Port {port} of {host} is taken: another program serves there.",
                hint=f"End that one, or choose another port with {option}.",
            ) from exc
        reason = exc.strerror if isinstance(exc, OSError) else "it is no host"
        raise InvalidInput(
            f"Port {port} of {host} cannot be listened on: {reason}.",
            hint=f"Choose others with --host and {option}; ports below 1024 are root's alone.",
        ) from exc


def url(sockets: Sequence[socket.socket]) -> str:
    """Return the URL of the first of the sockets."""
    host, port = sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
