"""Evidence of a consent: when and from where a reader signed up and confirmed, with which wording.

Evidence from another system is stored with the consent row of the import, as one JSON object,
separate from what was recorded here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from newsletter.models.columns import utc_text

_MAXIMUM_TEXT = 500
#: Fields with an instant.
_TIMES = ("opted_in_at", "confirmed_at")
#: Actions that begin a consent.
_BEGIN = frozenset({"asked", "added", "imported", "returned"})


class Evidence(NamedTuple):
    """When, from where and with which wording a reader agreed; times are UTC."""

    opted_in_at: datetime | None = None
    opted_in_from: str | None = None
    confirmed_at: datetime | None = None
    confirmed_from: str | None = None
    source: str | None = None
    wording: str | None = None

    @property
    def since(self) -> datetime | None:
        """The time at which the consent began."""
        return self.confirmed_at or self.opted_in_at

    @property
    def remote(self) -> str | None:
        """The IP address of the confirmation, or of the sign-up."""
        return self.confirmed_from or self.opted_in_from


NONE = Evidence()


def text(value: str) -> str | None:
    """Return text as stored: one line, printable, at most 500 characters; None if empty."""
    kept = value
    if not value.isprintable():
        kept = "".join(letter if letter.isprintable() else " " for letter in value)
    return " ".join(kept.split())[:_MAXIMUM_TEXT].strip() or None


def to_json(each: Collection[Evidence]) -> list[str | None]:
    """Return each evidence in its stored form; None if it is empty."""
    columns = [
        _members(name, values)
        # Not strict, because there are no columns if `each` is empty.
        for name, values in zip(Evidence._fields, zip(*each, strict=True), strict=False)
        if any(values)
    ]
    if not columns:
        return [None for _ in each]
    rows = map("".join, zip(*columns, strict=True))
    return [f"{{{members[2:]}}}" if members else None for members in rows]


def _members(name: str, values: Sequence[Any]) -> list[str]:
    """Return the member of each JSON object, with a comma before it; empty without a value."""
    start = f', "{name}": '
    if name in _TIMES:
        return [f'{start}"{utc_text(one, "T")}+00:00"' if one else "" for one in values]
    return [start + encode_basestring(one) if one else "" for one in values]


def from_json(kept: str | None) -> Evidence:
    """Return the evidence that `to_json` serialized."""
    known: Mapping[str, str] = json.loads(kept) if kept else {}
    return Evidence(
        **{  # type: ignore[arg-type] # one by one, by their names
            name: datetime.fromisoformat(value) if name in _TIMES else value
            for name, value in known.items()
        }
    )


def of_history(history: Iterable[Any]) -> Evidence:
    """Return the evidence of the present consent from a reader's consent rows, oldest first."""
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
    """Return evidence as a sentence for a reader's history; empty if nothing is known."""
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
