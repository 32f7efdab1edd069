"""Message-IDs (RFC 5322 3.6.4) of deliveries: built from mailing and reference, and parsed."""

from __future__ import annotations

import re

#: The form of our Message-IDs: two public ids of 16 base64url characters.
_FORM = re.compile(r"(?<![\w.-])([\w-]{16})\.([\w-]{16})@", re.ASCII)


def make(mailing: str, reference: str, domain: str) -> str:
    """Return the Message-ID without brackets: one per recipient, the same for every retry."""
    return f"{mailing}.{reference}@{domain}"


def search(text: str) -> tuple[str, str] | None:
    """Return mailing and reference of the first Message-ID in a text that `make` may have built."""
    found = _FORM.search(text)
    return (found[1], found[2]) if found else None


def parse(text: str) -> tuple[str, str] | None:
    """Return mailing and reference of a Message-ID built by `make`; None for any other."""
    left, at, _ = text.strip().strip("<>").partition("@")
    mailing, dot, reference = left.partition(".")
    if not at or not dot or len(mailing) != 16 or len(reference) != 16:
        return None
    return mailing, reference
