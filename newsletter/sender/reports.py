"""Reports of a worker to its operator, written by a separate thread.

A terminal that was stopped (Ctrl-S), or a pipe that is not read, must not block the event loop,
which renews the lease and reads replies of servers.
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
    """Calls `on_tally` and `on_trouble` one at a time, in the order of the reports."""

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
        """Report a problem: what happened, and what to do."""
        if self._on_trouble is not None:
            self._thread.submit(self._tell, self._on_trouble, sentence, hint)

    def show(self, tally: T, *, is_last: bool = False) -> None:
        """Report the tally; unless it is the last, it is dropped while the previous one waits."""
        is_free = self._showing is None or self._showing.done()
        if self._on_tally is not None and (is_free or is_last):
            self._showing = self._thread.submit(self._on_tally, tally)

    def _tell(self, on_trouble: Trouble, sentence: str, hint: str | None) -> None:
        # Errors are ignored, because a full disk under a log must not stop the mail.
        with contextlib.suppress(OSError):
            on_trouble(sentence, hint)


@contextmanager
def reporting(
    on_tally: Callable[[T], None] | None, on_trouble: Trouble | None
) -> Iterator[Reports[T]]:
    """Yield the reports of a run; at the end, wait until all have been written."""
    with ThreadPoolExecutor(1, "reports") as thread:
        yield Reports(thread, on_tally, on_trouble)
