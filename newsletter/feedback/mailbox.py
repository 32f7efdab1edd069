"""Reads mails from a Maildir, an mbox file or a stream, without modifying them.

Only the headers are kept, up to a limit, so that memory is bounded for any mailbox and any mail.
"""

from __future__ import annotations

import mailbox
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from newsletter.errors import InvalidInput
from newsletter.feedback import report

#: The beginning of each mail in an mbox (RFC 4155).
_SEPARATOR = b"From "


def headers(path: Path) -> Iterator[bytes]:
    """Yield the headers of each mail of a Maildir or an mbox file.

    Raises InvalidInput if it is neither, or cannot be read.
    """
    try:
        if path.is_dir():
            yield from _maildir(path)
        else:
            yield from _mbox(path)
    except (OSError, mailbox.Error) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidInput(
            f"{path} cannot be read as a mailbox: {reason}.", hint="Name a Maildir or an mbox file."
        ) from exc


def of_stream(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the headers of the mail on a stream, as a mail server pipes it, or of a whole mbox.

    The stream is read to its end: a mail server takes a closed pipe for a failure.
    """
    first = stream.readline(report.MAXIMUM_OCTETS)
    if first.startswith(_SEPARATOR):
        yield from _after_separator(stream.readline)
        return
    yield first + _beginning(stream.readline)
    while stream.read(report.MAXIMUM_OCTETS):
        pass


def _maildir(path: Path) -> Iterator[bytes]:
    with closing(mailbox.Maildir(path, create=False)) as found:
        for key in found.iterkeys():
            # A mail client may delete or move the mail meanwhile.
            with suppress(KeyError, FileNotFoundError), found.get_file(key) as mail:
                yield _beginning(mail.readline)


def _mbox(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        first = file.readline(report.MAXIMUM_OCTETS)
        if not first:
            return
        if not first.startswith(_SEPARATOR):
            raise mailbox.FormatError('it does not begin with "From "')
        yield from _after_separator(file.readline)


def _after_separator(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the headers of each mail of an mbox after its first separator line."""
    has_mail = True
    while has_mail:
        yield _beginning(readline)
        has_mail = _skip_body(readline)


def _skip_body(readline: Callable[[int], bytes]) -> bool:
    """Read past the separator line of the next mail; False if there is none."""
    begins_line = True
    while line := readline(report.MAXIMUM_OCTETS):
        if begins_line and line.startswith(_SEPARATOR):
            return True
        begins_line = line.endswith(b"\n")
    return False


def _beginning(readline: Callable[[int], bytes]) -> bytes:
    """Read the headers of a mail, up to MAXIMUM_OCTETS."""
    read, lines = 0, []
    while read < report.MAXIMUM_OCTETS:
        line = readline(report.MAXIMUM_OCTETS)
        if not line.strip(b"\r\n"):
            break
        read += len(line)
        lines.append(line)
    return b"".join(lines)
