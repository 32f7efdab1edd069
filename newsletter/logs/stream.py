"""Writes log lines to standard error from a separate thread.

A terminal that was stopped (Ctrl-S), or a pipe that nobody reads, must not block the event loop
that logs, since it also renews the lease of its worker and reads the replies of servers.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from contextlib import suppress

from newsletter.logs.lines import MESSAGE, NAME

#: Maximum of waiting lines; more are dropped and counted.
_LONGEST = 10_000
#: How long the end of the process waits for the last lines, in seconds.
_FLUSH_SECONDS = 2.0


class Stream(logging.Handler):
    """A handler that never blocks, even if nobody reads its output."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(_LONGEST)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line for the thread, which is started by the first line."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="logs", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait briefly until earlier lines are written; called by `logging` at exit.

        Does not wait if the queue is full, because then nobody reads the output.
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
            more = f"{self.format(_lost(dropped))}\n" if dropped else ""
            try:
                # Looked up for each line, because a progress bar temporarily replaces sys.stderr.
                sys.stderr.write(f"{line}\n{more}")
                sys.stderr.flush()
            except BrokenPipeError:
                _discard()
            except (OSError, ValueError, AttributeError):
                # The disk is full, or there is no stream.
                continue


def _lost(lines: int) -> logging.LogRecord:
    """Return the record of an event that says how many lines were dropped."""
    said = {MESSAGE: f"{lines} lines were not written, because nobody read them."}
    of_event = {"name": NAME, "event": "notice", "values": said}
    level = {"levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord({**of_event, **level})


def _discard() -> None:
    """Redirect standard error to /dev/null, so that flushing it at exit does not fail."""
    with suppress(OSError, ValueError, AttributeError), open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), sys.stderr.fileno())
