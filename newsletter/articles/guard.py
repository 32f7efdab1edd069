"""Restricts the network addresses of feeds, checked where the connection is made (SSRF).

A name is resolved once, its addresses are checked, and the connection goes to a checked address:
without a second look-up, DNS rebinding has no effect. TLS verifies the host name as usual.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpcore
import httpx

from newsletter.errors import FeedError

#: From a host name and a port to addresses: the system's resolver, or a double in tests.
Resolver = Callable[[str, int], list[str]]
#: A monotonic clock in seconds.
Clock = Callable[[], float]

#: The connect timeout of one address, so that an unreachable one leaves time for the next.
CONNECT_SECONDS = 10.0

# The IANA special-purpose registries (RFC 6890 and its updates), written out: `is_global` of the
# standard library differs between releases of Python.
_CLOSED_4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata services of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",
        ),
    )
)
_OPEN_6 = ip_network("2000::/3")
_CLOSED_6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments, Teredo among them
            "2001:db8::/32",
            "2002::/16",  # 6to4, which embeds an IPv4 address
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
# RFC 6052: on a network without IPv4, DNS64 embeds IPv4 addresses in this prefix.
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an IP address is a public unicast address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        return _is_public_6(parsed)
    return not any(parsed in network for network in _CLOSED_4)


def _is_public_6(address: IPv6Address) -> bool:
    embedded = address.ipv4_mapped
    if embedded is None and address in _NAT64:
        embedded = IPv4Address(int(address) & 0xFFFFFFFF)
    if embedded is not None:
        return is_public(str(embedded))
    return address in _OPEN_6 and not any(address in network for network in _CLOSED_6)


def resolve(host: str, port: int) -> list[str]:
    """Resolve with the system's resolver; raises OSError if there is no address."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Deadline:
    """The deadline of a whole fetch, which bounds the timeout of each step."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def within(self, timeout: float | None) -> float:
        """Return a timeout that ends before the deadline; raises FeedError after it."""
        left = self._end - self._clock()
        if left <= 0:
            raise self.passed()
        return left if timeout is None else min(left, timeout)

    def passed(self) -> FeedError:
        """Return the error for a fetch that took too long."""
        return FeedError(
            f"The feed took longer than {self._seconds:g} seconds.",
            hint="Try again later; if it stays so, ask its publisher for a smaller feed.",
        )


class Guard(httpcore.NetworkBackend):
    """Connects to public addresses only, unless `allow_private`, within the deadline."""

    def __init__(self, deadline: Deadline, *, allow_private: bool, resolver: Resolver) -> None:
        self._deadline = deadline
        self._allow_private = allow_private
        self._resolver = resolver
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check, and connect to the first allowed address that accepts."""
        failure: httpcore.NetworkError | httpcore.TimeoutException | None = None
        for address in self._checked(host, port):
            wait = min(self._deadline.within(timeout), CONNECT_SECONDS)
            try:
                stream = self._plain.connect_tcp(address, port, wait, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
            else:
                return _TimedStream(stream, self._deadline)
        raise failure or httpcore.ConnectError("no address")

    def _checked(self, host: str, port: int) -> list[str]:
        found = self._resolved(host, port)
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if not allowed:
            raise FeedError(
                f"{host} is an address of this machine or of a private network, "
                "and feeds are not read from there.",
                hint="If this feed is yours, set feed_private_networks to true.",
            )
        return allowed

    def _resolved(self, host: str, port: int) -> list[str]:
        """Resolve in a thread, because the system's resolver has no timeout."""
        answer: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._resolver(host, port))
            except (OSError, UnicodeError) as exc:
                answer.put(exc if isinstance(exc, OSError) else OSError(str(exc)))

        threading.Thread(target=ask, name="feed-resolver", daemon=True).start()
        try:
            found = answer.get(timeout=self._deadline.within(None))
        except queue.Empty:
            raise self._deadline.passed() from None
        if isinstance(found, OSError) or not found:
            raise FeedError(
                f"The host name {host} has no address.",
                hint="Check the spelling of the URL and this machine's DNS.",
            )
        return found


class _TimedStream(httpcore.NetworkStream):
    """A connection with all timeouts bounded by the deadline, against slow responses."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        wait = self._deadline.within(timeout)
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, wait), self._deadline
        )

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport over a given network backend."""

    def __init__(self, network: httpcore.NetworkBackend, tls: ssl.SSLContext) -> None:
        self._pool = httpcore.ConnectionPool(ssl_context=tls, network_backend=network)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; raises httpcore's errors."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()
