"""Keeps the two threads of a worker, the loop's and the committer's, on one processor.

CPython runs one of them at a time: on two processors each turn costs a wake-up and a cold cache.
And Linux moves whoever is woken to the processor of whoever wakes it: it puts the loop behind a
mail server on the same machine, and leaves the other processor idle. Which processor it is, the
kernel chooses, and again every few seconds: others may have come to it since.

It saves time and does nothing else: where the kernel says no, threads stay where they are.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Collection, Iterable
from pathlib import Path

#: The threads of this process, and this one as the kernel tells it (proc(5)).
_THREADS = Path("/proc/self/task")
_STAT = Path("/proc/thread-self/stat")
#: The processor is the 39th word of it. After the second, a name in parentheses that may have
#: anything in it, halves of letters too.
_PROCESSOR = 39
_BEFORE_NAME_ENDS = 2


class Processor:
    """Where the calling thread runs, and who is to run beside it.

    Does nothing where the system has no such choice, or one processor alone.
    """

    def __init__(self) -> None:
        self._shared: set[int] = set()
        self._before: set[int] = set()

    def share(self, threads: Iterable[int]) -> None:
        """Keep some threads, by their native ids, where the calling one runs at this moment."""
        # Anew each time: whoever runs this program may have given it others since.
        self._before = _allowed(0)
        here = _current()
        if here is None or len(self._before) < 2:
            return
        self._shared = {here}
        # The id of a thread that has ended may be somebody else's by now.
        _keep(_running().intersection(threads), self._shared)

    def leave(self) -> None:
        """Let the kernel choose again, also for what has been started from there meanwhile.

        A thread that somebody else has moved since is left where it is.
        """
        if self._shared:
            _keep((each for each in _running() if _allowed(each) == self._shared), self._before)
        self._shared = set()


def own_thread() -> int:
    """Return the native id of the calling thread, as `Processor` takes it."""
    return threading.get_native_id()


def _running() -> set[int]:
    try:
        return {int(each.name) for each in _THREADS.iterdir()}
    except OSError:
        return set()


def _allowed(thread: int) -> set[int]:
    if sys.platform == "linux":
        # A sandbox may not allow so much as the question.
        with contextlib.suppress(OSError):
            return os.sched_getaffinity(thread)
    return set()


def _keep(threads: Iterable[int], processors: Collection[int]) -> None:
    for thread in threads:
        with contextlib.suppress(OSError):
            _move(thread, processors)


def _move(thread: int, processors: Collection[int]) -> None:
    try:
        os.sched_setaffinity(thread, processors)
    except OSError:
        # They may all have been taken from us meanwhile: any, of those that we may use now.
        if len(processors) > 1:
            os.sched_setaffinity(thread, range(os.cpu_count() or 1))


def _current() -> int | None:
    try:
        words = _STAT.read_bytes().rpartition(b")")[2].split()
        return int(words[_PROCESSOR - _BEFORE_NAME_ENDS - 1])
    except (OSError, ValueError, IndexError):
        return None
