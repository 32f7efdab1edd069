"""Keeps the two threads of a worker, the loop's and the committer's, on one processor.

CPython runs one of them at a time: on two processors each turn costs a wake-up and a cold cache.
And Linux moves whoever is woken to the processor of whoever wakes it: it puts the loop behind a
mail server on the same machine, and leaves the other processor idle. Which processor it is, the
kernel chooses, and again every few seconds: others may have come to it since.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

#: Of this thread, as the kernel tells it (proc(5)): the processor is its 39th word.
_STAT = Path("/proc/thread-self/stat")
_PROCESSOR = 39
#: After the second, a name in parentheses that may have anything in it.
_BEFORE_NAME_ENDS = 2


class Processor:
    """Where the calling thread runs, and who is to run beside it.

    Does nothing where the system has no such choice, or one processor alone.
    """

    def __init__(self) -> None:
        self._allowed = _allowed()

    def share(self, threads: Iterable[int]) -> None:
        """Keep some threads, by their native ids, where the calling one runs at this moment."""
        if len(self._allowed) > 1 and (here := _current()) is not None:
            _keep(threads, {here})

    def leave(self, threads: Iterable[int]) -> None:
        """Let the kernel choose again, for each of them."""
        if len(self._allowed) > 1:
            _keep(threads, self._allowed)


def own_thread() -> list[int]:
    """Return the native id of the calling thread, as `Processor` takes it."""
    return [threading.get_native_id()]


def _allowed() -> set[int]:
    return os.sched_getaffinity(0) if sys.platform == "linux" else set()


def _keep(threads: Iterable[int], processors: set[int]) -> None:
    for thread in threads:
        # It has just ended, or somebody has taken these processors from us meanwhile.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(thread, processors)


def _current() -> int | None:
    try:
        words = _STAT.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(words[_PROCESSOR - _BEFORE_NAME_ENDS - 1])
