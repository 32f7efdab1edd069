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
from collections.abc import Iterable
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

    def share(self, *others: int) -> None:
        """Keep others, by their native ids, and the calling thread where it runs at this moment."""
        # Anew each time: whoever runs this program may have given it others since.
        before, here = _allowed(0), _current()
        if here is None or len(before) < 2:
            return
        self._before, self._shared = before, {here}
        # The id of a thread that has ended may be somebody else's by now.
        for thread in _running().intersection((threading.get_native_id(), *others)):
            _move(thread, self._shared)

    def leave(self) -> None:
        """Let the kernel choose again, also for what has been started from there meanwhile.

        A thread that somebody else has moved since is left where it is.
        """
        for thread in _running() if self._shared else ():
            if _allowed(thread) == self._shared and not _move(thread, self._before):
                # They have all been taken from us: any, of those that we may use now.
                _move(thread, range(os.cpu_count() or 1))
        self._shared = set()


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


def _move(thread: int, processors: Iterable[int]) -> bool:
    try:
        os.sched_setaffinity(thread, processors)
    except OSError:
        return False
    return True


def _current() -> int | None:
    try:
        words = _STAT.read_bytes().rpartition(b")")[2].split()
        return int(words[_PROCESSOR - _BEFORE_NAME_ENDS - 1])
    except (OSError, ValueError, IndexError):
        return None
