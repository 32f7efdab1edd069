"""Public keys of DKIM in DNS (RFC 6376 3.6.1, RFC 8301, RFC 8463)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Literal

from newsletter.doctor.records import tags
from newsletter.doctor.records.answers import Answer, Lookup
from newsletter.doctor.records.zone import shown

#: Bits of an RSA key: the minimum for verifiers, and the advised minimum for signers (RFC 8301
#: 3.2).
SHORTEST, ADVISED = 1024, 2048
#: Maximum characters of a key record; a key of 16,384 bits has 2,800.
_LONGEST = 8_000
_SPACE = re.compile(r"[ \t\r\n]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key from a record that verifiers can use."""

    algorithm: Literal["rsa", "ed25519"]
    bits: int
    #: Whether t=y is set, so that verifiers treat signed mail like unsigned mail.
    is_testing: bool
    #: Whether t=s requires that the domain of i= equals d=.
    is_strict: bool


class UnusableKey(ValueError):
    """A record without a usable key; the text is a clause that is safe to print."""


class RevokedKey(UnusableKey):
    """A record with an empty p=, which means that the key is revoked."""


def name(selector: str, domain: str) -> str:
    """Return the DNS name of a selector's key (RFC 6376 3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"


def find(selector: str, domain: str, lookup: Lookup) -> Answer:
    """Return the TXT records at the name of a key."""
    return lookup(name(selector, domain), "TXT")


def read(record: str) -> Key:
    """Parse a record with its strings joined; raise UnusableKey with the reason."""
    if len(record) > _LONGEST:
        raise UnusableKey(f"it has {len(record):,} characters, more than any key needs")
    found = _tags(record)
    if "p" not in found:
        raise UnusableKey("it has no p=, the key itself")
    hashes = _words(found.get("h", "sha256"))
    if "sha256" not in hashes:
        raise UnusableKey(f"h={shown(found['h'])} leaves out sha256, the one hash that counts")
    if not {"*", "email"} & set(_words(found.get("s", "*"))):
        raise UnusableKey(f"s={shown(found['s'])} says that it is not for mail")
    flags = _words(found.get("t", ""))
    algorithm, bits = _key(found.get("k", "rsa").lower(), _SPACE.sub("", found["p"]))
    return Key(algorithm=algorithm, bits=bits, is_testing="y" in flags, is_strict="s" in flags)


def _tags(record: str) -> dict[str, str]:
    try:
        pairs = tags.parse(record)
    except ValueError as exc:
        raise UnusableKey(str(exc)) from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnusableKey("a tag stands in it twice")
    # The tag v is optional, but must be the first (RFC 6376 3.6.1).
    if "v" in found and pairs[0] != ("v", "DKIM1"):
        raise UnusableKey("it does not begin with v=DKIM1")
    return found


def _words(text: str) -> list[str]:
    return [_SPACE.sub("", word).lower() for word in text.split(":")]


def _key(algorithm: str, value: str) -> tuple[Literal["rsa", "ed25519"], int]:
    if not value:
        raise RevokedKey("its p= is empty: the key is revoked")
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableKey("its p= is not in base64: part of it may be missing") from None
    if algorithm == "ed25519":
        # A key of Ed25519 is in the record without ASN.1 (RFC 8463 4).
        if len(octets) != 32:
            raise UnusableKey(f"its p= has {len(octets)} octets, and a key of Ed25519 has 32")
        return "ed25519", 256
    if algorithm != "rsa":
        raise UnusableKey(f"k={shown(algorithm)} is no algorithm of DKIM")
    return "rsa", _bits(octets)


def _bits(octets: bytes) -> int:
    # Imported here, because most commands do not need cryptography.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        key = load_der_public_key(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("its p= is no key: part of it may be missing") from None
    if not isinstance(key, RSAPublicKey):
        raise UnusableKey("its p= is no key of RSA")
    return key.key_size
