"""Lines to standard error, by a thread of their own.

A terminal that was stopped (Ctrl-S), or a pipe that nobody reads, must not stop what logs: an event
loop renews the lease of its worker there, and reads the replies of servers.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from contextlib import suppress

#: Lines that wait to be written; more are dropped, and counted.
_LONGEST = 10_000
#: How long the end of the process waits for the last lines, in seconds.
_FLUSH_SECONDS = 2.0


class Stream(logging.Handler):
    """A handler that never waits for who reads its lines."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(_LONGEST)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line to the thread, which begins with the first one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="logs", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until what was logged before is written, but not for ever; logging calls it at exit.

        Without room for the request, nobody has read a line for long: that is not waited for.
        """
        written = threading.Event()
        if self._thread is None:
            return
        try:
            self._lines.put_nowait(written)
        except queue.Full:
            return
        written.wait(_FLUSH_SECONDS)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            dropped, self._dropped = self._dropped, 0
            more = f"{dropped} lines were not written: nobody read them.\n" if dropped else ""
            try:
                # As it is now: a progress bar takes its place for a while.
                sys.stderr.write(f"{line}\n{more}")
                sys.stderr.flush()
            except BrokenPipeError:
                _discard()
            except (OSError, ValueError, AttributeError):
                # A full disk, or no stream at all.
                continue


def _discard() -> None:
    """Send standard error nowhere: its reader has ended, and its buffer must not fail at exit."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), sys.stderr.fileno())
