"""The bounds within which feeds are fetched and parsed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of one fetch."""

    #: Octets, as sent and again as unpacked.
    max_bytes: int = 10_000_000
    #: Seconds from the first look-up to the last octet, redirects included.
    timeout_seconds: float = 30
    max_redirects: int = 3
    #: Lets feeds come from loopback and private networks.
    allow_private: bool = False
    #: What parsing one document may cost (see `newsletter.articles.sandbox`): seconds of processor
    #: time, seconds in all, and octets that the process which parses may have.
    parse_processor_seconds: int = 5
    parse_seconds: float = 20
    parse_memory_bytes: int = 300_000_000
    #: Whether links lose what says who sent a reader (see `newsletter.articles.link`).
    strip_tracking: bool = True
