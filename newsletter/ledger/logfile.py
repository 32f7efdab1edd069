"""Opens a relay's log as it comes: plain, compressed by gzip, in UTF-8 or in UTF-16."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from newsletter.errors import InvalidInput

#: The first octets of a gzip file, and of a file in UTF-16.
_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def unpacked(
    stream: io.BufferedReader, *, name: str, at_most: int | None = None
) -> Iterator[BinaryIO]:
    """Decompress a stream if it is a rotated log, and yield it in UTF-8.

    `name` is that of its file; raises InvalidInput if the stream is not what the name says, and if
    it unpacks to more than `at_most` octets.
    """
    if not name.endswith(".gz") and not _begins(stream, _GZIP):
        yield _as_utf8(stream)
        return
    try:
        with _Limited(stream, at_most) as inside:
            yield _as_utf8(inside)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise InvalidInput(
            f"{name} is damaged, or not what its name says: {exc}.",
            hint="What was read of it counts; the same again with a whole file goes on.",
        ) from exc


class _Limited(gzip.GzipFile):
    """A gzip file of which no more is read than a number of octets."""

    def __init__(self, stream: io.BufferedReader, at_most: int | None) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._at_most = at_most

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if self._at_most is not None and self.tell() > self._at_most:
            raise InvalidInput(
                f"Unpacked, the file has more than {self._at_most:,} octets.",
                hint="`newsletter delivery reconcile` takes files of any size.",
            )
        return line


def _as_utf8(stream: io.BufferedReader | gzip.GzipFile) -> BinaryIO:
    """Convert a stream in UTF-16, as Windows shells write it, to UTF-8; return others unchanged."""
    if _begins(stream, *_UTF_16):
        return cast(BinaryIO, codecs.EncodedFile(stream, "utf-8", "utf-16", errors="replace"))
    return cast(BinaryIO, stream)


def _begins(stream: io.BufferedReader | gzip.GzipFile, *with_any: bytes) -> bool:
    return stream.peek(2)[:2] in with_any
