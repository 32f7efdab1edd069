"""Verifies the DKIM signatures of one mail by dkimpy (RFC 6376), in bounded time.

The time of dkimpy grows with the square of the length of headers, lines and keys, so long ones are
not verified. No other module imports dkimpy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import dkim

from newsletter.doctor.records.answers import Lookup
from newsletter.feedback import mime

#: Maximum of signatures of one mail that are verified.
MAXIMUM = 5
#: Maximum octets of a signature, of a line of the body (RFC 5322 2.1.1), and of a key in DNS: an
#: RSA key of 8,192 bits has 1,426.
_SIGNATURE_OCTETS, _LINE_OCTETS, _KEY_OCTETS = 4_096, 1_000, 1_500
_LONG_LINE = re.compile(rb"[^\n]{%d}" % _LINE_OCTETS)
_TAG = re.compile(r"\A\s*([a-z][a-z0-9_]*)\s*=(.*)\Z", re.IGNORECASE | re.DOTALL)
_NAME = "DKIM-Signature"


class Verdict(StrEnum):
    """The result of verifying a signature."""

    HOLDS = "holds"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One DKIM signature of a mail."""

    #: The domain that signed (d=) and the name of its key (s=), in lower case.
    domain: str
    selector: str
    #: The names of the signed headers (h=), in lower case.
    covers: frozenset[str]
    verdict: Verdict
    #: Why the signature is broken or unknown, as a clause.
    why: str = ""


def verify(octets: bytes, lookup: Lookup) -> tuple[Signature, ...]:
    """Return the signatures of a mail, the topmost first; at most MAXIMUM.

    The headers must end within `mime.HEADER_OCTETS`.
    """
    written = mime.Headers(octets).all(_NAME)[:MAXIMUM]
    reason = ""
    if _LONG_LINE.search(octets):
        reason = f"the mail has lines of more than {_LINE_OCTETS:,} octets"
    return tuple(_read(octets, at, text, lookup, reason) for at, text in enumerate(written))


def _read(octets: bytes, at: int, text: str, lookup: Lookup, unreadable: str) -> Signature:
    tags = _tags(text)
    if len(text) > _SIGNATURE_OCTETS:
        unreadable = "it is longer than signatures are"
    verdict, why = Verdict.UNKNOWN, unreadable
    if not unreadable:
        verdict, why = _verified(octets, at, lookup)
    return Signature(
        domain=tags.get("d", "").lower().rstrip("."),
        selector=tags.get("s", "").lower(),
        covers=frozenset(name.strip().lower() for name in tags.get("h", "").split(":")),
        verdict=verdict,
        why=why,
    )


def _verified(octets: bytes, at: int, lookup: Lookup) -> tuple[Verdict, str]:
    key = _Key(lookup)
    try:
        holds = dkim.DKIM(octets, minkey=1024).verify(idx=at, dnsfunc=key)
    except _Unknown as exc:
        return Verdict.UNKNOWN, str(exc)
    except dkim.NaClNotFoundError:
        return Verdict.UNKNOWN, "it is by Ed25519, which is not verified here"
    except Exception as exc:  # noqa: BLE001 - a library reads what strangers wrote
        return Verdict.BROKEN, _why(exc)
    if holds:
        return Verdict.HOLDS, ""
    if key.is_missing:
        return Verdict.BROKEN, f"there is no key at {key.name}"
    return Verdict.BROKEN, "a header that it covers was changed, or the key is another"


class _Unknown(Exception):
    """The key could not be looked up, or is too long to be used."""


class _Key:
    """Looks up keys for dkimpy, as its `dnsfunc`."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.name = ""
        self.is_missing = False

    def __call__(self, name: bytes, timeout: float = 0) -> bytes | None:  # noqa: ARG002 - dkimpy's
        self.name = name.decode("ascii", "replace").rstrip(".")
        answer = self._lookup(self.name, "TXT")
        if answer.failure:
            raise _Unknown(f"its key at {self.name} could not be looked up: {answer.failure}")
        self.is_missing = not answer.records
        text = next(iter(answer.records), "")
        if len(text) > _KEY_OCTETS:
            raise _Unknown(f"its key at {self.name} is longer than keys are")
        return text.encode("latin-1", "replace") or None


def _why(exc: Exception) -> str:
    said = str(exc)
    if said.startswith("body hash mismatch"):
        return "the body was changed after it was signed"
    if said.startswith("x= value is past"):
        return "it has expired"
    return said[:200].rstrip(".") or type(exc).__name__


def _tags(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text[:_SIGNATURE_OCTETS].split(";"):
        if tag := _TAG.match(part):
            found.setdefault(tag[1].lower(), "".join(tag[2].split()))
    return found
