"""Parses lists of tags and values, the syntax of DKIM keys and DMARC records (RFC 6376 3.2)."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE | re.ASCII)
_SPACE = " \t\r\n"


def parse(text: str) -> list[tuple[str, str]]:
    """Return the tags and values of a record in order; raises ValueError for a syntax error.

    White space around tags and values is dropped, and a semicolon at the end is allowed.
    """
    found = []
    parts = text.split(";")
    if not parts[-1].strip(_SPACE):
        parts.pop()
    for part in parts:
        name, sign, value = part.partition("=")
        name = name.strip(_SPACE)
        if not sign or not _NAME.fullmatch(name):
            raise ValueError("it is no list of tags such as v=...; p=...")
        found.append((name, value.strip(_SPACE)))
    return found
