"""The signed return path: an envelope sender per reader, which identifies the reader's bounces.

It is a variable envelope return path (VERP) that cannot be forged: `b-`, the reader's public id and
a MAC, in base32 (RFC 4648 6), and in lower case because some servers change the case of local
parts. It is the same for all mails to a reader, because greylisting servers remember the
combination of sender, recipient and client.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32decode, b32encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable

from newsletter.tokens import Keyring

#: The placeholder of the token in the setting.
PLACE = "{token}"
_PREFIX = "b-"
_REFERENCE_OCTETS = 12
#: Octets of the truncated HMAC-SHA256; 80 bits cannot be guessed by sending mails.
_MAC_OCTETS = 10
#: Characters of 22 octets in base32, without padding.
_LETTERS = 36
TOKEN_LENGTH = len(_PREFIX) + _LETTERS
_PADDING = "=" * (-_LETTERS % 8)
_TOKEN = re.compile(
    rf"(?<![a-z0-9]){_PREFIX}([a-z2-7]{{{_LETTERS}}})(?![a-z0-9])", re.ASCII | re.IGNORECASE
)
#: Maximum number of tokens in one mail that are verified.
_MAXIMUM_TOKENS = 20
_PURPOSE = "return path"


class ReturnPath:
    """Makes the envelope sender of each reader from an address with or without `{token}`."""

    def __init__(self, address: str, keyring: Keyring) -> None:
        self._before, self._place, self._after = address.partition(PLACE)
        self._key = keyring.derive(_PURPOSE)[0].encode()

    @property
    def plain(self) -> str:
        """The envelope sender of a mail whose recipient is no reader."""
        local = self._before.rstrip("+-.=")
        return f"{local or 'bounces'}{self._after}" if self._place else self._before

    def of(self, reference: str) -> str:
        """Return the envelope sender for the reader with a public id."""
        if not self._place:
            return self._before
        octets = urlsafe_b64decode(reference)
        letters = b32encode(octets + _mac(self._key, octets))[:_LETTERS].decode().lower()
        return f"{self._before}{_PREFIX}{letters}{self._after}"


def references(texts: Iterable[str], keyring: Keyring) -> tuple[tuple[str, ...], int]:
    """Return the public ids in signed return paths in some texts, and the number of forged tokens.

    Each id is returned once; a forged token has the form of a token, but not our signature.
    """
    letters = dict.fromkeys(m[1].lower() for text in texts for m in _TOKEN.finditer(text))
    keys = [key.encode() for key in keyring.derive(_PURPOSE)]
    read = [_reference(one, keys) for one in list(letters)[:_MAXIMUM_TOKENS]]
    found = tuple(dict.fromkeys(one for one in read if one))
    return found, read.count(None)


def _reference(letters: str, keys: list[bytes]) -> str | None:
    octets = b32decode(letters.upper() + _PADDING)
    reference, mac = octets[:_REFERENCE_OCTETS], octets[_REFERENCE_OCTETS:]
    if not any(hmac.compare_digest(mac, _mac(key, reference)) for key in keys):
        return None
    return urlsafe_b64encode(reference).decode()


def _mac(key: bytes, octets: bytes) -> bytes:
    return hmac.digest(key, octets, "sha256")[:_MAC_OCTETS]
