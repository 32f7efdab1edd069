"""Keeps the two threads of a worker, the loop's and the committer's, on one processor.

CPython runs one of them at a time: on two processors each switch costs a wake-up and a cold cache.
And Linux moves a thread that is woken to the processor of the one that woke it: it queues the loop
behind a mail server on the same machine, while the other processor is idle. The kernel chooses the
processor, anew every few seconds, since other processes may have come to it.

This is an optimisation alone: where the kernel refuses, threads stay where they are.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

#: The threads of this process, and this one's state (proc(5)).
_THREADS = Path("/proc/self/task")
_STAT = Path("/proc/thread-self/stat")
#: The processor is its 39th field. The second is a name in parentheses that may contain any bytes.
_PROCESSOR = 39
_BEFORE_NAME_ENDS = 2


class Processor:
    """Binds the calling thread and others to one processor, and releases them.

    Does nothing on systems without such a call, or with one processor.
    """

    def __init__(self) -> None:
        self._shared: set[int] = set()
        self._before: set[int] = set()

    def share(self, *others: int) -> None:
        """Bind the calling thread, and `others` by native id, to the processor it now runs on."""
        # Read each time: the operator may have changed the allowed processors since.
        before, here = _allowed(0), _current()
        if here is None or len(before) < 2:
            return
        self._before, self._shared = before, {here}
        # The id of a thread that has ended may belong to another process by now.
        for thread in _running().intersection((threading.get_native_id(), *others)):
            _move(thread, self._shared)

    def leave(self) -> None:
        """Let the kernel choose again, also for threads that were started meanwhile.

        A thread whose processors were changed from outside since keeps them.
        """
        for thread in _running() if self._shared else ():
            if _allowed(thread) == self._shared and not _move(thread, self._before):
                # None of them is allowed any more: any that is allowed now.
                _move(thread, range(os.cpu_count() or 1))
        self._shared = set()


def _running() -> set[int]:
    try:
        return {int(each.name) for each in _THREADS.iterdir()}
    except OSError:
        return set()


def _allowed(thread: int) -> set[int]:
    if sys.platform == "linux":
        # A sandbox may refuse even the query.
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
