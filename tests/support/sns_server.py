"""A fake SNS behind an HTTPS proxy on this machine, with a certificate for the host of SNS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hook_events
import trustme


@dataclass
class SnsServer:
    """The responses of the server by path, and the requests that it got."""

    environment: dict[str, str]
    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def serve(self, path: str, body: bytes, *, status: str = "200 OK", header: str = "") -> None:
        """Set the response for a path, without its query."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{header}Connection: close\r\n"
        self.answers[path] = f"{head}\r\n".encode() + body


@contextmanager
def running(folder: Path) -> Iterator[SnsServer]:
    """Run the server; its `environment` redirects all HTTPS requests of a process to it."""
    authority = trustme.CA()
    store = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(store))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(hook_events.SNS_HOST).configure_cert(context)
    listening = socket.create_server(("127.0.0.1", 0))
    proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = SnsServer({"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(store)})
    server.serve(hook_events.CERTIFICATE_PATH, hook_events.certificate())
    thread = threading.Thread(target=_accept, args=(listening, context, server), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def _accept(listening: socket.socket, context: ssl.SSLContext, server: SnsServer) -> None:
    while True:
        try:
            peer, _ = listening.accept()
        except OSError:
            return
        with contextlib.suppress(OSError), peer:
            peer.settimeout(10)
            _answer(peer, context, server)


def _answer(peer: socket.socket, context: ssl.SSLContext, server: SnsServer) -> None:
    host = _request(peer)
    peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with context.wrap_socket(peer, server_side=True) as secure:
        path = _request(secure)
        server.asked.append(f"{host.removesuffix(':443')}{path}")
        missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        secure.sendall(server.answers.get(path.partition("?")[0], missing))


def _request(peer: socket.socket) -> str:
    """Read the head of a request; return its target."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = peer.recv(65_536)
        if not part:
            raise OSError
        head += part
    return head.split(b" ", 2)[1].decode()
