"""Detects the encoding of a file: UTF-8, UTF-16, or Windows-1252, which Excel writes as "CSV"."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from io import TextIOWrapper
from typing import BinaryIO

from newsletter.errors import InvalidInput

_BLOCK = 1 << 16
#: NUL octets that indicate UTF-16 without a byte order mark: minimum number, and share of
#: characters.
_FEWEST = 4
_SHARE = 0.1
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

#: Signatures of files that are no text.
_NO_TEXT = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
}


@dataclass(frozen=True)
class Encoding:
    """How to decode a file."""

    name: str
    #: The codec error handler.
    errors: str = "surrogateescape"
    #: An assumption to show to the operator.
    assumed: str | None = None
    #: Whether letters outside ASCII may be wrong.
    is_guess: bool = False


UTF_8 = Encoding("utf-8-sig")


def find(stream: BinaryIO) -> Encoding:
    """Read a stream to its end and return its encoding, in constant memory.

    Octets that are not UTF-8 mean Windows-1252, unless there are valid UTF-8 sequences too. Raises
    InvalidInput for a file that is no text.
    """
    block = stream.read(_BLOCK)
    _check_text(block)
    wide = _wide(block)
    if wide is not None:
        return wide
    has_utf_8 = is_broken = False
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    while block:
        if not block.isascii():
            text = decoder.decode(block)
            is_broken = is_broken or any("\udc80" <= letter <= "\udcff" for letter in set(text))
            has_utf_8 = has_utf_8 or any(
                letter > "\x7f" and not "\ud800" <= letter <= "\udfff" for letter in set(text)
            )
        block = stream.read(_BLOCK)
    if not is_broken:
        return UTF_8
    if has_utf_8:
        return Encoding(
            "utf-8-sig", assumed="It is UTF-8, but for some characters that could not be read."
        )
    return Encoding(
        "cp1252",
        assumed="It is not UTF-8 and was read as Windows-1252, as Excel writes it. "
        "Addresses with letters outside ASCII are rejected.",
        is_guess=True,
    )


def decode(stream: BinaryIO, encoding: Encoding = UTF_8) -> TextIOWrapper:
    """Return the text of a file; octets that cannot be decoded become surrogates."""
    return TextIOWrapper(stream, encoding=encoding.name, errors=encoding.errors, newline=None)


def _check_text(block: bytes) -> None:
    for start, kind in _NO_TEXT.items():
        if block.startswith(start):
            raise InvalidInput(
                f"The file is {kind}, and no CSV.",
                hint="Take the CSV file out of it, or save the sheet as CSV (UTF-8).",
            )


def _wide(block: bytes) -> Encoding | None:
    """Detect UTF-16 and UTF-32 by a byte order mark, or UTF-16 by the NUL octets of ASCII."""
    for mark, name in _MARKS:
        if block.startswith(mark):
            return Encoding(name, errors="replace", assumed=f"It was read as {name.upper()}.")
    start = block[:1_000]
    pairs = len(start) // 2
    if pairs < 4:
        return None
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = start[offset::2][:pairs].count(0)
        # Letters of other scripts may have a NUL as their other octet.
        others = start[1 - offset :: 2].count(0)
        is_wide = zeros >= max(_FEWEST, _SHARE * pairs) and zeros > 4 * others
        if is_wide and _has_its_lines(start, name):
            return Encoding(
                name,
                errors="replace",
                assumed="It has no byte order mark and was read as UTF-16.",
            )
    return None


def _has_its_lines(start: bytes, name: str) -> bool:
    """Return whether most line feed octets of a block are also characters in an encoding."""
    breaks = start.count(b"\n")
    return not breaks or 2 * start.decode(name, errors="replace").count("\n") >= breaks
