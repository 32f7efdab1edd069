"""Files that commands read and write."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

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


@contextmanager
def seekable(file: Path) -> Iterator[BinaryIO]:
    """Open a file for reading twice; a pipe is copied to an unnamed temporary file first."""
    with opened(file) as stream:
        if stream.seekable():
            yield stream
            return
        # Unlinked as it is made (0600): nothing stays, even after a kill.
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(stream, spool)
            spool.seek(0)
            yield cast(BinaryIO, spool)


@contextmanager
def replaced(file: Path) -> Iterator[TextIO]:
    """Give a UTF-8 stream that takes the place of `file` when the block ends without an error.

    Only its owner may read it (0600), whatever stood there before, and a symbolic link is replaced,
    never followed. Lines end as they are written. Raises InvalidInput if it cannot be made.
    """
    with _replaced(file) as stream:
        text = TextIOWrapper(stream, encoding="utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def write(file: Path, content: str | bytes) -> None:
    """Write a whole file at once, as `replaced` does."""
    with _replaced(file) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def _replaced(file: Path) -> Iterator[BinaryIO]:
    if file.exists() and not file.is_file():
        # Renamed over a folder it would fail, and over a device it would not.
        raise InvalidInput(f"{file} is no file.", hint="Name a file, or none for standard output.")
    try:
        # A new file with a random name, made with O_EXCL, O_NOFOLLOW and 0600.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:100]}.")
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be written: {exc.strerror}.") from exc
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    finally:
        Path(name).unlink(missing_ok=True)
