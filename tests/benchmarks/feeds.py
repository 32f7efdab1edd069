"""What hostile feeds cost: processor time by kind, at a size, twice and four times the size."""

from __future__ import annotations

import contextlib
import time

import hostile

from newsletter.articles import parse
from newsletter.errors import FeedError

#: Octets; a fetch takes ten million at most.
SIZES = (250_000, 500_000, 1_000_000)
#: A size is read so often, and until that much has been seen (seconds), and its best counts: the
#: machine is shared, and one try of a second may take half as long again.
_TRIES = (3, 20)
_ENOUGH = 0.3


def costs() -> dict[str, list[float]]:
    """Return the processor seconds of every kind, at each size, without the sandbox's limits."""
    return {kind: [_cost(make(size)) for size in SIZES] for kind, make in hostile.KINDS.items()}


def _cost(body: bytes) -> float:
    taken: list[float] = []
    at_least, at_most = _TRIES
    while len(taken) < at_least or (sum(taken) < _ENOUGH and len(taken) < at_most):
        begun = time.process_time()
        with contextlib.suppress(FeedError):
            parse.parse(body, url="https://a.example/feed")
        taken.append(time.process_time() - begun)
    return min(taken)
