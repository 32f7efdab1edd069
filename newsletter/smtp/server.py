"""Parses the setting `smtp_url`: the mail servers that relay our mail, as URLs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, unquote

from newsletter import userinfo

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
#: Hosts that may be used without TLS, because the connection does not leave the machine.
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
#: The separator of two URLs; the scheme after it distinguishes it from a comma in a password.
_BETWEEN_URLS = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_WEIGHT = re.compile(r"weight=([1-9][0-9]?|100)")


@dataclass(frozen=True, kw_only=True, eq=False)
class SmtpServer:
    """A mail server that relays our mail: address, security and weight."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    security: Literal["plain", "starttls", "tls"]
    #: The name in EHLO; None for this machine's name.
    hostname: str | None = None
    #: The server's share of the connections, relative to a server of weight 1.
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse(
    value: str | list[str], *, hostname: str | None = None, allows_plaintext: bool = False
) -> list[SmtpServer]:
    """Return the servers of a list of URLs, or of a text with blanks or commas between them.

    A server without TLS must be on loopback, unless plaintext is allowed. Raises ValueError with
    the requirement that is not met, and the number of the URL instead of any part of it.
    """
    urls = _BETWEEN_URLS.split(value.strip(" \t\r\n,")) if isinstance(value, str) else value
    if not urls:
        raise ValueError("must name a mail server")
    servers = []
    for number, url in enumerate(urls, 1):
        try:
            servers.append(_server(url, hostname, allows_plaintext=allows_plaintext))
        except ValueError as exc:
            which = f"number {number} of {len(urls)} " if len(urls) > 1 else ""
            raise ValueError(f"{which}{exc}") from None
    return servers


def _server(url: str, hostname: str | None, *, allows_plaintext: bool) -> SmtpServer:
    parts, host = _split(url)
    port, weight = userinfo.port(parts) or _PORTS[parts.scheme], _weight(parts)
    if parts.path not in {"", "/"} or "#" in url:
        raise ValueError("may end in ?weight=1 to ?weight=100, and in nothing else")
    security: Literal["plain", "starttls", "tls"] = "starttls"
    if parts.scheme == "smtps":
        security = "tls"
    elif parts.scheme == "smtp" and (host in LOOPBACK or allows_plaintext):
        security = "plain"
    return SmtpServer(
        host=host,
        port=port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        security=security,
        hostname=hostname,
        weight=weight,
    )


def _split(url: str) -> tuple[SplitResult, str]:
    """Return the parts of a mail server's URL and its host; raise ValueError for another URL."""
    parts = userinfo.split(url)
    host = parts.hostname
    if parts.scheme not in _PORTS or not host:
        raise ValueError("must be smtp://, smtp+starttls:// or smtps:// and name a host")
    if {" ", ","} & set(host):
        raise ValueError("has a blank or a comma in its host: each relay starts with its smtp://")
    return parts, host


def _weight(parts: SplitResult) -> int:
    if not parts.query:
        return 1
    found = _WEIGHT.fullmatch(parts.query)
    if found is None:
        raise ValueError("may end in ?weight=1 to ?weight=100, and in nothing else")
    return int(found[1])
