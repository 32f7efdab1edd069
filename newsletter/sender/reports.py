"""What a worker reports to its operator, from a thread of its own.

A terminal that was stopped (Ctrl-S), or a pipe that nobody reads, must not stop the event loop: the
lease is renewed there, and replies of servers are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from newsletter.ledger.registry import Trouble

T = TypeVar("T")


class Reports(Generic[T]):
    """Calls `on_tally` and `on_trouble` one at a time, in the order in which they are asked for."""

    def __init__(
        self,
        thread: ThreadPoolExecutor,
        on_tally: Callable[[T], None] | None,
        on_trouble: Trouble | None,
    ) -> None:
        self._thread = thread
        self._on_tally = on_tally
        self._on_trouble = on_trouble
        self._showing: Future[None] | None = None

    def tell(self, sentence: str, hint: str | None) -> None:
        """Report what happened, and what to do."""
        if self._on_trouble is not None:
            self._thread.submit(self._tell, self._on_trouble, sentence, hint)

    def show(self, tally: T, *, is_last: bool = False) -> None:
        """Report the tally; but for the last one, only if the one before has been shown."""
        is_free = self._showing is None or self._showing.done()
        if self._on_tally is not None and (is_free or is_last):
            self._showing = self._thread.submit(self._on_tally, tally)

    def _tell(self, on_trouble: Trouble, sentence: str, hint: str | None) -> None:
        # A full disk under a log must not stop the mail.
        with contextlib.suppress(OSError):
            on_trouble(sentence, hint)


@contextmanager
def reporting(
    on_tally: Callable[[T], None] | None, on_trouble: Trouble | None
) -> Iterator[Reports[T]]:
    """Yield where to report to; at the end all of it has been said."""
    with ThreadPoolExecutor(1, "reports") as thread:
        yield Reports(thread, on_tally, on_trouble)
