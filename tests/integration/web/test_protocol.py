"""Slow, greedy and malformed peers on real sockets, with short deadlines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from journey import free_port, until
from starlette.types import Receive, Scope, Send

from newsletter.web.connections import Limits
from newsletter.web.peers import Proxies
from newsletter.web.protocol import Guard

FAR = 3_600.0
QUICK = {"check_seconds": 0.05}
GET = b"GET / HTTP/1.1\r\nHost: news.miasfeed.example\r\n\r\n"
LARGE = 20_000_000


@dataclass
class Server:
    """A server whose application reads the body, and responds with `octets`."""

    port: int
    said: list[str] = field(default_factory=list)
    octets: int = 2
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        while scope["path"] != "/unread":
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if not message.get("more_body"):
                break
        length = str(self.octets).encode()
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self.octets})

    def connect(self, *, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 30, source_address=(source, 0))

    def ask(self, octets: bytes = GET, **more: str) -> bytes:
        """Send octets, and return the response up to the end of the connection."""
        with self.connect(**more) as peer:
            peer.sendall(octets)
            if octets.endswith(GET):
                peer.shutdown(socket.SHUT_WR)
            return read(peer)


def read(peer: socket.socket) -> bytes:
    found = b""
    try:
        while some := peer.recv(65_536):
            found += some
    except ConnectionResetError:
        pass
    return found


Start = Callable[..., Server]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """Each event loop in turn, since their transports differ."""
    name: str = request.param
    if name == "uvloop":
        pytest.importorskip("uvloop")
    return name


@pytest.fixture
def start(loop: str) -> Iterator[Start]:
    """Start a server with some limits lowered and the others disabled."""
    with ExitStack() as stack:

        def start(*, trusted: tuple[str, ...] = (), **lowered: float) -> Server:
            far = {"head_seconds": FAR, "body_seconds": FAR, "unread_seconds": FAR}
            return stack.enter_context(_running(loop, trusted, Limits(**far | QUICK | lowered)))

        yield start


@contextmanager
def _running(loop: str, trusted: tuple[str, ...], limits: Limits) -> Iterator[Server]:
    found = Server(free_port())
    config = uvicorn.Config(
        found,
        host="127.0.0.1",
        port=found.port,
        loop=loop,  # type: ignore[arg-type]
        http=Guard(limits, say=found.said.append).protocols(Proxies(trusted)),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_level="error",
        timeout_keep_alive=int(FAR),
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield found
    finally:
        server.should_exit = True
        thread.join(30)


def dribble(peers: list[socket.socket], octet: bytes = b"x") -> int:
    """Send one more octet on each connection; return how many are still open."""
    left = 0
    for peer in peers:
        try:
            peer.sendall(octet)
            left += 1
        except OSError:
            pass
    return left


@pytest.mark.parametrize(
    ("networks", "reason"), [(1, "more than 50 from one network"), (3, "more than 100 in all")]
)
def test_300_slow_connections_do_not_block_a_reader(
    start: Start, networks: int, reason: str
) -> None:
    server = start(connections=100, per_network=50)
    with ExitStack() as stack:
        slow = []
        for number in range(300):
            peer = stack.enter_context(server.connect(source=f"127.0.1.{1 + number % networks}"))
            peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
            slow.append(peer)
            if number % 50 == 0:
                dribble(slow)
                assert server.ask(source="127.0.2.1").startswith(b"HTTP/1.1 200")
        dribble(slow)
        assert server.ask(source="127.0.1.1").startswith(b"HTTP/1.1 200")
        until(lambda: dribble(slow) <= 100)
        until(lambda: server.said)
        assert len(server.said) == 1
        assert reason in server.said[0]


def test_an_incomplete_head_gets_408_and_is_closed(start: Start) -> None:
    server = start(head_seconds=0.2)
    with server.connect() as silent, server.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHos")

        assert read(slow).startswith(b"HTTP/1.1 408 ")
        # Browsers open connections in advance: without a request there is no response.
        assert read(silent) == b""
    until(lambda: server.said)
    assert "2 connections" in server.said[0] or "a connection from 127.0.0.1" in server.said[0]
    assert server.said[0].endswith("no whole request within 0.2 s.")
    assert server.asked == []


def test_a_second_request_that_does_not_end_is_closed_like_the_first(start: Start) -> None:
    server = start(head_seconds=0.2)
    with server.connect() as peer:
        peer.sendall(GET + b"GET / HT")

        answers = read(peer)

    assert answers.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408 " in answers


@pytest.mark.parametrize(
    "body",
    [b"Content-Length: 100\r\n\r\nhalf of", b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf of"],
    ids=["length", "chunked"],
)
def test_an_incomplete_body_gets_408_and_is_closed(start: Start, body: bytes) -> None:
    server = start(body_seconds=0.2)

    answer = server.ask(b"POST / HTTP/1.1\r\nHost: a\r\n" + body)

    assert answer.startswith(b"HTTP/1.1 408 ")
    until(lambda: server.said)
    assert server.said[0].endswith("no whole request body within 0.2 s.")


def test_a_body_that_goes_on_after_the_answer_ends_with_the_deadline(start: Start) -> None:
    server = start(body_seconds=0.3)
    with server.connect() as peer:
        peer.sendall(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\nxx")
        until(lambda: dribble([peer], b"x" * 1_000) == 0)
    until(lambda: server.said)


def test_a_peer_that_reads_no_answer_is_closed(start: Start) -> None:
    server = start(unread_seconds=0.2)
    server.octets = LARGE
    with server.connect() as peer:
        peer.sendall(GET)
        until(lambda: server.said)

        assert server.said == [
            "Closed a connection from 127.0.0.1: the answer not read within 0.2 s."
        ]
        assert len(read(peer)) < LARGE
    server.octets = 2
    assert server.ask().startswith(b"HTTP/1.1 200")


def test_a_peer_that_pipelines_requests_and_reads_nothing_is_closed(
    start: Start,
) -> None:
    server = start(unread_seconds=0.5)
    server.octets = 100_000
    with server.connect() as peer:
        peer.settimeout(0.2)
        sent = 0
        try:
            while sent < LARGE:
                sent += peer.send(GET * 1_000)
        except OSError:
            pass
        # No more is read, and no more requests are processed, than the buffers hold.
        assert sent < LARGE
        until(lambda: server.said)
        assert len(server.asked) < 1_000


def test_a_reader_who_takes_an_answer_slowly_gets_all_of_it(start: Start) -> None:
    server = start(head_seconds=0.2, body_seconds=0.2)
    server.octets = LARGE
    assert len(server.ask()) > LARGE
    assert server.said == []


def test_a_proxy_that_is_trusted_may_open_more_than_one_network(start: Start) -> None:
    server = start(trusted=("127.0.0.1",), per_network=2)
    with ExitStack() as stack:
        through = [stack.enter_context(server.connect()) for _ in range(20)]
        for peer in through:
            peer.sendall(GET)
        assert all(peer.recv(12) == b"HTTP/1.1 200" for peer in through)
    assert server.said == []


AMBIGUOUS = {
    "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhellox",
    "two lengths in one": b"Content-Length: 5, 6\r\n\r\nhellox",
    "a signed length": b"Content-Length: +5\r\n\r\nhello",
    "a length folded": b"Content-Length: 5\r\n 5\r\n\r\nhello",
    "a blank before the colon": b"Content-Length : 5\r\n\r\nhello",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a bare CR": b"X: a\rContent-Length: 5\r\n\r\nhello",
    "two hosts": b"Host: b\r\n\r\n",
}


@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_nothing_after_it_is_read(
    start: Start, rest: bytes
) -> None:
    server = start()

    answer = server.ask(b"POST / HTTP/1.1\r\nHost: a\r\n" + rest + GET)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert server.asked == []
    until(lambda: server.said)
    assert server.said[0].endswith("what was sent is not a request (RFC 9112).")


@pytest.mark.parametrize(
    "octets",
    [
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"X" * 70_000,
    ],
    ids=["chunked in HTTP/1.0", "HTTP/2", "HTTP/1.9", "no host", "TLS", "endless"],
)
def test_what_is_no_request_of_http_1_1_is_refused(start: Start, octets: bytes) -> None:
    server = start()

    assert server.ask(octets).startswith(b"HTTP/1.1 400 ")
    assert server.asked == []


def test_a_body_that_breaks_off_in_the_middle_ends_the_request_and_logs_no_traceback(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    server = start()
    broken = (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"
    )

    assert server.ask(broken).startswith(b"HTTP/1.1 400 ")
    until(lambda: server.said)
    assert capfd.readouterr().err == ""


def test_an_upgrade_is_answered_as_a_plain_request_and_logs_nothing(
    start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    server = start()
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"

    assert server.ask(GET[:-2] + upgrade).startswith(b"HTTP/1.1 200")
    assert (server.said, capfd.readouterr().err) == ([], "")
