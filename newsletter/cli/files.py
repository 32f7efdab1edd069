"""Files that commands read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from newsletter.errors import InvalidInput


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file, or standard input for -; raises InvalidInput."""
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = file.open("rb")
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be read: {exc.strerror}.") from exc
    with stream:
        yield stream
