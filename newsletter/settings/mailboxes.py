"""Parses the setting `feedback_url`: the mailbox of returned mails on a server, or its path."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote

from newsletter import userinfo
from newsletter.smtp.server import LOOPBACK

_PORTS = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, kw_only=True, eq=False)
class MailboxServer:
    """A mailbox on a server: address, security, user and folder."""

    protocol: Literal["imap", "pop3"]
    host: str
    port: int
    username: str
    password: str = field(repr=False)
    security: Literal["plain", "starttls", "tls"]
    #: The folder on an IMAP server, with / between the levels; POP3 has no folders.
    folder: str = "INBOX"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse(value: str) -> MailboxServer | Path:
    """Return the mailbox of a URL or a path.

    A server without TLS must be on loopback. Raises ValueError with the requirement that is not
    met, and without any part of the value, as any part may be the password.
    """
    if "://" not in value:
        if _CONTROL.search(value):
            raise ValueError("has a control character in it")
        return Path(value).expanduser()
    parts = userinfo.split(value)
    protocol, host = parts.scheme.removesuffix("s"), parts.hostname
    if parts.scheme not in _PORTS or not host:
        raise ValueError(
            "must be imaps://, imap://, pop3s:// or pop3:// with user, password and host, or the "
            "path of a Maildir or an mbox file"
        )
    if not (parts.username and parts.password):
        raise ValueError("must have a user and a password: imaps://user:password@host/INBOX")
    security: Literal["plain", "starttls", "tls"] = "starttls"
    if parts.scheme.endswith("s"):
        security = "tls"
    elif host in LOOPBACK:
        security = "plain"
    return MailboxServer(
        protocol="imap" if protocol == "imap" else "pop3",
        host=host,
        port=userinfo.port(parts) or _PORTS[parts.scheme],
        username=_decoded(parts.username),
        password=_decoded(parts.password),
        security=security,
        folder=_folder(parts),
    )


def _folder(parts: SplitResult) -> str:
    """Return the folder in the path of a URL, by default INBOX."""
    if parts.query or parts.fragment:
        raise ValueError("has ? or # in it; in a folder's name write ? as %3F and # as %23")
    if not (name := parts.path.strip("/")):
        return "INBOX"
    if parts.scheme.startswith("pop3"):
        raise ValueError("names a folder, and POP3 has none: use imaps://")
    return _decoded(name)


def _decoded(part: str) -> str:
    try:
        found = unquote(part, errors="strict")
    except UnicodeDecodeError:
        # The cause is dropped, because UnicodeDecodeError's message quotes the octets.
        raise ValueError("has a percent form that is no UTF-8") from None
    if _CONTROL.search(found):
        # A line break would end the IMAP or POP3 command that contains the value.
        raise ValueError("has a control character in it")
    return found
