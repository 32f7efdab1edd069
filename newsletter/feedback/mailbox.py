"""Finds the mails: in a Maildir, in an mbox file, or one on a stream. Nothing is changed in any.

Only headers are read, so a mailbox of any size costs little.
"""

from __future__ import annotations

import mailbox
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from newsletter.errors import InvalidInput
from newsletter.feedback import report

#: How each mail of an mbox begins.
_SEPARATOR = b"From "


def headers(path: Path) -> Iterator[bytes]:
    """Give the headers of each mail of a Maildir or an mbox file.

    Raises InvalidInput if it is neither, or cannot be read.
    """
    try:
        found = mailbox.Maildir(path, create=False) if path.is_dir() else _mbox(path)
        with closing(found):
            for key in found.iterkeys():
                # Somebody may be reading their mail, and delete it.
                with suppress(KeyError, FileNotFoundError), found.get_file(key) as mail:
                    yield _beginning(mail.readline)
    except (OSError, mailbox.Error) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidInput(
            f"{path} cannot be read as a mailbox: {reason}.", hint="Name a Maildir or an mbox file."
        ) from exc


def of_stream(stream: BinaryIO) -> Iterator[bytes]:
    """Give the headers of the mail on a stream, as a mail server pipes it, or of a whole mbox."""
    first = stream.readline(report.MAXIMUM_OCTETS)
    if not first.startswith(_SEPARATOR):
        yield first + _beginning(stream.readline)
        # To its end: who pipes it would take a closed pipe for a failure.
        while stream.read(report.MAXIMUM_OCTETS):
            pass
        return
    with NamedTemporaryFile() as copy:
        copy.write(first)
        shutil.copyfileobj(stream, copy)
        copy.flush()
        yield from headers(Path(copy.name))


def _mbox(path: Path) -> mailbox.mbox:
    with path.open("rb") as file:
        begins = file.read(len(_SEPARATOR))
    if begins not in {b"", _SEPARATOR}:
        raise mailbox.FormatError('it does not begin with "From "')
    return mailbox.mbox(path, create=False)


def _beginning(readline: Callable[[int], bytes]) -> bytes:
    """Read the headers, and of them no more than anyone looks at."""
    read, lines = 0, []
    while read < report.MAXIMUM_OCTETS:
        line = readline(report.MAXIMUM_OCTETS)
        if not line.strip(b"\r\n"):
            break
        read += len(line)
        lines.append(line)
    return b"".join(lines)
