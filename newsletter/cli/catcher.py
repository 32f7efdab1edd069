"""The built-in mail catcher: a real SMTP server on loopback that stores every mail."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

_HOST = "127.0.0.1"


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


@contextmanager
def running(
    folder: Path, *, refusal: Callable[[str], str | None] = lambda _: None
) -> Iterator[Catcher]:
    """Run a catcher on a free port of 127.0.0.1 that stores mails in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    catcher = Catcher(folder, port=_free_port(), refusal=refusal)
    controller = Controller(catcher, hostname=_HOST, port=catcher.port, enable_SMTPUTF8=True)
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
