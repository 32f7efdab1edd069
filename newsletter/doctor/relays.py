"""Checks the relays as a worker uses them: connects, negotiates TLS and logs in; sends nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import datetime

from aiosmtplib import SMTPAuthenticationError

from newsletter.doctor import certificates
from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.smtp import pool
from newsletter.smtp.server import LOOPBACK, SmtpServer
from newsletter.smtp.tls import Trust

_SECONDS = 20.0
_UNREACHED = (
    "Look at name and port in smtp_url, whether it runs, and for a firewall on the way: many "
    "hosting providers block port 25."
)
#: Time-out for connecting to a server on this machine.
_LOCAL_SECONDS = 2.0
#: Maximum of simultaneous connections.
_AT_ONCE = 10


def examine(servers: Sequence[SmtpServer], *, now: datetime) -> Examined:
    """Connect to each relay as configured, concurrently."""
    found = asyncio.run(_all(servers, now))
    has_tls = any(server.security != "plain" for server in servers)
    return Examined(
        checks=Checks.RELAYS,
        looked_at=("relay", *(["tls.relay"] if has_tls else [])),
        findings=tuple(finding for of_one in found for finding in of_one),
    )


def local(servers: Sequence[SmtpServer]) -> Iterator[Finding]:
    """Yield findings on relays on this machine where nothing listens; others are not contacted."""
    for server in servers:
        if server.host in LOOPBACK:
            try:
                socket.create_connection((server.host, server.port), _LOCAL_SECONDS).close()
            except OSError as exc:
                yield Finding(
                    id="relay.local",
                    level=Level.ERROR,
                    sentence=f"smtp_url names {server}, and nothing can be sent there: "
                    f"{exc.strerror or exc}.",
                    hint="Install a mail server on this machine, or set smtp_url to that of your "
                    "provider.",
                    subject=str(server),
                )


async def _all(servers: Sequence[SmtpServer], now: datetime) -> list[list[Finding]]:
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one(server: SmtpServer) -> list[Finding]:
        async with at_once:
            return await _one(server, now)

    return await asyncio.gather(*(one(server) for server in servers))


async def _one(server: SmtpServer, now: datetime) -> list[Finding]:
    try:
        async with asyncio.timeout(_SECONDS):
            session = await pool.connect(server, trust=Trust(), has_others=True)
            certificate = session.certificate
            await session.quit()
    except TimeoutError:
        slow = TransportUnavailable(
            f"The mail server {server} does not answer within {_SECONDS:.0f} seconds."
        )
        return _failed(server, slow)
    except (ConfigurationError, TransportUnavailable) as exc:
        return _failed(server, exc)
    if server.security != "plain":
        return list(certificates.expiry(certificate, check="tls.relay", host=str(server), now=now))
    return [] if server.host in LOOPBACK else [_plain(server)]


def _failed(server: SmtpServer, exc: NewsletterError) -> list[Finding]:
    cause = _cause(exc, ssl.SSLCertVerificationError)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return [certificates.unverified(cause, check="tls.relay", host=str(server))]
    is_of_tls = isinstance(exc, ConfigurationError) and not _cause(exc, SMTPAuthenticationError)
    found = Finding(
        id="tls.relay" if is_of_tls else "relay",
        level=Level.ERROR,
        sentence=exc.message,
        hint=_UNREACHED if isinstance(exc, TransportUnavailable) else exc.hint or "",
        subject=str(server),
    )
    if is_of_tls or server.security == "plain":
        return [found]
    unknown = Finding(
        id="tls.relay",
        level=Level.NOT_CHECKED,
        sentence=f"The certificate of {server} could not be looked at.",
        hint="Mend the finding above first.",
        subject=str(server),
    )
    return [found] if _cause(exc, SMTPAuthenticationError) else [found, unknown]


def _plain(server: SmtpServer) -> Finding:
    return Finding(
        id="tls.relay",
        level=Level.INFO,
        sentence=f"Mail to {server} goes without encryption, as smtp_plaintext allows.",
        hint="That is right only inside your own network.",
        subject=str(server),
    )


def _cause(exc: BaseException | None, kind: type[Exception]) -> BaseException | None:
    """Return the first error of a kind in the chain of causes of an exception."""
    while exc is not None and not isinstance(exc, kind):
        exc = exc.__cause__
    return exc
