"""Parses DMARC records, and finds them by the tree walk of RFC 9989 4.10."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from newsletter.doctor.records import tags
from newsletter.doctor.records.answers import Lookup

#: Maximum labels of the second name in a tree walk, and so the number of queries after the first.
_LABELS = 7
_IS_RECORD = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_REQUESTS = frozenset({"none", "quarantine", "reject"})
_VALUES = {
    "p": _REQUESTS,
    "sp": _REQUESTS,
    "np": _REQUESTS,
    "t": frozenset("yn"),
    "psd": frozenset("ynu"),
    "adkim": frozenset("rs"),
    "aspf": frozenset("rs"),
}
_FAILURES = re.compile(r"[01ds](?:[ \t]*:[ \t]*[01ds])*", re.IGNORECASE)
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^,\s]+", re.IGNORECASE)
_MAILTO = re.compile(r"mailto:[^@,\s]+@([^@,\s!]+)(?:![0-9]+[kmgt]?)?", re.IGNORECASE)
KNOWN = frozenset({"v", "fo", "rua", "ruf", *_VALUES})
#: Tags of RFC 7489 that RFC 9989 removed.
HISTORIC = frozenset({"pct", "rf", "ri"})


@dataclass(frozen=True, slots=True)
class Record:
    """A DMARC record; a tag with an invalid value is ignored."""

    text: str
    #: All tags except v with their values as written; of equal names, the first.
    tags: dict[str, str] = field(default_factory=dict)

    def value(self, tag: str) -> str:
        """Return the value of a tag with a fixed set of values; empty if absent or invalid."""
        value = self.tags.get(tag, "").lower()
        return value if value in _VALUES[tag] else ""

    @property
    def reports_to(self) -> tuple[str, ...]:
        """The valid URIs in `rua`."""
        found = [uri.strip(" \t") for uri in self.tags.get("rua", "").split(",")]
        return tuple(uri for uri in found if _URI.fullmatch(uri))

    @property
    def is_applied(self) -> bool:
        """Whether receivers apply this record (RFC 9989 4.10.1)."""
        wrong = [tag for tag in ("p", "sp", "np") if tag in self.tags and not self.value(tag)]
        # A record without p counts as p=none.
        return not wrong or bool(self.reports_to)

    def wrong(self) -> Iterator[str]:
        """Yield the tags with invalid values."""
        for tag, value in self.tags.items():
            if tag in _VALUES:
                is_right = bool(self.value(tag))
            elif tag == "fo":
                is_right = _FAILURES.fullmatch(value) is not None
            elif tag in {"rua", "ruf"}:
                is_right = all(_is_uri(uri.strip(" \t")) for uri in value.split(","))
            else:
                continue
            if not is_right:
                yield tag


@dataclass(frozen=True, slots=True)
class Walk:
    """The result of a tree walk, from the longest name to the shortest."""

    start: str
    #: The domains with one valid record, and those with several records, which are ignored.
    records: dict[str, Record] = field(default_factory=dict)
    crowded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Why a query failed; empty if none did.
    failure: str = ""

    @property
    def organizational(self) -> str:
        """The organizational domain (RFC 9989 4.10.2)."""
        below = self.start
        for domain, record in self.records.items():
            if record.value("psd") == "n":
                return domain
            if record.value("psd") == "y" and domain != self.start:
                labels = self.start.split(".")
                return ".".join(labels[-(domain.count(".") + 2) :])
            below = domain
        return below

    @property
    def policy(self) -> tuple[str, Record] | None:
        """The record that receivers apply, and its domain (RFC 9989 4.10.1); None without one."""
        public = [domain for domain, one in self.records.items() if one.value("psd") == "y"]
        for domain in (self.start, self.organizational, *public):
            if record := self.records.get(domain):
                return domain, record
        return None


def parse(text: str) -> Record | None:
    """Parse a DMARC record; None for any other text, which receivers ignore.

    Malformed tags after the version are ignored (RFC 9989 4.7).
    """
    if not _IS_RECORD.match(text):
        return None
    found: dict[str, str] = {}
    for part in text.split(";")[1:]:
        try:
            pairs = tags.parse(part)
        except ValueError:
            continue
        for name, value in pairs:
            found.setdefault(name.lower(), value)
    return Record(text, found)


def walk(domain: str, lookup: Lookup) -> Walk:
    """Look up the records of a domain and its parents, in at most eight queries."""
    found = Walk(domain)
    for target in targets(domain):
        answer = lookup(f"_dmarc.{target}", "TXT")
        if answer.failure:
            return Walk(domain, found.records, found.crowded, f"_dmarc.{target}: {answer.failure}")
        records = [one for text in answer.records if (one := parse(text)) is not None]
        if len(records) > 1:
            found.crowded[target] = tuple(record.text for record in records)
        elif records:
            found.records[target] = records[0]
            if records[0].value("psd") in {"y", "n"}:
                break
    return found


def targets(domain: str) -> list[str]:
    """Return the domains of the queries of a tree walk (RFC 9989 4.10)."""
    labels = domain.split(".")
    rest = labels[1:] if len(labels) <= _LABELS else labels[-_LABELS:]
    return [domain, *(".".join(rest[at:]) for at in range(len(rest)))]


def is_aligned(
    identifier: str, author: str, lookup: Lookup, *, strict: bool = False
) -> bool | None:
    """Return whether an authenticated domain is aligned with that of From (RFC 9989 4.4).

    None if a DNS query failed. The tags `adkim` and `aspf` of the author's domain determine whether
    alignment is `strict`.
    """
    identifier, author = identifier.lower().rstrip("."), author.lower().rstrip(".")
    if identifier == author or strict:
        return identifier == author
    walks = walk(identifier, lookup), walk(author, lookup)
    if any(one.failure for one in walks):
        return None
    return walks[0].organizational == walks[1].organizational


def _is_uri(uri: str) -> bool:
    # RFC 7489 allowed a size limit at the end of a URI.
    if uri.lower().startswith("mailto:"):
        return _MAILTO.fullmatch(uri) is not None
    return _URI.fullmatch(uri) is not None
