"""Which clicks count: each visitor's once a day, and none of a scanner. Decisions without I/O.

A visitor is a hash of network and user agent under a salt that exists in memory only and is new
each day; so nobody can be found by it later, and the same visitor is another one tomorrow.

A scanner of mails opens most links of a mail at once. A click is therefore held for ten seconds
before it counts. Three different links of one edition within three seconds make their visitor a
scanner: what is held of it for this edition is dropped, and nothing of it counts for this edition
until it has been quiet for fifteen minutes. The numbers are those of others who filter: scanners
take a second or less for a link, and all clicks within ten seconds of a certain one are theirs
(Mautic, issue 9798); they open every link of a mail in three seconds, and quiet for fifteen minutes
ends it (Paminga, "Bot Filtering" and "Enhanced Bot Click Filtering"). Whoever opens two links, or
opens them at the pace of a person, or comes from another network for each link, is not noticed.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import blake2b

#: How long a click is held before it counts.
HOLD = timedelta(seconds=10)
#: So many different links of one edition within `BURST_WINDOW` are a scanner's.
BURST = 3
BURST_WINDOW = timedelta(seconds=3)
#: How long a scanner has to be quiet until its clicks count again.
QUIET = timedelta(minutes=15)
#: Visitors whose clicks are held at a time; clicks of more visitors are not counted. With the next
#: limit, about 40 MB in all, reached in a flood only.
MOST_VISITORS = 20_000
#: Clicks of a day that are remembered; of more, the oldest are forgotten, and may count twice.
MOST_SEEN = 200_000
_SALT_BYTES = 16
_HASH_BYTES = 8
#: Headers of requests that no person has made: the first by the Fetch standard (2.2.5), the others
#: of older browsers.
_SPECULATIVE = ("sec-purpose", "purpose", "x-moz")


def is_speculative(headers: Mapping[str, str]) -> bool:
    """Return whether a request is for a page that nobody has asked to see yet, such as prefetch."""
    return any(name in headers for name in _SPECULATIVE)


@dataclass(frozen=True)
class Click:
    """A request for an article by its link in an edition's mail."""

    #: The name of the edition: weekly-2026-11-23.
    edition: str
    article_id: int
    #: The smallest network that counts as one client (see `peers.home`).
    network: str
    #: The User-Agent header.
    agent: str


@dataclass
class _Visit:
    """What one visitor opens in one edition."""

    edition: str
    #: The time of the last click on each article, and the hash of visitor and article.
    held: dict[int, tuple[datetime, bytes]] = field(default_factory=dict)
    #: For a scanner, the time until which nothing counts.
    is_scanner_until: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        until = self.is_scanner_until
        return not self.held and (until is None or until <= now)


class ClickFilter:
    """Holds clicks until it is known whether they count."""

    def __init__(
        self, new_salt: Callable[[], bytes] = lambda: secrets.token_bytes(_SALT_BYTES)
    ) -> None:
        self._new_salt = new_salt
        self._salt = b""
        self._day: date | None = None
        #: What has counted today, in the order of its time.
        self._seen: dict[bytes, None] = {}
        self._visits: dict[bytes, _Visit] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._visits

    def take(self, click: Click, *, now: datetime, day: date) -> None:
        """Hold a click; `day` is the local date of `now`."""
        if day != self._day:
            self._day, self._salt = day, self._new_salt()
            self._seen.clear()
        visitor = self._hash(click.edition, click.network, click.agent)
        visit = self._visits.get(visitor)
        if visit is None:
            if len(self._visits) >= MOST_VISITORS:
                return
            visit = self._visits[visitor] = _Visit(click.edition)
        if visit.is_scanner_until is not None:
            if now < visit.is_scanner_until:
                visit.is_scanner_until = now + QUIET
                return
            visit.is_scanner_until = None
        counted = self._hash(visitor.hex(), str(click.article_id))
        visit.held[click.article_id] = (now, counted)
        if sum(now - at <= BURST_WINDOW for at, _ in visit.held.values()) >= BURST:
            visit.held.clear()
            visit.is_scanner_until = now + QUIET

    def settle(self, now: datetime, *, is_last: bool = False) -> Counter[tuple[str, int]]:
        """Return by edition and article the clicks that count since the last call.

        With `is_last`, those that are still held count too.
        """
        found: Counter[tuple[str, int]] = Counter()
        for visitor, visit in list(self._visits.items()):
            for article_id, (at, counted) in list(visit.held.items()):
                if is_last or now - at >= HOLD:
                    del visit.held[article_id]
                    if counted not in self._seen:
                        self._seen[counted] = None
                        found[visit.edition, article_id] += 1
            if visit.is_over(now):
                del self._visits[visitor]
        while len(self._seen) > MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        return found

    def _hash(self, *parts: str) -> bytes:
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._salt, digest_size=_HASH_BYTES).digest()
