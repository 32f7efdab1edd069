"""The standard streams: whether one is a terminal, and how output is discarded at its end."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, TextIO


def stdout() -> TextIO | None:
    """Return the standard output; a progress bar would print on its own terminal what it gets."""
    found: TextIO | None = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    return found


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def discard(stream: IO[str]) -> None:
    """Send what is written from now on, and what is in the stream's buffer, nowhere."""
    with suppress(OSError), open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), stream.fileno())
