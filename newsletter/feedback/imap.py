"""Reads returned mails from a folder of an IMAP server (RFC 3501, RFC 9051).

UIDs are used within one connection only, so a changed UIDVALIDITY does no harm. Mails that were
read and stay in the folder are flagged on the server: with a keyword if it allows keywords, or else
as seen.
"""

from __future__ import annotations

import imaplib
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from imap_tools.errors import (
    ImapToolsError,
    MailboxFolderCreateError,
    MailboxFolderSelectError,
    MailboxFolderStatusError,
    UnexpectedCommandStatusError,
)
from imap_tools.mailbox import BaseMailBox
from imap_tools.utils import encode_folder

from newsletter.errors import ConfigurationError
from newsletter.feedback import servers
from newsletter.feedback.mime import MAXIMUM_OCTETS
from newsletter.feedback.patience import Patience
from newsletter.feedback.sources import BATCH, BATCH_OCTETS, Mail, grouped
from newsletter.settings.mailboxes import MailboxServer

#: The IMAP keyword of mails that were read and stay in the folder.
KEYWORD = "NewsletterLeft"
#: Octets of a response to one command; twice the batch, as some servers only estimate sizes.
_ANSWER_OCTETS = 2 * BATCH_OCTETS

_UID = re.compile(rb"\bUID (\d{1,10})\b")
_NAMESPACE = re.compile(rb'\(\("(?P<prefix>[^"\\]*)" (?:"(?P<delimiter>\\?.)"|NIL)')
_DELIMITER = re.compile(rb'\([^)]*\) (?:"(?P<delimiter>\\?.)"|NIL) ')
_ERRORS = (imaplib.IMAP4.error, ImapToolsError, *servers.ERRORS)


class _Bounded(imaplib.IMAP4):
    """An IMAP client that aborts if a response is too long, or takes too long.

    It overrides private methods of imaplib.
    """

    _room = _ANSWER_OCTETS

    def __init__(self, server: MailboxServer, patience: Patience, **options: Any) -> None:  # noqa: ANN401 - the library's
        self._patience = patience
        super().__init__(server.host, server.port, timeout=patience.left(), **options)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._patience.holding(super()._create_socket(timeout))  # type: ignore[misc]

    def send(self, data: Any) -> None:  # noqa: ANN401 - as the library has it
        self._room = _ANSWER_OCTETS
        super().send(data)

    def read(self, size: int) -> bytes:
        self._take(size)
        return super().read(size)

    def readline(self) -> bytes:
        line = super().readline()
        self._take(len(line))
        return line

    def _take(self, octets: int) -> None:
        self._room -= octets
        if self._room < 0:
            raise self.abort("an answer without an end")


class _BoundedTls(_Bounded, imaplib.IMAP4_SSL):
    """A bounded IMAP client over implicit TLS."""


class _Box(BaseMailBox):
    def __init__(self, server: MailboxServer, patience: Patience) -> None:
        self._server = server
        self._patience = patience
        super().__init__()

    def _get_mailbox_client(self) -> imaplib.IMAP4:
        if self._server.security == "tls":
            return _BoundedTls(self._server, self._patience, ssl_context=self._patience.context())
        client = _Bounded(self._server, self._patience)
        if self._server.security == "starttls":
            try:
                client.starttls(self._patience.context())
            except BaseException:
                client.shutdown()
                raise
        return client


class _Expunged(Exception):
    """Another client has expunged a mail meanwhile (RFC 5530); the next run handles the others."""


class ImapSource:
    """A folder of an IMAP server."""

    def __init__(self, server: MailboxServer, box: _Box, folder: str) -> None:
        self._server = server
        self._box = box
        self._client = box.client
        self._prefix, self._delimiter = "", "/"
        self._folder = folder.strip("/")
        self._has_folder = False
        self._mark = KEYWORD
        self._deleted: set[str] = set()
        self.waiting: int | None = None

    def select(self) -> None:
        """Select the folder from which mails are read."""
        with self._explained():
            self._learn()
            folder = self._spelled(self._server.folder)
            if folder == self._spelled(self._folder):
                raise ConfigurationError(
                    "feedback_folder is the folder that mails are read from.",
                    setting="feedback_folder",
                    hint="Name another one in NEWSLETTER_FEEDBACK_FOLDER.",
                )
            self._open(folder)
            flags = self._client.response("PERMANENTFLAGS")[1][-1] or b""
            allowed = flags.lower().strip(b"()").split()
            if rb"\*" not in allowed and KEYWORD.lower().encode() not in allowed:
                self._mark = r"\Seen"

    def batches(self) -> Iterator[list[Mail]]:
        """Yield the mails that are neither flagged as read nor as deleted."""
        unread = "UNSEEN" if self._mark == r"\Seen" else f"UNKEYWORD {KEYWORD}"
        with self._explained():
            uids = self._box.uids(f"UNDELETED {unread}", charset=None)
        self.waiting = len(uids)
        for batch in grouped(self._sized(uids)):
            yield self._fetched(batch)

    def settle(self, *, understood: Sequence[str], left: Sequence[str]) -> None:
        """Flag the mails that were not understood, and move or delete the others."""
        with self._explained():
            # Flags are set before mails are moved, because moving may fail, as when the folder is
            # full.
            if left:
                with suppress(_Expunged):
                    self._uid("STORE", left, "+FLAGS.SILENT", f"({self._mark})")
            if understood:
                with suppress(_Expunged):
                    self._move(understood) if self._folder else self._delete(understood)

    def _learn(self) -> None:
        """Query the server's capabilities, and prefix and delimiter of its folder names."""
        # Queried again after the login, as servers may list fewer capabilities before.
        said = self._client.capability()[1][-1] or b""
        self._client.capabilities = tuple(said.decode("ascii", "replace").upper().split())
        if "NAMESPACE" in self._client.capabilities:
            # RFC 2342: on some servers all folders are below INBOX.
            found = _NAMESPACE.match(self._client.namespace()[1][-1] or b"")
            self._prefix = found["prefix"].decode("ascii", "replace") if found else ""
        else:
            listed = self._client.list('""', '""')[1][-1]
            found = _DELIMITER.match(listed) if isinstance(listed, bytes) else None
        # On a server without a folder hierarchy, a slash is an ordinary character of the name.
        delimiter = found["delimiter"] if found else None
        self._delimiter = (delimiter or b"/").decode("ascii", "replace")[-1]

    def _open(self, folder: str) -> None:
        try:
            self._box.folder.set(folder)
        except (MailboxFolderSelectError, imaplib.IMAP4.readonly) as exc:
            said = servers.words(_said(exc) or "it is read-only", self._server)
            raise ConfigurationError(
                f"The mailbox at {self._server} has no folder {self._server.folder} that mails "
                f"can be moved from: {said}.",
                setting="feedback_url",
                hint="Name the folder at the end of NEWSLETTER_FEEDBACK_URL: "
                "imaps://user:password@host/INBOX.",
            ) from exc

    def _spelled(self, folder: str) -> str:
        """Return the name of a folder with the delimiter and the prefix of the server."""
        if folder.upper() == "INBOX":
            return "INBOX"
        name = folder.replace("/", self._delimiter)
        return name if name.startswith(self._prefix) else self._prefix + name

    def _sized(self, uids: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Yield UIDs with the sizes of their mails; expunged mails are left out."""
        for start in range(0, len(uids), BATCH):
            lines: list[Any] = []
            with self._explained(), suppress(_Expunged):
                lines = self._uid("FETCH", uids[start : start + BATCH], "(UID RFC822.SIZE)")
            for line in lines:
                uid = _UID.search(line) if isinstance(line, bytes) else None
                size = re.search(rb"\bRFC822\.SIZE (\d{1,12})\b", line) if uid else None
                if uid and size:
                    yield uid[1].decode(), int(size[1])

    def _fetched(self, uids: Sequence[str]) -> list[Mail]:
        """Fetch the beginnings of mails, without flagging them as seen."""
        with self._explained(), suppress(_Expunged):
            try:
                return self._fetch(uids)
            except UnexpectedCommandStatusError:
                # Fetched one by one, so that a mail that the server cannot read does not block the
                # others.
                found = [mail for uid in uids for mail in self._fetched_alone(uid)]
                if not found:
                    raise
                return found
        return []

    def _fetched_alone(self, uid: str) -> list[Mail]:
        with suppress(UnexpectedCommandStatusError, _Expunged):
            return self._fetch([uid])
        return []

    def _fetch(self, uids: Sequence[str]) -> list[Mail]:
        # Not with imap-tools, which can fetch only whole mails.
        answered = self._uid("FETCH", uids, f"(UID BODY.PEEK[]<0.{MAXIMUM_OCTETS}>)")
        wanted, found = set(uids), dict[str, bytes]()
        head, octets = b"", b""
        for piece in answered:
            if isinstance(piece, tuple):
                head, octets = piece[0], piece[1]
                continue
            # The UID is before or after the literal; a mail without a literal is empty.
            uid = _UID.search(head + b" " + piece)
            if uid and (octets or b"BODY[" in head + piece):
                found[uid[1].decode()] = octets[:MAXIMUM_OCTETS]
            head, octets = b"", b""
        return [Mail(uid, octets) for uid, octets in found.items() if uid in wanted]

    def _move(self, uids: Sequence[str]) -> None:
        folder = self._spelled(self._folder)
        if not self._has_folder:
            self._make(folder)
            self._has_folder = True
        if "MOVE" in self._client.capabilities:
            self._uid("MOVE", uids, encode_folder(folder))
        else:
            self._uid("COPY", uids, encode_folder(folder))
            self._delete(uids)

    def _make(self, folder: str) -> None:
        """Create the folder for understood mails, if it does not exist."""
        # STATUS, because LIST treats the name as a pattern, and lists parents that are no
        # mailboxes.
        with suppress(MailboxFolderStatusError):
            self._box.folder.status(folder, ["MESSAGES"])
            return
        try:
            self._box.folder.create(folder)
        except MailboxFolderCreateError as exc:
            said = servers.words(_said(exc) or "", self._server)
            raise ConfigurationError(
                f"The mailbox at {self._server} lets no folder {self._folder} be made: {said}.",
                setting="feedback_folder",
                hint="Make it by hand, or name another one in NEWSLETTER_FEEDBACK_FOLDER.",
            ) from exc
        # Many mail clients show only subscribed folders.
        with suppress(ImapToolsError):
            self._box.folder.subscribe(folder, value=True)

    def _delete(self, uids: Sequence[str]) -> None:
        self._uid("STORE", uids, "+FLAGS.SILENT", r"(\Deleted)")
        if "UIDPLUS" in self._client.capabilities:
            # UID EXPUNGE (RFC 4315): imap-tools would also expunge mails that other clients have
            # deleted.
            self._uid("EXPUNGE", uids)
            return
        self._deleted.update(uids)
        # Without UIDPLUS, EXPUNGE is used only if no other client has deleted mails; otherwise ours
        # stay flagged as deleted, and are not read again.
        if self._deleted.issuperset(self._box.uids("DELETED", charset=None)):
            self._box.expunge()

    def _uid(self, command: str, uids: Sequence[str], *arguments: str | bytes) -> list[Any]:
        """Run a command on mails by their UIDs, and return the response.

        Raises _Expunged if one of the mails no longer exists.
        """
        # imaplib also accepts octets, against its type annotations, and sends them unchanged.
        kind, answered = self._client.uid(command, ",".join(uids), *arguments)  # type: ignore[arg-type]
        if kind == "NO" and b"[EXPUNGEISSUED]" in (answered[0] or b""):
            raise _Expunged
        if kind != "OK":
            raise UnexpectedCommandStatusError((kind, answered), "OK")
        return [piece for piece in answered if piece is not None]

    def _explained(self) -> AbstractContextManager[None]:
        return servers.explained(self._server, _ERRORS, _said)


@contextmanager
def opened(
    server: MailboxServer, *, folder: str, patience: Patience | None = None
) -> Iterator[ImapSource]:
    """Connect, log in and select the folder; understood mails are moved to `folder`.

    Raises ConfigurationError for an error that only the operator can correct (user, password,
    folder, certificate), and TransportUnavailable for a transient one, or when time is up.
    """
    with servers.explained(server, _ERRORS):
        box = _Box(server, patience or Patience())
    try:
        with servers.explained(server, _ERRORS, _said, is_login=True):
            # The LOGIN of imap-tools supports only ASCII; `login_utf8` uses AUTHENTICATE.
            is_ascii = f"{server.username}{server.password}".isascii()
            login = box.login if is_ascii else box.login_utf8
            login(server.username, server.password, initial_folder=None)
        source = ImapSource(server, box, folder)
        source.select()
        yield source
        with suppress(*_ERRORS):
            box.logout()
    finally:
        # The connection is closed even if the server did not respond to the logout.
        with suppress(*_ERRORS):
            box.client.shutdown()


def _said(exc: Exception) -> str | None:
    """Return the text with which the server refused a command; None for any other error."""
    if isinstance(exc, UnexpectedCommandStatusError):
        pieces = exc.command_result[1] or []
        return b" ".join(one for one in pieces if isinstance(one, bytes)).decode("utf-8", "replace")
    # imaplib raises `error` for BAD, and its subclass `abort` for a lost connection.
    if isinstance(exc, imaplib.IMAP4.error) and not isinstance(exc, imaplib.IMAP4.abort):
        return str(exc)
    return None
