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
def unpacked(stream: io.BufferedReader, *, name: str) -> Iterator[BinaryIO]:
    """Decompress a stream if it is a rotated log, and yield it in UTF-8.

    `name` is that of its file; raises InvalidInput if the stream is not what the name says.
    """
    if not name.endswith(".gz") and not _begins(stream, _GZIP):
        yield _as_utf8(stream)
        return
    try:
        with gzip.open(stream) as inside:
            yield _as_utf8(inside)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise InvalidInput(
            f"{name} is damaged, or not what its name says: {exc}.",
            hint="What was read of it counts; the same again with a whole file goes on.",
        ) from exc


def _as_utf8(stream: io.BufferedReader | gzip.GzipFile) -> BinaryIO:
    """Convert a stream in UTF-16, as Windows shells write it, to UTF-8; return others unchanged."""
    if _begins(stream, *_UTF_16):
        return cast(BinaryIO, codecs.EncodedFile(stream, "utf-8", "utf-16", errors="replace"))
    return cast(BinaryIO, stream)


def _begins(stream: io.BufferedReader | gzip.GzipFile, *with_any: bytes) -> bool:
    return stream.peek(2)[:2] in with_any
