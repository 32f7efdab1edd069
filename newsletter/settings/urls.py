"""The URLs of mail servers and databases, with a user and a password in them.

An unescaped delimiter (RFC 3986 §2.2) in a password would silently change the host. So such a URL
is refused, and no message quotes any part of it: any part may be the password.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

SMTP_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
#: The separator of two URLs; the scheme behind it tells it from a comma in a password.
_BETWEEN_URLS = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_WEIGHT = re.compile(r"weight=([1-9][0-9]?|100)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Searched between the scheme and the last @; further colons belong to the password.
_DIVIDING = re.compile(r"[@/?#\[\]]|%(?![0-9A-Fa-f]{2})")
_PERCENT_FORM = (
    "has a character in its user or password that divides a URL; there write @ as %40, / as %2F, "
    "? as %3F, # as %23, [ as %5B, ] as %5D and % as %25"
)


def several(value: str | list[str]) -> list[str]:
    """Return the URLs of a setting: those of a list, or of a text with blanks or commas between."""
    return _BETWEEN_URLS.split(value.strip(" \t\r\n,")) if isinstance(value, str) else value


def check_user(url: str) -> None:
    """Raise ValueError if the user or the password of a URL is not percent-encoded."""
    user, is_there, _ = url.partition("://")[2].rpartition("@")
    if _CONTROL.search(url):
        raise ValueError("has a control character in it")
    if is_there and _DIVIDING.search(user):
        raise ValueError(_PERCENT_FORM)
    try:
        unquote(user, errors="strict")
    except UnicodeDecodeError:
        # UnicodeDecodeError's message quotes the octets.
        raise ValueError("has a percent form in its user or password that is no UTF-8") from None


def check_smtp(url: str) -> None:
    """Raise ValueError unless a URL names a mail server and says how to speak to it."""
    check_user(url)
    try:
        parts = urlsplit(url)
        hostname = parts.hostname
    except ValueError:
        # urllib's message may quote the password.
        raise ValueError(f"is not a URL, or {_PERCENT_FORM}") from None
    if parts.scheme not in SMTP_PORTS or not hostname:
        raise ValueError("must be smtp://, smtp+starttls:// or smtps:// and name a host")
    if {" ", ","} & set(hostname):
        raise ValueError("has a blank or a comma in its host: each relay starts with its smtp://")
    port(parts)
    weight(parts)
    if parts.path not in {"", "/"} or "#" in url:
        raise ValueError("may end in ?weight=1 to ?weight=100, and in nothing else")


def port(parts: SplitResult) -> int:
    """Return the port of a mail server, by default that of its scheme."""
    try:
        return parts.port or SMTP_PORTS[parts.scheme]
    except ValueError:
        raise ValueError("has a port that is no number up to 65535") from None


def weight(parts: SplitResult) -> int:
    """Return how many connections a mail server gets for each of a server of weight 1."""
    if not parts.query:
        return 1
    found = _WEIGHT.fullmatch(parts.query)
    if found is None:
        raise ValueError("may end in ?weight=1 to ?weight=100, and in nothing else")
    return int(found[1])
