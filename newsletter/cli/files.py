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
            # Detached, so that standard input is not closed.
            given.detach()
        return
    try:
        stream = file.open("rb")
    except OSError as exc:
        raise InvalidInput(f"{file} cannot be read: {exc.strerror}.") from exc
    with stream:
        yield stream


def read(file: Path, limit: int) -> str:
    """Return the UTF-8 text of a file, or of standard input for -, up to `limit` characters.

    Raises InvalidInput.
    """
    try:
        with opened(file) as stream:
            text = TextIOWrapper(stream, encoding="utf-8-sig")
            try:
                return text.read(limit)
            finally:
                text.detach()
    except UnicodeDecodeError as exc:
        name = "Standard input" if str(file) == "-" else file
        raise InvalidInput(f"{name} is not UTF-8.", hint="Save the text as UTF-8.") from exc


@contextmanager
def seekable(file: Path) -> Iterator[BinaryIO]:
    """Open a file for reading twice; a pipe is copied to an unnamed temporary file first."""
    with opened(file) as stream:
        if stream.seekable():
            yield stream
            return
        # The file (mode 0600) is unlinked at its creation, so none is left even after a kill.
        with tempfile.TemporaryFile() as spool:
            shutil.copyfileobj(stream, spool)
            spool.seek(0)
            yield cast(BinaryIO, spool)


@contextmanager
def replaced(file: Path) -> Iterator[TextIO]:
    """Yield a UTF-8 stream whose content replaces `file` if the block ends without an error.

    The new file is readable only by its owner (0600), whatever the old one's mode was; a symbolic
    link is replaced and not followed. Line ends are not converted. Raises InvalidInput if the file
    cannot be created.
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
        # Refused here: renaming to a folder would fail, but renaming to a device would replace it.
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
