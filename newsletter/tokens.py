"""Signed links: one salt per purpose, a list of keys for rotation, never an address inside.

A token contains the reader (public id) and the consent (generation) for which a link was made. Only
links that confirm something expire; an unsubscribe link never expires, but is valid only for its
consent. A form is signed too: its token has no reader, but the time at which the page was served.
All tokens of one purpose have the same length, so that they fit a compiled message's slots.

The token of a counted link has no reader either: it is compiled into the mail, the same for all.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property, lru_cache

from itsdangerous import BadData, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode, bytes_to_int
from itsdangerous.signer import SigningAlgorithm

from newsletter.errors import ConfigurationError, ExpiredToken, InvalidToken

#: Characters of a public id: 12 random bytes, base64url.
PUBLIC_ID_LENGTH = 16
_PUBLIC_ID_BYTES = 12
#: Characters of a fingerprint: 24 octets of BLAKE2b, in hexadecimal.
FINGERPRINT_LENGTH = 48
#: Characters of a key's name.
KEY_NAME_LENGTH = 8
_GENERATION_BYTES = 3
_GENERATION_LENGTH = 4
#: Characters of an HMAC-SHA256 in base64url.
SIGNATURE_LENGTH = 43
#: Characters of the signature of a counted link: half of an HMAC-SHA256, which is the least that
#: RFC 2104 (5) advises, because such links are long, and many in a mail.
LINK_SIGNATURE_LENGTH = 22
_LINK_SIGNATURE_BYTES = 16
_HTTPS = "https://"
#: Octets of an unsubscribe, manage or view token: id, generation, dot, signature.
TOKEN_LENGTH = PUBLIC_ID_LENGTH + _GENERATION_LENGTH + 1 + SIGNATURE_LENGTH
#: Lifetime of a link that confirms something: a sign-up, an erasure, a copy of one's data.
CONFIRM_LIFETIME = timedelta(hours=72)
#: Lifetime of a form, from the request for its page.
FORM_LIFETIME = timedelta(hours=24)
#: Minimum characters of a key. itsdangerous accepts any string, but a shorter key can be guessed.
MINIMUM_KEY_LENGTH = 32
#: Minimum number of distinct characters in a key; random hexadecimal keys have about 14.
MINIMUM_KEY_VARIETY = 8
_PLACEHOLDERS = ("changeme", "change-me", "secret", "placeholder", "example", "xxxx")


class Purpose(StrEnum):
    """The purpose of a link; a token is valid for its own purpose only."""

    CONFIRM = "confirm"
    ERASE = "erase"
    DATA = "data"
    NEW_ADDRESS = "new-address"
    MANAGE = "manage"
    UNSUBSCRIBE = "unsubscribe"
    VIEW = "view"
    FORM = "form"


#: The purposes whose tokens contain their time, with their lifetimes.
_LIFETIMES = {
    Purpose.CONFIRM: CONFIRM_LIFETIME,
    Purpose.ERASE: CONFIRM_LIFETIME,
    Purpose.DATA: CONFIRM_LIFETIME,
    Purpose.NEW_ADDRESS: CONFIRM_LIFETIME,
    Purpose.FORM: FORM_LIFETIME,
}


@dataclass(frozen=True)
class Bearer:
    """The reader and the consent that a token was made for."""

    public_id: str
    generation: int
    #: The time at which the token was made; None if it does not expire.
    issued_at: datetime | None = None


@dataclass(frozen=True)
class CountedLink:
    """A link to an article in the mail of an edition, which all its readers share."""

    #: The name of the edition: weekly-2026-11-23.
    edition: str
    article_id: int
    #: The absolute http(s) URL to which the link leads, in ASCII.
    url: str


class Keyring:
    """Signs with the first key and accepts all keys, so new keys go to the front of the list."""

    def __init__(self, keys: Sequence[str]) -> None:
        for key in keys:
            check_key(key)
        if not keys:
            raise ConfigurationError(
                "No secret key is set: secret_keys is empty, and no link can be signed.",
                setting="secret_keys",
                hint="Run `newsletter init`, or set NEWSLETTER_SECRET_KEYS to 32 random ones.",
            )
        # itsdangerous signs with the last key of its list.
        oldest_first = list(reversed(keys))
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._signers = {purpose: _signer(purpose, oldest_first) for purpose in Purpose}
        self._links = _signer("link", oldest_first, algorithm=_HalfHmac())
        #: The signers of each key alone, by the key's name, from which the key cannot be derived.
        self._named = {
            name[:KEY_NAME_LENGTH]: {purpose: _signer(purpose, [key]) for purpose in Purpose}
            for name, key in zip(self.derive("name"), keys, strict=True)
        }

    @property
    def newest(self) -> str:
        """The name of the key that signs."""
        return next(iter(self._named))

    def issue(
        self,
        purpose: Purpose,
        public_id: str,
        generation: int,
        *,
        at: datetime | None = None,
        key: str = "",
    ) -> str:
        """Return the token of one reader for one purpose; a token that expires contains `at`.

        It is signed with the key of that name, or the newest one if that key is no longer listed.
        """
        payload = _payload(public_id, generation)
        signer = self._named.get(key, self._signers)[purpose]
        if isinstance(signer, TimestampSigner):
            assert at is not None
            return _sign_at(signer, payload, at).decode()
        return signer.sign(payload).decode()

    def issue_all(
        self, purpose: Purpose, bearers: Iterable[tuple[str, int]], *, key: str = ""
    ) -> list[bytes]:
        """Return the tokens of many (public id, generation), for a purpose that never expires.

        They equal those of `issue`, at half the cost.
        """
        assert purpose not in _LIFETIMES
        signer = self._named.get(key, self._signers)[purpose]
        derived = signer.derive_key()
        payloads = [_payload(public_id, generation) for public_id, generation in bearers]
        sign = signer.algorithm.get_signature
        signatures = _encode_digests([sign(derived, each) for each in payloads])
        return [b"%b.%b" % pair for pair in zip(payloads, signatures, strict=True)]

    def read(self, purpose: Purpose, token: str, *, now: datetime) -> Bearer:
        """Return the reader and the consent that `token` was made for.

        Raises InvalidToken, or ExpiredToken (with `issued_at`) for one past its lifetime.
        """
        signer = self._signers[purpose]
        issued_at: datetime | None = None
        _check_spelling(token)
        try:
            if isinstance(signer, TimestampSigner):
                payload, issued_at = signer.unsign(token, return_timestamp=True)
            else:
                payload = signer.unsign(token)
        except (BadData, ValueError, OverflowError) as exc:
            raise InvalidToken from exc
        bearer = _bearer(payload, issued_at)
        if issued_at is not None and now - issued_at > _LIFETIMES[purpose]:
            raise ExpiredToken(issued_at=issued_at)
        return bearer

    def sign_link(self, link: CountedLink) -> str:
        """Return the token of a counted link; it never expires."""
        return self._links.sign(_link_payload(link)).decode()

    def read_link(self, token: str) -> CountedLink:
        """Return the link that a token was made for; raises InvalidToken."""
        _check_spelling(token)
        try:
            self._links.unsign(token)
        except (BadData, ValueError) as exc:
            raise InvalidToken from exc
        return unsigned_link(token)

    def form(self, *, now: datetime) -> str:
        """Return a token for a form that is served now."""
        return self.issue(Purpose.FORM, new_public_id(), 0, at=now)

    def derive(self, purpose: str) -> list[str]:
        """Return secrets for another use than links, one derived from each key, newest first."""
        return [hmac.digest(key, purpose.encode(), hashlib.sha256).hex() for key in self._keys]

    def fingerprints(self, text: str) -> list[str]:
        """Return the keyed hashes of `text`, newest key first; stored for erased addresses."""
        octets = text.encode()
        return [
            hashlib.blake2b(octets, key=key).hexdigest()[:FINGERPRINT_LENGTH] for key in self._keys
        ]


def unsigned_link(token: str) -> CountedLink:
    """Return the link in a token without a check of its signature; raises InvalidToken.

    For tokens in our own mails; whoever gets one from a stranger needs `Keyring.read_link`.
    """
    edition, _, rest = token.partition(".")
    article_id, _, rest = rest.partition(".")
    try:
        url = base64_decode(rest.partition(".")[0]).decode("ascii")
        number = int(article_id)
    except (BadData, ValueError) as exc:
        raise InvalidToken from exc
    return CountedLink(edition, number, url if url.startswith("http://") else _HTTPS + url)


def new_public_id() -> str:
    """Return a fresh random public id."""
    return new_public_ids(1)[0]


def new_public_ids(count: int) -> list[str]:
    """Return fresh random public ids, from one call of the random source."""
    text = urlsafe_b64encode(secrets.token_bytes(count * _PUBLIC_ID_BYTES)).decode()
    return [text[at : at + PUBLIC_ID_LENGTH] for at in range(0, len(text), PUBLIC_ID_LENGTH)]


def check_key(key: str) -> None:
    """Raise ConfigurationError for a key that is too short, or a placeholder."""
    is_weak = len(key) < MINIMUM_KEY_LENGTH or len(set(key)) < MINIMUM_KEY_VARIETY
    if is_weak or any(word in key.lower() for word in _PLACEHOLDERS):
        raise ConfigurationError(
            f"A secret key has {len(key)} characters or is a placeholder; "
            f"it needs {MINIMUM_KEY_LENGTH} random ones.",
            setting="secret_keys",
            hint="Run `newsletter init` in an empty folder, or `openssl rand -hex 32`.",
        )


class _Hmac(SigningAlgorithm):
    """HMAC-SHA256 in one call; itsdangerous creates three Python objects for each signature."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        # With the digest's name, not its constructor, hmac.digest runs in OpenSSL.
        return hmac.digest(key, value, "sha256")


class _HalfHmac(_Hmac):
    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return super().get_signature(key, value)[:_LINK_SIGNATURE_BYTES]


class _Derived:
    """Caches the derived key, because deriving it is half the cost of a signature."""

    @cached_property
    def _newest(self) -> bytes:
        return super().derive_key()  # type: ignore[misc,no-any-return]  # Signer's

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        if secret_key is None:
            return self._newest
        return super().derive_key(secret_key)  # type: ignore[misc,no-any-return]  # Signer's


class _Signer(_Derived, Signer):
    pass


class _TimestampSigner(_Derived, TimestampSigner):
    pass


def _signer(
    purpose: str, oldest_first: Sequence[str], *, algorithm: SigningAlgorithm | None = None
) -> Signer:
    signer = _TimestampSigner if purpose in _LIFETIMES else _Signer
    return signer(
        list(oldest_first),
        salt=f"newsletter.{purpose}",
        key_derivation="hmac",
        digest_method=hashlib.sha256,
        algorithm=algorithm or _Hmac(),
    )


@lru_cache(maxsize=256)
def _number(generation: int) -> bytes:
    return base64_encode(generation.to_bytes(_GENERATION_BYTES, "big"))


def _encode_digests(digests: Sequence[bytes]) -> Iterator[bytes]:
    """Encode each digest as base64_encode does, all of them in one call.

    A zero octet is appended to each digest, since 33 octets are 44 characters without padding; the
    last character depends only on that octet, and is dropped.
    """
    letters = urlsafe_b64encode(b"".join([digest + b"\0" for digest in digests]))
    return (letters[at : at + 43] for at in range(0, len(letters), 44))


def _payload(public_id: str, generation: int) -> bytes:
    return public_id.encode() + _number(generation)


def _link_payload(link: CountedLink) -> bytes:
    # Nearly every link begins so, and would be 11 characters longer.
    url = base64_encode(link.url.removeprefix(_HTTPS)).decode()
    return f"{link.edition}.{link.article_id}.{url}".encode()


def _sign_at(signer: TimestampSigner, payload: bytes, at: datetime) -> bytes:
    """Sign as TimestampSigner does, but with the time `at` instead of the current one."""
    seconds = base64_encode(int(at.timestamp()).to_bytes(5, "big"))
    value = payload + b"." + seconds
    return value + b"." + Signer.get_signature(signer, value)


def _check_spelling(token: str) -> None:
    """Raise InvalidToken for a non-canonical base64 signature, which decoders would accept."""
    signature = token.rpartition(".")[2].encode("utf-8", "replace")
    try:
        canonical = base64_encode(base64_decode(signature))
    except BadData as exc:
        raise InvalidToken from exc
    if canonical != signature:
        raise InvalidToken


def _bearer(payload: bytes, issued_at: datetime | None) -> Bearer:
    if len(payload) != PUBLIC_ID_LENGTH + _GENERATION_LENGTH:
        raise InvalidToken
    public_id, number = payload[:PUBLIC_ID_LENGTH], payload[PUBLIC_ID_LENGTH:]
    instant = issued_at.astimezone(UTC) if issued_at else None
    return Bearer(public_id.decode(), bytes_to_int(base64_decode(number)), instant)
