"""A DNS server of a test's own on loopback, over UDP and TCP, with a zone and faults by name."""

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
    """What the server does with a query for a name instead of answering it."""

    SILENT = auto()
    SERVFAIL = auto()
    REFUSED = auto()
    #: Tells by UDP that the answer does not fit; TCP has it.
    TRUNCATED = auto()
    #: Tells so by TCP, too.
    TRUNCATED_ALWAYS = auto()
    #: Neither an authority nor a resolver: an empty answer that refers to others.
    LAME = auto()
    GARBAGE = auto()
    #: Closes the connection; by UDP it tells that the answer does not fit.
    HANGS_UP = auto()


class DnsServer:
    """Answers from a zone, but for names with a fault (* for all); texts of TXT records are split.

    A string of them has 255 octets.
    """

    def __init__(self, zone: Zone, faults: Mapping[str, Fault]) -> None:
        self._zone = {name.lower(): records for name, records in zone.items()}
        self._faults = {name.lower(): fault for name, fault in faults.items()}
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._bind()
        self._tcp.listen(16)
        #: The questions, as "example.org TXT udp".
        self.asked: list[str] = []
        self._threads = [
            threading.Thread(target=serve, daemon=True)
            for serve in (self._datagrams, self._streams)
        ]

    @property
    def nameserver(self) -> tuple[str, int]:
        """Its address, as a Resolver takes it."""
        return "127.0.0.1", self._udp.getsockname()[1]

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answer no more."""
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
        """Take a port that is free for both."""
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
        """Put the records of a name into a reply, behind its aliases."""
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
    """Return a TXT record's strings as a zone file has them; a character for each octet."""
    strings = [text[at : at + 255] for at in range(0, len(text), 255)] or [""]
    return " ".join(f'"{"".join(map(_escaped, string))}"' for string in strings)


def _escaped(character: str) -> str:
    is_plain = character.isascii() and character.isprintable() and character not in '"\\'
    return character if is_plain else f"\\{ord(character):03d}"


@contextmanager
def serving(zone: Zone, **faults: Fault) -> Iterator[DnsServer]:
    """Return a server that runs for the block; names of faults have __ for dots."""
    server = DnsServer(zone, {name.replace("__", "."): fault for name, fault in faults.items()})
    server.start()
    try:
        yield server
    finally:
        server.stop()
