"""Servers that misbehave below the protocol: proxies that cut or slow, and scripted responses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut(port: int, *, after: int) -> Iterator[int]:
    """Forward connections to a port, and close each after a number of octets of the server."""

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            up = threading.Thread(target=_copy, args=(client, server, None), daemon=True)
            up.start()
            _copy(server, client, after)
            for one in (client, server):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            up.join(10)

    with _listening(serve) as found:
        yield found


@contextmanager
def slowed(port: int, *, after: int) -> Iterator[int]:
    """Forward connections to a port; after some octets of the server, send one every 20 ms."""

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            up = threading.Thread(target=_copy, args=(client, server, None), daemon=True)
            up.start()
            _copy(server, client, after)
            with suppress(OSError):
                while octet := server.recv(1):
                    time.sleep(0.02)
                    client.sendall(octet)
            for one in (client, server):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            up.join(10)

    with _listening(serve) as found:
        yield found


@contextmanager
def saying(*answers: bytes, is_endless: bool = False) -> Iterator[int]:
    """Greet with the first response, and send the next one for each line; then close.

    `%TAG%` in a response is replaced by the first word of the line. With `is_endless`, the last
    response is repeated until the client disconnects.
    """

    def serve(client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, suppress(OSError):
            client.sendall(answers[0])
            for answer in answers[1:]:
                line = lines.readline()
                tag = next(iter(line.split()), b"")
                client.sendall(answer.replace(b"%TAG%", tag))
            while is_endless:
                client.sendall(answers[-1])

    with _listening(serve) as found:
        yield found


@contextmanager
def _listening(serve: object) -> Iterator[int]:
    assert callable(serve)
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    thread = threading.Thread(target=serve, args=(client,), daemon=True)
                    thread.start()
                    threads.append(thread)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        # Shut down first, because closing the socket does not wake a thread in `accept`.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
    for thread in threads:
        thread.join(10)


def _copy(source: socket.socket, target: socket.socket, room: int | None) -> None:
    with suppress(OSError):
        while data := source.recv(65_536 if room is None else min(room, 65_536) or 1):
            if room is not None:
                data = data[:room]
                room -= len(data)
            target.sendall(data)
            if room == 0:
                return
