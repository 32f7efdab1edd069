"""A DNS server for tests on loopback, over UDP and TCP, with a zone and faults by name."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, Mapping[str, Sequence[str]]]


class Fault(Enum):
    """A fault instead of a correct answer to a query for a name."""

    SILENT = auto()
    SERVFAIL = auto()
    REFUSED = auto()
    #: The UDP answer is truncated; TCP has the whole answer.
    TRUNCATED = auto()
    #: Answers over UDP and TCP are truncated.
    TRUNCATED_ALWAYS = auto()
    #: A lame server: an empty answer that only refers to other servers.
    LAME = auto()
    GARBAGE = auto()
    #: The UDP answer is truncated, and the TCP connection is closed without an answer.
    HANGS_UP = auto()


class DnsServer:
    """Answers from a zone, except for names with a fault (* for all names).

    Texts of TXT records are split into strings of 255 octets.
    """

    def __init__(self, zone: Zone, faults: Mapping[str, Fault]) -> None:
        self._zone = {name.lower(): records for name, records in zone.items()}
        self._faults = {name.lower(): fault for name, fault in faults.items()}
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._bind()
        self._tcp.listen(16)
        #: The received queries, such as "example.org TXT udp".
        self.asked: list[str] = []
        self._threads = [
            threading.Thread(target=serve, daemon=True)
            for serve in (self._datagrams, self._streams)
        ]

    @property
    def nameserver(self) -> tuple[str, int]:
        """The address of the server, as an argument of Resolver."""
        return "127.0.0.1", self._udp.getsockname()[1]

    def start(self) -> None:
        """Start the threads of the server."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close the sockets and wait for the threads."""
        # Shutting down wakes the threads; closing alone does not.
        for server in (self._udp, self._tcp):
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self._udp.sendto(b"", self._udp.getsockname())
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()

    def _bind(self) -> None:
        """Bind a port that is free for UDP and TCP."""
        for _ in range(50):
            self._udp.bind(("127.0.0.1", 0))
            try:
                self._tcp.bind(self._udp.getsockname())
            except OSError:
                self._udp.close()
                self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                continue
            return
        raise OSError("no port is free for UDP and TCP")

    def _datagrams(self) -> None:
        while True:
            try:
                octets, peer = self._udp.recvfrom(65_535)
            except OSError:
                return
            if not octets:
                return
            if reply := self._reply(octets, is_tcp=False):
                self._udp.sendto(reply, peer)

    def _streams(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection, suppress(OSError, struct.error):
                (length,) = struct.unpack("!H", connection.recv(2))
                if reply := self._reply(connection.recv(length), is_tcp=True):
                    connection.sendall(struct.pack("!H", len(reply)) + reply)

    def _reply(self, octets: bytes, *, is_tcp: bool) -> bytes | None:
        query = dns.message.from_wire(octets)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{name} {kind} {'tcp' if is_tcp else 'udp'}")
        reply = dns.message.make_response(query, recursion_available=True)
        match self._faults.get(name, self._faults.get("*")):
            case Fault.SILENT:
                return None
            case Fault.GARBAGE:
                return octets[:2] + b"\xff" * 40
            case Fault.SERVFAIL:
                reply.set_rcode(dns.rcode.SERVFAIL)
            case Fault.REFUSED:
                reply.set_rcode(dns.rcode.REFUSED)
            case Fault.LAME:
                reply.flags &= ~dns.flags.RA
            case Fault.HANGS_UP if is_tcp:
                return None
            case Fault.TRUNCATED_ALWAYS:
                reply.flags |= dns.flags.TC
            case Fault.TRUNCATED | Fault.HANGS_UP if not is_tcp:
                reply.flags |= dns.flags.TC
            case _:
                self._fill(reply, name, kind)
        try:
            return reply.to_wire(max_size=65_535 if is_tcp else 1_232)
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire()

    def _fill(self, reply: dns.message.Message, name: str, kind: str) -> None:
        """Add the records of a name to a reply, after its aliases."""
        for _ in range(20):
            records = self._zone.get(name)
            if records is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                return
            shown = "CNAME" if "CNAME" in records and kind != "CNAME" else kind
            texts = records.get(shown, [])
            if texts:
                values = map(_quoted, texts) if shown == "TXT" else texts
                reply.answer.append(dns.rrset.from_text_list(f"{name}.", 60, "IN", shown, values))
            if shown == kind:
                return
            name = texts[0].removesuffix(".").lower()


def _quoted(text: str) -> str:
    """Return the strings of a TXT record in zone file syntax; each character is one octet."""
    strings = [text[at : at + 255] for at in range(0, len(text), 255)] or [""]
    return " ".join(f'"{"".join(map(_escaped, string))}"' for string in strings)


def _escaped(character: str) -> str:
    is_plain = character.isascii() and character.isprintable() and character not in '"\\'
    return character if is_plain else f"\\{ord(character):03d}"


@contextmanager
def serving(zone: Zone, **faults: Fault) -> Iterator[DnsServer]:
    """Run a server during the block; the keywords of faults have __ instead of dots."""
    server = DnsServer(zone, {name.replace("__", "."): fault for name, fault in faults.items()})
    server.start()
    try:
        yield server
    finally:
        server.stop()
