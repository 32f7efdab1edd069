"""The request with a provider's events: its octets, checks of signatures, and values of its JSON.

All of it may be a stranger's: whatever is of another form than expected is empty or rejected, and
nothing else is raised.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from enum import StrEnum
from functools import cached_property
from typing import Any, NoReturn

from newsletter.errors import NewsletterError

#: Characters of one value that are kept: of an address (RFC 5321 4.5.3.1.3, with brackets), a
#: Message-ID (RFC 5322 2.1.1), and of what a server or provider says.
_ADDRESS_LENGTH = 254
_ID_LENGTH = 998
_TEXT_LENGTH = 4_000
#: Digits of a time in seconds or milliseconds since 1970.
_TIME_DIGITS = 13


class Cause(StrEnum):
    """Why a request is rejected; at most 24 characters."""

    #: The secret in its path is another one.
    PATH = "path"
    SIGNATURE = "signature"
    #: Its signature is too old, or from the future.
    STALE = "stale"
    #: A topic that the settings do not name.
    TOPIC = "topic"
    #: A signing certificate from elsewhere, out of its dates, or none.
    CERTIFICATE = "certificate"
    #: What has to be fetched cannot be: the provider tries again.
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"


class Rejected(NewsletterError):
    """The request of a hook is not to be believed."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"Rejected: {cause}.")
        self.cause = cause


@dataclass(frozen=True)
class HookRequest:
    """A POST of a provider."""

    #: By their names in lower case.
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def document(self) -> Any:  # noqa: ANN401 - whatever JSON the body is
        """The body as JSON (RFC 8259); raises Rejected for anything else."""
        return parse(self.body.decode("utf-8", "replace"))

    def header(self, name: str) -> str:
        """Return a header's value; empty without one."""
        return self.headers.get(name, "")


def parse(text: str) -> Any:  # noqa: ANN401 - whatever JSON it is
    """Return a JSON text's value; raises Rejected for none, for NaN and for bottomless nesting."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise Rejected(Cause.MALFORMED) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def fields(value: object) -> dict[str, Any]:
    """Return a JSON object; empty for any other value."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """Return a JSON array; empty for any other value."""
    return value if isinstance(value, list) else []


def text(value: object, limit: int = _TEXT_LENGTH) -> str:
    """Return a string or a number as text that can be stored: no NUL, no half of a surrogate."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    written = value if isinstance(value, str) else _digits(value)
    if not written.isascii():
        written = written[:limit].encode("utf-8", "replace").decode("utf-8")
    return written[:limit].replace("\x00", "")


def _digits(value: int) -> str:
    # A longer one is no id, and Python refuses to write the longest.
    return str(value) if value.bit_length() < 128 else ""


def address(value: object) -> str:
    """Return the address in "Name <address>" or a bare one; empty if it is longer than any."""
    written = text(value, 1_000).strip()
    found = parseaddr(written)[1] if "<" in written else written
    return found if len(found) <= _ADDRESS_LENGTH else ""


def identifier(value: object) -> str:
    """Return a Message-ID or the id of an event."""
    return text(value, _ID_LENGTH).strip()


def joined(event: Mapping[str, Any], *names: str) -> str:
    """Return what identifies an event that has no id: some of its values."""
    return "\n".join(text(event.get(name)) for name in names)


def check_age(at: datetime, now: datetime, maximum: timedelta) -> None:
    """Raise Rejected for what was signed too long ago, or as long in the future."""
    if abs(now - at) > maximum:
        raise Rejected(Cause.STALE)


def seconds(written: str) -> datetime:
    """Return the instant of a Unix time in seconds; raises Rejected for anything else."""
    if not (written.isascii() and written.isdecimal() and len(written) < _TIME_DIGITS):
        raise Rejected(Cause.STALE)
    try:
        return datetime.fromtimestamp(int(written), UTC)
    except (ValueError, OverflowError, OSError):
        raise Rejected(Cause.STALE) from None


def hmac_sha256(key: bytes, *signed: bytes) -> bytes:
    """Return the HMAC-SHA256 (RFC 2104) of what is joined."""
    return hmac.digest(key, b"".join(signed), "sha256")


def is_same(expected: str | bytes, given: str | bytes) -> bool:
    """Compare in constant time; whatever text is `given`."""
    return hmac.compare_digest(_octets(expected), _octets(given))


def base64_octets(written: str) -> bytes:
    """Return what base64 holds (RFC 4648 4); raises Rejected for anything else."""
    try:
        return base64.b64decode(_octets(written), validate=True)
    except binascii.Error:
        raise Rejected(Cause.SIGNATURE) from None


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
