"""What hostile feeds cost: processor time by kind, at a size, twice and four times the size."""

from __future__ import annotations

import contextlib
import time

import hostile

from newsletter.articles import parse
from newsletter.errors import FeedError

#: Octets; a fetch takes ten million at most.
SIZES = (250_000, 500_000, 1_000_000)
#: A size is read again until that much has been seen, and its best counts: the machine is shared.
_ENOUGH = 0.3
_TRIES = 20


def costs() -> dict[str, list[float]]:
    """Return the processor seconds of every kind, at each size, without the sandbox's limits."""
    return {kind: [_cost(make(size)) for size in SIZES] for kind, make in hostile.KINDS.items()}


def _cost(body: bytes) -> float:
    taken: list[float] = []
    while sum(taken) < _ENOUGH and len(taken) < _TRIES:
        begun = time.process_time()
        with contextlib.suppress(FeedError):
            parse.parse(body, url="https://a.example/feed")
        taken.append(time.process_time() - begun)
    return min(taken)
