"""Mails signed by dkimpy with keys of a test's own, and the records that have those keys."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

#: All that a signature of a digest has to cover.
WHOLE = (
    "From", "Subject", "Date", "To", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip


@dataclass(frozen=True)
class Signer:
    """A key of a domain."""

    domain: str
    selector: str
    pem: bytes
    #: The TXT record with the public key.
    record: str

    @property
    def name(self) -> str:
        """Where the record stands."""
        return f"{self.selector}._domainkey.{self.domain}"

    def sign(self, mail: bytes, covers: Sequence[str] = WHOLE) -> bytes:
        """Return a mail with a signature of these headers in front."""
        line = dkim.sign(
            mail,
            self.selector.encode(),
            self.domain.encode(),
            self.pem,
            include_headers=[name.lower().encode() for name in covers],
            canonicalize=(b"relaxed", b"relaxed"),
        )
        return bytes(line) + mail


@cache
def signer(domain: str = "miasfeed.example", selector: str = "s1", bits: int = 2_048) -> Signer:
    """Return a new key of a domain, the same one each time."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=bits)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"
    return Signer(domain, selector, pem, text)
