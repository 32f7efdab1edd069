"""Files that commands read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from newsletter.errors import InvalidInput


@contextmanager
def opened(file: Path) -> Iterator[BufferedReader]:
    """Open a file, or standard input for -; raises InvalidInput."""
    if str(file) == "-":
        given = BufferedReader(cast(Any, sys.stdin.buffer))
        try:
            yield given
        finally:
            # It is not ours to close.
            given.detach()
        return
    try:
        stream = file.open("rb")
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be read: {exc.strerror}.") from exc
    with stream:
        yield stream
