"""The state of one run that all parts of a worker share: stop, first failure, failures in a row.

The parts hold this object and not one another, so their imports form no circle.
"""

from __future__ import annotations

import asyncio

from newsletter.errors import NewsletterError
from newsletter.ledger.registry import Trouble
from newsletter.sender.loop import wait_or_stop
from newsletter.smtp.relays import PATIENCE


class RunState:
    """Used from the worker's event loop only."""

    def __init__(self, *, connections: int, on_trouble: Trouble | None = None) -> None:
        #: Set once nothing more is to be claimed.
        self.stopping = asyncio.Event()
        #: The first failure: the run raises it at its end.
        self.failure: NewsletterError | None = None
        #: Failed connections and conversations since a relay last answered about a reader.
        self.failures = 0
        #: Connections whose loop has not ended.
        self.working = connections
        self._on_trouble = on_trouble

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is to be claimed."""
        return self.stopping.is_set()

    @property
    def repeated_failures(self) -> int:
        """Failures in a row per connection, but for the first: that one calls for no back-off."""
        return max(self.failures // self.working - 1, 0)

    def stop(self, failure: NewsletterError | None = None) -> None:
        """Claim nothing more; messages under way are finished. Idempotent."""
        self.keep(failure)
        self.stopping.set()

    def keep(self, failure: NewsletterError | None) -> None:
        """Raise a failure at the end of the run, unless an earlier one is kept."""
        self.failure = self.failure or failure

    def count_failure(self, failure: NewsletterError) -> None:
        """Count a failed connection or message; stop when too many failed in a row."""
        self.failures += 1
        if self.failures >= PATIENCE * self.working:
            self.stop(failure)

    async def wait(self, seconds: float) -> None:
        """Wait, but not longer than until the run stops."""
        await wait_or_stop(seconds, self.stopping)

    def tell(self, sentence: str, hint: str | None = None) -> None:
        """Report to the operator: what happened, and what to do."""
        if self._on_trouble is not None:
            self._on_trouble(sentence, hint)
