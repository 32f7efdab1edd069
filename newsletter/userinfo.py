"""The user and the password in a URL (RFC 3986 3.2.1), which must be percent-encoded.

An unescaped delimiter in a password would silently change the host, so such a URL is refused. No
message quotes any part of the URL, because any part may be the password.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urlsplit

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Delimiters that are searched between the scheme and the last @; further colons belong to the
# password.
_DIVIDING = re.compile(r"[@/?#\[\]]|%(?![0-9A-Fa-f]{2})")
# Separator of URLs in a list; a comma alone is not enough, as a password may contain one.
_NEXT_URL = re.compile(r"[\s,]+(?=[a-z+]+://)")
PERCENT_FORM = (
    "has a character in its user or password that divides a URL; there write @ as %40, / as %2F, "
    "? as %3F, # as %23, [ as %5B, ] as %5D and % as %25"
)


def split(url: str) -> SplitResult:
    """Return the parts of a URL, whose `hostname` is valid.

    Raises ValueError as `check` does, or if the text is not a URL.
    """
    check(url)
    try:
        parts = urlsplit(url)
        _ = parts.hostname
    except ValueError:
        # The cause is dropped, because urllib's message may quote the password.
        raise ValueError(f"is not a URL, or {PERCENT_FORM}") from None
    return parts


def port(parts: SplitResult) -> int | None:
    """Return the port of a URL, or None; raise ValueError if it is invalid."""
    try:
        return parts.port
    except ValueError:
        raise ValueError("has a port that is no number up to 65535") from None


def secrets(text: str) -> set[str]:
    """Return the parts of a secret that must be masked: the passwords of URLs, or the whole text.

    Each password is returned both as written in the URL and decoded.
    """
    found = set[str]()
    for url in _NEXT_URL.split(text):
        user, is_there, _ = url.partition("://")[2].rpartition("@")
        password = user.partition(":")[2]
        found |= {password, unquote(password)} if is_there else set()
        query = url.partition("?")[2] if "://" in url else ""
        values = (one.partition("=") for one in query.split("&"))
        found |= {unquote(value) for name, _, value in values if "pass" in name}
    return (found if "://" in text else {text, text.partition(":")[2]}) - {""}


def check(url: str) -> None:
    """Raise ValueError if the user or the password of a URL is not percent-encoded."""
    user, is_there, _ = url.partition("://")[2].rpartition("@")
    if _CONTROL.search(url):
        raise ValueError("has a control character in it")
    if is_there and _DIVIDING.search(user):
        raise ValueError(PERCENT_FORM)
    try:
        unquote(user, errors="strict")
    except UnicodeDecodeError:
        # The cause is dropped, because UnicodeDecodeError's message quotes the octets.
        raise ValueError("has a percent form in its user or password that is no UTF-8") from None
