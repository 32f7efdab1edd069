"""The state of one run that all parts of a worker share: stop, first failure, count of failures.

The parts refer to this object and not to one another, so that there are no circular imports.
"""

from __future__ import annotations

import asyncio

from newsletter.errors import NewsletterError
from newsletter.ledger.registry import Trouble
from newsletter.logs import in_words
from newsletter.logs.event import Event
from newsletter.sender.loop import wait_or_stop
from newsletter.smtp.relays import PATIENCE


class RunState:
    """Stop, failures and reports of one run; used from the worker's event loop only."""

    def __init__(self, *, connections: int, on_trouble: Trouble | None = None) -> None:
        #: Set when the worker is to claim nothing more.
        self.stopping = asyncio.Event()
        #: The first failure, which the run raises at its end.
        self.failure: NewsletterError | None = None
        #: Failed connections and sessions since a relay last replied about a reader.
        self.failures = 0
        #: Connections whose loop has not ended.
        self.working = connections
        self._on_trouble = on_trouble

    @property
    def is_stopping(self) -> bool:
        """Whether the worker is to claim nothing more."""
        return self.stopping.is_set()

    @property
    def repeated_failures(self) -> int:
        """Consecutive failures per connection, without the first, which needs no back-off."""
        return max(self.failures // self.working - 1, 0)

    def stop(self, failure: NewsletterError | None = None) -> None:
        """Make the worker claim nothing more; current messages are finished. Idempotent."""
        self.keep(failure)
        self.stopping.set()

    def keep(self, failure: NewsletterError | None) -> None:
        """Store a failure to be raised at the end of the run, unless there is an earlier one."""
        self.failure = self.failure or failure

    def count_failure(self, failure: NewsletterError) -> None:
        """Count a failed connection or message; stop after too many consecutive failures."""
        self.failures += 1
        if self.failures >= PATIENCE * self.working:
            self.stop(failure)

    async def wait(self, seconds: float) -> None:
        """Wait for `seconds`, or until the run stops."""
        await wait_or_stop(seconds, self.stopping)

    def tell(self, event: Event, sentence: str, hint: str | None = None, **fields: object) -> None:
        """Log an event, and report a sentence and a hint to the operator."""
        event(**fields, message=in_words(sentence, hint))
        if self._on_trouble is not None:
            self._on_trouble(sentence, hint)
