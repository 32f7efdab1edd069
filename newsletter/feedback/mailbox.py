"""Reads mails from a Maildir, an mbox file or a stream, without modifying them.

Only the beginning of each mail is kept, since reports need no more; so memory is bounded for any
mailbox and any mail.
"""

from __future__ import annotations

import mailbox
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from newsletter.errors import InvalidInput
from newsletter.feedback.mime import HEADER_OCTETS, MAXIMUM_OCTETS

#: The line before each mail in an mbox (RFC 4155); its time distinguishes it from a line of text.
_SEPARATOR = re.compile(rb"From [^\r\n]*\d\d:\d\d")
_FIRST = b"From "
_HINT = "Name a mail, a Maildir or an mbox file."


def mails(path: Path, *, hint: str = _HINT) -> Iterator[tuple[Path, bytes]]:
    """Yield path and content of the mails of a Maildir, an mbox file or a file with one mail.

    Each mail is cut after MAXIMUM_OCTETS. Raises InvalidInput if the path cannot be read.
    """
    with readable(path, hint):
        if path.is_dir():
            yield from _maildir(path)
            return
        with path.open("rb") as file:
            for mail in of_stream(file):
                # An empty mbox yields one empty mail.
                if mail:
                    yield path, mail


def of_stream(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the one mail that a mail server pipes to a stream, or each mail of an mbox.

    The stream is read to its end, because a mail server treats a closed pipe as a failure.
    """
    first = stream.readline(HEADER_OCTETS)
    if first.startswith(_FIRST):
        yield from _after_separator(stream.readline)
        return
    yield first + stream.read(MAXIMUM_OCTETS)
    while stream.read(HEADER_OCTETS):
        pass


@contextmanager
def readable(path: Path, hint: str) -> Iterator[None]:
    """Convert errors of reading to InvalidInput, which names the path."""
    try:
        yield
    except (OSError, mailbox.Error) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidInput(f"{path} cannot be read as a mailbox: {reason}.", hint=hint) from exc


def _maildir(path: Path) -> Iterator[tuple[Path, bytes]]:
    with closing(mailbox.Maildir(path, create=False)) as found:
        for key in found.iterkeys():
            # A mail client may delete or move the mail meanwhile.
            with suppress(KeyError, FileNotFoundError), found.get_file(key) as mail:
                yield path / key, mail.read(MAXIMUM_OCTETS)


def _after_separator(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield each mail of an mbox after its first separator line."""
    has_mail = True
    while has_mail:
        head = _beginning(readline)
        body: list[bytes] = []
        has_mail = _read_body(readline, body)
        yield head + b"\n" + b"".join(body)


def _read_body(readline: Callable[[int], bytes], kept: list[bytes]) -> bool:
    """Read past the separator line of the next mail; return False if there is none.

    The lines before it, up to MAXIMUM_OCTETS, are added to `kept`.
    """
    begins_line = True
    room = MAXIMUM_OCTETS
    while line := readline(HEADER_OCTETS):
        if begins_line and _SEPARATOR.match(line):
            return True
        begins_line = line.endswith(b"\n")
        if room > 0:
            kept.append(line)
            room -= len(line)
    return False


def _beginning(readline: Callable[[int], bytes]) -> bytes:
    """Read the headers of a mail, up to HEADER_OCTETS."""
    read, lines = 0, []
    while read < HEADER_OCTETS:
        line = readline(HEADER_OCTETS)
        if not line.strip(b"\r\n"):
            break
        read += len(line)
        lines.append(line)
    return b"".join(lines)
