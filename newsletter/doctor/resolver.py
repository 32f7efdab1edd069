"""Look-ups in DNS; the other modules of the DNS checks do not use the network.

Queries, time and the size of answers are limited, because names and answers come from others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.reversename

from newsletter.doctor.records.answers import Answer, Kind
from newsletter.errors import ConfigurationError

#: Maximum of queries in one run.
MAXIMUM_QUERIES = 300
#: Time-outs in seconds: for one answer of one name server, all tries of a query, and a run. The
#: first is short, because a datagram may be lost, and one of several name servers may be dead.
_TIMEOUT, _LIFETIME, _PATIENCE = 0.8, 7.0, 60.0
#: Name servers that have never answered are given up after so many queries, of so many seconds:
#: enough to ask each of three, which is the most in /etc/resolv.conf.
_SILENT, _FIRST_LIFETIME = 2, 2.5
#: Maximum of records of one answer, and of their characters together.
_RECORDS, _CHARACTERS = 400, 100_000
_PORT = 53


def parse_nameserver(text: str) -> tuple[str, int]:
    """Return address and port in "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:5353".

    Raises ConfigurationError for any other text, including names, which would need a look-up.
    """
    host, port = text.strip(), str(_PORT)
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        port = rest.removeprefix(":") if rest or not bracket else port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    with suppress(ValueError):
        if port.isascii() and port.isdigit() and 0 < int(port) < 65_536:
            return str(ip_address(host)), int(port)
    raise ConfigurationError(
        f"{text[:100]!a} is no name server.",
        hint="Give its address: 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353.",
    )


class Resolver:
    """Queries the system's name servers, or given ones; repeated queries are cached."""

    def __init__(self, nameservers: Sequence[tuple[str, int]] = ()) -> None:
        self._resolver, self._failure = _resolver(nameservers)
        self._answers: dict[tuple[str, Kind], Answer] = {}
        self._has_answered = False
        self._silent = 0
        self._waited = 0.0

    def __call__(self, name: str, kind: Kind) -> Answer:
        """Return the answer for a name; for a name that is invalid in DNS: it does not exist."""
        question = (name.lower(), kind)
        if question not in self._answers:
            self._answers[question] = self._ask(*question)
        return self._answers[question]

    @property
    def queries(self) -> int:
        """The number of queries so far."""
        return len(self._answers)

    def _ask(self, name: str, kind: Kind) -> Answer:
        asked = _name(name)
        if asked is None:
            return Answer(exists=False)
        if failure := self._failure or self._exhausted():
            return Answer(failure=failure)
        started = time.monotonic()
        answer = self._answer(asked, kind)
        self._waited += time.monotonic() - started
        return answer

    def _exhausted(self) -> str:
        if len(self._answers) >= MAXIMUM_QUERIES:
            return f"this run has already asked {MAXIMUM_QUERIES} questions"
        if self._waited >= _PATIENCE:
            return f"this run has already waited {_PATIENCE:.0f} seconds for answers"
        if self._silent >= _SILENT and not self._has_answered:
            return "no name server answers"
        return ""

    def _answer(self, name: dns.name.Name, kind: Kind) -> Answer:
        assert self._resolver is not None
        self._resolver.lifetime = _LIFETIME if self._has_answered else _FIRST_LIFETIME
        try:
            found = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as exc:
            self._has_answered = True
            failures = map(_incomplete, exc.kwargs.get("responses", {}).values())
            return Answer(exists=False, failure=next(filter(None, failures), ""))
        except dns.exception.Timeout:
            self._silent += 1
            return Answer(failure="no name server answered in time")
        except dns.resolver.NoNameservers as exc:
            self._has_answered = True
            return Answer(failure=_refusal(exc))
        except (dns.exception.DNSException, OSError, ValueError):
            # For example a loop of CNAME records.
            return Answer(failure="the name server's answer makes no sense")
        self._has_answered = True
        if failure := _incomplete(found.response):
            return Answer(failure=failure)
        return Answer(records=tuple(_bounded(_texts(found, kind))))


def _resolver(
    nameservers: Sequence[tuple[str, int]],
) -> tuple[dns.resolver.Resolver | None, str]:
    try:
        resolver = dns.resolver.Resolver(configure=not nameservers)
    except (dns.exception.DNSException, OSError):
        return None, "this machine names no name server in /etc/resolv.conf"
    if nameservers:
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(address, port) for address, port in nameservers
        ]
    resolver.timeout = _TIMEOUT
    # Answers over UDP up to 1232 octets need no fragmentation (DNS flag day 2020).
    resolver.use_edns(0, 0, 1232)
    return resolver, ""


def _name(name: str) -> dns.name.Name | None:
    """Return the name, with backslashes taken literally; None if the name is invalid in DNS."""
    try:
        labels = [label.encode("latin-1") for label in name.removesuffix(".").split(".")]
        return dns.name.Name([*labels, b""])
    except (dns.exception.DNSException, ValueError):
        return None


def _texts(found: dns.resolver.Answer, kind: Kind) -> Iterator[str]:
    """Yield the records in a stable order."""
    records: list[Any] = list(found.rrset or ())
    if kind == "MX":
        records.sort(key=lambda record: (record.preference, _host(record.exchange)))
        yield from (_host(record.exchange) for record in records)
    else:
        yield from sorted(_text(record, kind) for record in records)


def _text(record: Any, kind: Kind) -> str:  # noqa: ANN401 - dnspython's types have no common one
    if kind == "TXT":
        return b"".join(record.strings).decode("latin-1")
    return _host(record.target) if kind == "PTR" else str(record.address)


def _host(name: dns.name.Name) -> str:
    """Return a host name as labels joined by dots, without escapes."""
    return b".".join(name.labels[:-1]).decode("latin-1").lower()


def _bounded(texts: Iterator[str]) -> Iterator[str]:
    characters = 0
    for number, text in enumerate(texts):
        characters += len(text)
        if number >= _RECORDS or characters > _CHARACTERS:
            return
        yield text


def _incomplete(response: dns.message.Message) -> str:
    """Return why an answer is incomplete; empty if it is complete."""
    if response.flags & dns.flags.TC:
        return "the name server's answer is cut off"
    if not response.answer and not response.flags & (dns.flags.AA | dns.flags.RA):
        # A lame server only refers to other servers.
        return "the name server does not resolve names for others"
    return ""


def _refusal(exc: dns.resolver.NoNameservers) -> str:
    """Return the failure of the last name server, as a clause."""
    for *_, response in reversed(exc.kwargs.get("errors") or []):
        if response is not None and response.rcode() != dns.rcode.NOERROR:
            return f"the name server answered {dns.rcode.to_text(response.rcode())}"
    return "no name server can be reached"
