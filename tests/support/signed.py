"""Mails signed by dkimpy with test keys, and the DNS records of these keys."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

#: The headers that the signature of a digest must cover.
WHOLE = (
    "From", "Subject", "Date", "To", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post",
)  # fmt: skip


@dataclass(frozen=True)
class Signer:
    """The signing key of a domain."""

    domain: str
    selector: str
    pem: bytes
    #: The TXT record with the public key.
    record: str

    @property
    def name(self) -> str:
        """The DNS name of the record."""
        return f"{self.selector}._domainkey.{self.domain}"

    def sign(self, mail: bytes, covers: Sequence[str] = WHOLE) -> bytes:
        """Return the mail with a signature of these headers prepended."""
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
    """Return the key of a domain; generated once per process."""
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
