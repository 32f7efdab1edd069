"""Reads returned mails from a Maildir or an mbox file of this machine, once each.

In a Maildir, understood mails are moved or deleted, and receipts with the file names of the others
are stored. An mbox file is not changed, since a mail server may be writing to it; receipts are
stored for all of its mails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from newsletter.feedback import mailbox, remembered
from newsletter.feedback.mime import MAXIMUM_OCTETS
from newsletter.feedback.sources import Mail, grouped

_HINT = "Name a Maildir or an mbox file in NEWSLETTER_FEEDBACK_URL."


class MaildirSource:
    """A Maildir."""

    def __init__(self, path: Path, engine: Engine, *, folder: str, now: datetime) -> None:
        self._path = path
        self._engine = engine
        self._now = now
        # Folders of a Maildir++, as Dovecot and Courier name them: a dot separates levels.
        name = folder.strip("/").replace("/", ".")
        self._processed = path / f".{name}" if name else None
        self.waiting: int | None = None

    def batches(self) -> Iterator[list[Mail]]:
        """Yield the mails without a receipt."""
        with mailbox.readable(self._path, _HINT):
            found = {self._key(name): name for name in self._names()}
        unread = remembered.missing(self._engine, list(found), now=self._now)
        self.waiting = len(unread)
        for batch in grouped(self._sized(found[key] for key in unread)):
            yield list(self._fetched(batch))

    def settle(self, *, understood: Sequence[str], left: Sequence[str]) -> None:
        """Move or delete understood mails, and store receipts of the others."""
        remembered.add(self._engine, [self._key(one) for one in left], now=self._now)
        with mailbox.readable(self._path, _HINT):
            if self._processed is not None and understood:
                for each in ("cur", "new", "tmp"):
                    (self._processed / each).mkdir(mode=0o700, parents=True, exist_ok=True)
                (self._processed / "maildirfolder").touch(mode=0o600)
            for name in understood:
                # A mail client may have moved or deleted the mail meanwhile.
                with suppress(FileNotFoundError):
                    self._take_away(name)

    def _names(self) -> Iterator[str]:
        for each in ("new", "cur"):
            for entry in (self._path / each).iterdir():
                if not entry.name.startswith("."):
                    yield f"{each}/{entry.name}"

    def _sized(self, names: Iterator[str]) -> Iterator[tuple[str, int]]:
        for name in names:
            with mailbox.readable(self._path, _HINT), suppress(FileNotFoundError):
                yield name, (self._path / name).stat().st_size

    def _fetched(self, names: Sequence[str]) -> Iterator[Mail]:
        for name in names:
            with (
                mailbox.readable(self._path, _HINT),
                suppress(FileNotFoundError),
                (self._path / name).open("rb") as file,
            ):
                yield Mail(name, file.read(MAXIMUM_OCTETS))

    def _take_away(self, name: str) -> None:
        here = self._path / name
        if self._processed is None:
            here.unlink()
        else:
            here.rename(self._processed / "cur" / here.name)

    def _key(self, name: str) -> str:
        # The flags after the colon are no part of the key, because they change.
        unique = name.partition("/")[2].partition(":")[0]
        return remembered.key("maildir", str(self._path.absolute()), unique)


class MboxSource:
    """An mbox file, or a file with one mail."""

    def __init__(self, path: Path, engine: Engine, *, now: datetime) -> None:
        self._path = path
        self._engine = engine
        self._now = now
        self.waiting: int | None = None

    def batches(self) -> Iterator[list[Mail]]:
        """Yield the mails without a receipt."""
        sized = ((octets, len(octets)) for _, octets in mailbox.mails(self._path, hint=_HINT))
        for batch in grouped(sized):
            found = {self._key(octets): octets for octets in batch}
            unread = remembered.missing(self._engine, list(found), now=self._now)
            yield [Mail(key, found[key]) for key in unread]

    def settle(self, *, understood: Sequence[str], left: Sequence[str]) -> None:
        """Store receipts of all mails that were read."""
        remembered.add(self._engine, [*understood, *left], now=self._now)

    @staticmethod
    def _key(octets: bytes) -> str:
        return remembered.key("mbox", hashlib.sha256(octets).hexdigest())
