"""The standard streams: whether one is a terminal or has input, and how output is discarded."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import struct
import sys
import termios
from contextlib import suppress
from typing import IO, TextIO


def stdout() -> TextIO | None:
    """Return the standard output itself, also while a progress bar has replaced it."""
    found: TextIO | None = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    return found


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def has_waiting(stream: IO[str] | None) -> bool:
    """Return whether a pipe, socket or file that a stream reads has octets, without reading them.

    The writer of a pipe gets a second to begin. A closed stream, or /dev/null, has no octets.
    """
    try:
        descriptor = stream.fileno() if stream is not None else -1
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            # `select` also returns immediately at the end of the input.
            select.select([descriptor], [], [], 1.0)
        elif not stat.S_ISREG(mode):
            return False
        found = fcntl.ioctl(descriptor, termios.FIONREAD, struct.pack("i", 0))
    except (OSError, ValueError, AttributeError):
        # The stream is closed, or is no file.
        return False
    return bool(struct.unpack("i", found)[0])


def discard(stream: IO[str]) -> None:
    """Discard what is in the stream's buffer, and what is written to it from now on."""
    with suppress(OSError), open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), stream.fileno())
