"""The built-in mail catcher: a real SMTP server on loopback that stores every mail."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

_HOST = "127.0.0.1"
#: Turns of an event loop in which an accepted connection gets its transport.
_TURNS = 5


@dataclass(frozen=True)
class Caught:
    """One received mail."""

    recipient: str
    subject: str
    #: The size in octets.
    size: int
    eml: Path
    html: Path


@dataclass
class Catcher:
    """Stores every mail as .eml, and its HTML part as .html for a browser."""

    folder: Path
    port: int = 0
    #: Returns the reply that refuses an address; None to take its mail.
    refusal: Callable[[str], str | None] = lambda _: None
    mails: list[Caught] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take a recipient, or refuse it."""
        if (refusal := self.refusal(address)) is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Fine"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Store one mail; called by the server after it has received the whole mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        for recipient in envelope.rcpt_tos:
            self._keep(recipient, message, content)
        return f"250 2.0.0 Kept as number {len(self.mails)}"

    def _keep(self, recipient: str, message: EmailMessage, content: bytes) -> None:
        # Sanitised, because the address is untrusted and becomes part of a file's name.
        name = f"{len(self.mails) + 1:03d}-{re.sub(r'[^a-z0-9.@-]', '_', recipient)[:80]}"
        eml, html = self.folder / f"{name}.eml", self.folder / f"{name}.html"
        eml.write_bytes(content)
        body = message.get_body(("html",))
        html.write_text(body.get_content() if body else "", encoding="utf-8")
        self.mails.append(Caught(recipient, str(message["Subject"]), len(content), eml, html))


class ClosingController(Controller):
    """An SMTP server in a thread that closes every connection before it stops.

    aiosmtpd stops the event loop at once, and leaves open what was open or just being accepted.
    """

    def __init__(self, handler: object, **options: Any) -> None:  # noqa: ANN401 - aiosmtpd's own
        self._conversations: list[SMTP] = []
        super().__init__(handler, **options)

    def factory(self) -> SMTP:
        """Return the protocol of a new connection, and keep it."""
        made: SMTP = super().factory()  # type: ignore[no-untyped-call]  # aiosmtpd has no types here
        self._conversations.append(made)
        return made

    def stop(self, no_assert: bool = False) -> None:
        """Close the connections, and end the thread."""
        if self.server is not None:
            asyncio.run_coroutine_threadsafe(self._close(self.server), self.loop).result()
        super().stop(no_assert)

    async def _close(self, server: asyncio.AbstractServer) -> None:
        assert isinstance(server, asyncio.Server)
        await accept_no_more(server)
        for conversation in self._conversations:
            if isinstance(conversation.transport, asyncio.Transport):
                conversation.transport.abort()
        await asyncio.sleep(0)


async def accept_no_more(server: asyncio.Server) -> None:
    """Stop listening, and return when every accepted connection has its transport.

    A server that is closed before that leaks the socket: its transport cannot attach to it any more
    (python/cpython issue 109564).
    """
    for one in server.sockets:
        asyncio.get_running_loop().remove_reader(one.fileno())
    for _ in range(_TURNS):
        await asyncio.sleep(0)


@contextmanager
def running(
    folder: Path, *, refusal: Callable[[str], str | None] = lambda _: None
) -> Iterator[Catcher]:
    """Run a catcher on a free port of 127.0.0.1 that stores mails in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    catcher = Catcher(folder, port=_free_port(), refusal=refusal)
    controller = ClosingController(catcher, hostname=_HOST, port=catcher.port, enable_SMTPUTF8=True)
    controller.start()
    try:
        yield catcher
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
