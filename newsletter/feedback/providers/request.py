"""A provider's HTTP request: its content, checks of signatures, and values of its JSON.

All of it is untrusted: a value of an unexpected type counts as empty or raises Rejected, and
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
from enum import StrEnum
from functools import cached_property
from typing import Any, NoReturn

from newsletter import address as addresses
from newsletter.errors import NewsletterError

#: Maximum characters of an address (RFC 5321 4.5.3.1.3, without brackets), of a Message-ID (RFC
#: 5322 2.1.1), and of the text of a server or provider.
_ADDRESS_LENGTH = 254
_ID_LENGTH = 998
_TEXT_LENGTH = 4_000
#: Maximum digits of a Unix time in seconds or milliseconds.
_TIME_DIGITS = 13


class Cause(StrEnum):
    """Why a request is rejected; at most 24 characters."""

    #: The secret in the path is wrong.
    PATH = "path"
    SIGNATURE = "signature"
    #: The signature is too old, or its time is in the future.
    STALE = "stale"
    #: The topic is not in the settings.
    TOPIC = "topic"
    #: The signing certificate is missing, expired, or from another host.
    CERTIFICATE = "certificate"
    #: The certificate could not be fetched; the provider retries.
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"


class Rejected(NewsletterError):
    """The request is not proved to come from the provider, or is malformed."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"Rejected: {cause}.")
        self.cause = cause


@dataclass(frozen=True)
class HookRequest:
    """A POST request of a provider."""

    #: Headers by their names in lower case.
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
    """Return a JSON text's value; Rejected if it is invalid, has NaN or is nested too deeply."""
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
    """Return a string or a number as text that can be stored, without NUL and lone surrogates."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    written = value if isinstance(value, str) else _digits(value)
    if not written.isascii():
        written = written[:limit].encode("utf-8", "replace").decode("utf-8")
    return written[:limit].replace("\x00", "")


def _digits(value: int) -> str:
    # Longer numbers are no ids, and Python refuses to convert the longest to text.
    return str(value) if value.bit_length() < 128 else ""


def address(value: object) -> str:
    """Return the address in "Name <address>", or a bare address; empty if it is too long."""
    written = text(value, 1_000).strip()
    found = addresses.bare(written) if "<" in written else written
    return found if len(found) <= _ADDRESS_LENGTH else ""


def identifier(value: object) -> str:
    """Return a Message-ID or the id of an event."""
    return text(value, _ID_LENGTH).strip()


def joined(event: Mapping[str, Any], *names: str) -> str:
    """Return an id for an event without one, made from some of its values."""
    return "\n".join(text(event.get(name)) for name in names)


def check_age(at: datetime, now: datetime, maximum: timedelta) -> None:
    """Raise Rejected if a signature is older than `maximum`, or as far in the future."""
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
    """Return the HMAC-SHA256 (RFC 2104) of the concatenation of `signed`."""
    return hmac.digest(key, b"".join(signed), "sha256")


def is_same(expected: str | bytes, given: str | bytes) -> bool:
    """Compare in constant time; `given` may be any text."""
    return hmac.compare_digest(_octets(expected), _octets(given))


def base64_octets(written: str) -> bytes:
    """Decode base64 (RFC 4648 4); raises Rejected if it is invalid."""
    try:
        return base64.b64decode(_octets(written), validate=True)
    except binascii.Error:
        raise Rejected(Cause.SIGNATURE) from None


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
