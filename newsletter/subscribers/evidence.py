"""Evidence of a consent: when and from where a reader signed up and confirmed, in which words.

What another system says of it is kept with the consent of the import, as one JSON object, apart
from what was recorded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

_MAXIMUM_TEXT = 500
#: Actions that a consent begins with.
_BEGIN = frozenset({"asked", "added", "imported", "returned"})


class Evidence(NamedTuple):
    """What is known of how a reader came to agree; instants are UTC."""

    opted_in_at: datetime | None = None
    opted_in_from: str | None = None
    confirmed_at: datetime | None = None
    confirmed_from: str | None = None
    source: str | None = None
    wording: str | None = None

    @property
    def since(self) -> datetime | None:
        """When the consent began."""
        return self.confirmed_at or self.opted_in_at

    @property
    def remote(self) -> str | None:
        """From which IP address they agreed."""
        return self.confirmed_from or self.opted_in_from


NONE = Evidence()
#: Of a string; for a whole object it makes an encoder each time, which takes longer than its work.
_written = json.JSONEncoder(ensure_ascii=False).encode


def text(value: str) -> str | None:
    """Return words as evidence keeps them: one line, printable, not for ever."""
    kept = value
    if not value.isprintable():
        kept = "".join(letter if letter.isprintable() else " " for letter in value)
    return " ".join(kept.split())[:_MAXIMUM_TEXT].strip() or None


def to_json(evidence: Evidence) -> str | None:
    """Return what a consent keeps; None where nothing is known."""
    known = [
        f'"{name}": "{value.isoformat()}"'
        if isinstance(value, datetime)
        else f'"{name}": {_written(value)}'
        for name, value in zip(Evidence._fields, evidence, strict=True)
        if value
    ]
    return "{" + ", ".join(known) + "}" if known else None


def from_json(kept: str | None) -> Evidence:
    """Return what `to_json` was given."""
    known: Mapping[str, str] = json.loads(kept) if kept else {}
    instants = ("opted_in_at", "confirmed_at")
    return Evidence(
        **{  # type: ignore[arg-type] # one by one, by their names
            name: datetime.fromisoformat(value) if name in instants else value
            for name, value in known.items()
        }
    )


def of_history(history: Iterable[Any]) -> Evidence:
    """Return what the consents of one reader, oldest first, say of the present one."""
    found = NONE
    for row in history:
        if row.evidence:
            found = from_json(row.evidence)
        elif row.action in _BEGIN:
            at = None if row.action == "imported" else row.at
            found = Evidence(at, row.remote, source=text(row.source), wording=text(row.wording))
        elif row.action == "confirmed":
            found = found._replace(confirmed_at=row.at, confirmed_from=row.remote)
    return found


def sentence(evidence: Evidence) -> str:
    """Return evidence in words, for the history of a reader; empty where nothing is known."""
    parts = []
    if evidence.opted_in_at or evidence.opted_in_from or evidence.source:
        parts.append("signed up" + _where(evidence.opted_in_at, evidence.opted_in_from))
        parts[0] += f" by {evidence.source}" if evidence.source else ""
    if evidence.confirmed_at or evidence.confirmed_from:
        parts.append("confirmed" + _where(evidence.confirmed_at, evidence.confirmed_from))
    if evidence.wording:
        parts.append(f"agreed to: {evidence.wording}")
    return "; ".join(parts)


def _where(at: datetime | None, remote: str | None) -> str:
    return (f" {at:%Y-%m-%d %H:%M:%S} UTC" if at else "") + (f" from {remote}" if remote else "")
