"""The bounds within which feeds are fetched and parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from newsletter.settings import Settings


@dataclass(frozen=True)
class Limits:
    """The bounds of one fetch."""

    #: Octets, both as sent and decompressed.
    max_bytes: int = 10_000_000
    #: Seconds from the first look-up to the last octet, with redirects.
    timeout_seconds: float = 30
    max_redirects: int = 3
    #: Allows feeds on loopback and private networks.
    allow_private: bool = False
    #: Limits for parsing one document (see `newsletter.articles.sandbox`): seconds of processor
    #: time, seconds in all, and octets of address space.
    parse_processor_seconds: int = 5
    parse_seconds: float = 20
    parse_memory_bytes: int = 300_000_000
    #: Whether tracking parameters are removed from links (see `newsletter.articles.link`).
    strip_tracking: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the bounds that the settings describe."""
        return cls(
            max_bytes=settings.feed_max_bytes,
            timeout_seconds=settings.feed_timeout_seconds,
            allow_private=settings.feed_private_networks,
            strip_tracking=settings.strip_tracking,
        )
