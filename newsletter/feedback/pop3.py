"""Reads returned mails by POP3 (RFC 1939).

A server deletes mails only at the end of a session, so each batch has a session of its own: a
failure does not undo the batches before. Mails that stay are recognised by their UIDL.
"""

from __future__ import annotations

import poplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from newsletter.feedback import remembered, servers
from newsletter.feedback.mime import MAXIMUM_OCTETS
from newsletter.feedback.patience import Patience
from newsletter.feedback.sources import Mail, grouped
from newsletter.settings.mailboxes import MailboxServer

#: Lines of the body to request of a mail that is too large, at an assumed 64 octets a line.
_LINES = MAXIMUM_OCTETS // 64
#: Maximum octets of one piece of a line, and of the whole response to one command.
_PIECE_OCTETS = 65_536
_ANSWER_OCTETS = 256_000_000
_ERRORS = (poplib.error_proto, *servers.ERRORS)


class _Client(poplib.POP3):
    """A POP3 client that reads long responses in bounded memory and time, unlike poplib.

    It overrides and calls private methods of poplib.
    """

    _room = _ANSWER_OCTETS

    def __init__(self, server: MailboxServer, patience: Patience, **options: Any) -> None:  # noqa: ANN401 - the library's
        self._patience = patience
        try:
            super().__init__(server.host, server.port, timeout=patience.left(), **options)
        except BaseException:
            # poplib would leave the connection open.
            if hasattr(self, "file"):
                self.close()
            raise

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._patience.holding(super()._create_socket(timeout))  # type: ignore[misc]

    def ids(self) -> dict[str, int]:
        """Return the number of each mail in this session by UIDL."""
        found = (line.split() for line in self._lines("UIDL"))
        return {words[1].decode("ascii"): int(words[0]) for words in found if len(words) == 2}

    def sizes(self) -> dict[int, int]:
        """Return the size of each mail in octets by number."""
        found = (line.split() for line in self._lines("LIST"))
        return {int(words[0]): int(words[1]) for words in found if len(words) >= 2}

    def beginning(self, number: int, size: int) -> bytes:
        """Return the first MAXIMUM_OCTETS of a mail."""
        command = f"RETR {number}"
        if size > MAXIMUM_OCTETS:
            # TOP is optional; a server without it sends the whole mail, whose rest is dropped.
            with suppress(poplib.error_proto):
                return self._kept(f"TOP {number} {_LINES}")
        return self._kept(command)

    def _kept(self, command: str) -> bytes:
        kept, room = list[bytes](), MAXIMUM_OCTETS
        for piece in self._lines(command):
            kept.append(piece[: max(room, 0)])
            room -= len(piece)
        return b"".join(kept)

    def _lines(self, command: str) -> Iterator[bytes]:
        """Yield the lines of a response without dot-stuffing; a long line comes in pieces."""
        self._shortcmd(command)  # type: ignore[attr-defined]
        begins_line = True
        while True:
            piece = self.file.readline(_PIECE_OCTETS)
            self._take(len(piece))
            if not piece:
                raise ConnectionError("the server left")
            if begins_line and piece in {b".\r\n", b".\n"}:
                return
            yield piece[1:] if begins_line and piece.startswith(b".") else piece
            begins_line = piece.endswith(b"\n")

    def _putline(self, line: bytes) -> None:
        self._room = _ANSWER_OCTETS
        super()._putline(line)  # type: ignore[misc]

    def _getline(self) -> tuple[bytes, int]:
        try:
            line, octets = super()._getline()  # type: ignore[misc]
        except poplib.error_proto as exc:
            # poplib raises error_proto for a lost connection too, as for a refusal.
            raise ConnectionError(f"the connection was lost: {exc}") from exc
        self._take(octets)
        return line, octets

    def _take(self, octets: int) -> None:
        self._room -= octets
        if self._room < 0:
            raise ConnectionError("an answer without an end")


class _ClientTls(_Client, poplib.POP3_SSL):
    """A bounded POP3 client over implicit TLS."""


class PopSource:
    """A mailbox of a POP3 server."""

    def __init__(
        self, server: MailboxServer, engine: Engine, *, now: datetime, patience: Patience
    ) -> None:
        self._server = server
        self._patience = patience
        self._engine = engine
        self._now = now
        self._client: _Client | None = None
        self._numbers: dict[str, int] = {}
        self.waiting: int | None = None

    def batches(self) -> Iterator[list[Mail]]:
        """Yield the mails without a receipt that were in the mailbox at the first session."""
        sizes = self._begin()
        todo = self._unread()
        self.waiting = len(todo)
        while batch := next(grouped((one, sizes[one]) for one in todo if one in sizes), []):
            yield self._fetched(batch, sizes)
            done = set(batch)
            todo = [one for one in todo if one not in done]
            if todo:
                sizes = self._begin()
        self._end()

    def settle(self, *, understood: Sequence[str], left: Sequence[str]) -> None:
        """Delete understood mails, store receipts of the others, and end the session."""
        remembered.add(self._engine, [self._key(one) for one in left], now=self._now)
        refused: poplib.error_proto | None = None
        with self._explained():
            for one in understood:
                try:
                    self._session.dele(self._numbers[one])
                except poplib.error_proto as exc:
                    # A refusal is raised at the end, after the other mails are deleted.
                    refused = refused or exc
        self._end()
        if refused is not None:
            with self._explained():
                raise refused

    def close(self) -> None:
        """Close the connection; mails that were not settled stay in the mailbox."""
        if self._client is not None:
            with suppress(*_ERRORS):
                self._client.close()
            self._client = None

    @property
    def _session(self) -> _Client:
        if self._client is None:
            raise ConnectionError("there is no session")
        return self._client

    def _begin(self) -> dict[str, int]:
        """Begin a session, and return the size of each mail in octets by UIDL."""
        # Closes the previous session if ending it has failed.
        self.close()
        client = self._client = _connected(self._server, self._patience)
        with self._explained():
            self._numbers, sizes = client.ids(), client.sizes()
            return {one: sizes[number] for one, number in self._numbers.items()}

    def _end(self) -> None:
        """End the session, upon which the server deletes the mails marked as deleted."""
        if self._client is not None:
            with self._explained():
                self._client.quit()
            self._client = None

    def _fetched(self, batch: Sequence[str], sizes: Mapping[str, int]) -> list[Mail]:
        with self._explained():
            return [
                Mail(one, self._session.beginning(self._numbers[one], sizes[one])) for one in batch
            ]

    def _unread(self) -> list[str]:
        keys = {self._key(one): one for one in self._numbers}
        return [keys[key] for key in remembered.missing(self._engine, list(keys), now=self._now)]

    def _key(self, uidl: str) -> str:
        return remembered.key("pop3", str(self._server), self._server.username, uidl)

    def _explained(self) -> AbstractContextManager[None]:
        return servers.explained(self._server, _ERRORS, _said)


@contextmanager
def opened(
    server: MailboxServer, engine: Engine, *, now: datetime, patience: Patience | None = None
) -> Iterator[PopSource]:
    """Yield a mailbox that is closed at the end; it connects when `batches` is iterated."""
    source = PopSource(server, engine, now=now, patience=patience or Patience())
    try:
        yield source
    finally:
        source.close()


def check(server: MailboxServer, patience: Patience) -> None:
    """Connect and log in, and leave; raises as `opened` does."""
    client = _connected(server, patience)
    with servers.explained(server, _ERRORS, _said):
        client.quit()


def _connected(server: MailboxServer, patience: Patience) -> _Client:
    with servers.explained(server, _ERRORS):
        client = (
            _ClientTls(server, patience, context=patience.context())
            if server.security == "tls"
            else _Client(server, patience)
        )
    try:
        if server.security == "starttls":
            with servers.explained(server, _ERRORS):
                _start_tls(client, patience.context())
        with servers.explained(server, _ERRORS, _said, is_login=True):
            client.user(server.username)
            client.pass_(server.password)
    except BaseException:
        with suppress(*_ERRORS):
            client.close()
        raise
    return client


def _start_tls(client: _Client, context: ssl.SSLContext) -> None:
    if "STLS" not in client.capa():
        raise ConnectionError("TLS not supported by server")
    client.stls(context)


def _said(exc: Exception) -> str | None:
    """Return the text with which the server refused a command; None for any other error."""
    said = exc.args[0] if isinstance(exc, poplib.error_proto) and exc.args else None
    return (
        said.decode("utf-8", "replace").removeprefix("-ERR ") if isinstance(said, bytes) else None
    )
