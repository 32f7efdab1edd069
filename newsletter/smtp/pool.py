"""Opens sessions: aiosmtplib connects, negotiates TLS and authenticates.

aiosmtplib does not report the phase in which a connection was lost, and does not pipeline, so its
transport is then used by our own Session for the messages.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import aiosmtplib
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
)

from newsletter.errors import ConfigurationError, TransportUnavailable
from newsletter.smtp.server import SmtpServer
from newsletter.smtp.session import Session
from newsletter.smtp.tls import Trust

#: Time-out of the greeting (RFC 5321 4.5.3.2.1: five minutes), and of TLS and AUTH.
CONNECT_SECONDS = 300
#: A shorter time-out if there are other relays to fail over to.
CONNECT_SECONDS_BESIDE_OTHERS = 30


async def connect(server: SmtpServer, *, trust: Trust, has_others: bool = False) -> Session:
    """Return a session that is ready for MAIL.

    `has_others` shortens the time-out. Raises TransportUnavailable for failures that may be
    temporary, ConfigurationError for those that only the operator can correct (credentials,
    certificates).
    """
    try:
        context = None if server.security == "plain" else trust.context
    except OSError as exc:
        raise _explained(server, exc) from exc
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username,
        password=server.password,
        local_hostname=server.hostname,
        timeout=CONNECT_SECONDS_BESIDE_OTHERS if has_others else CONNECT_SECONDS,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",
        tls_context=context,
    )
    try:
        await client.connect()
        await _greet(client)
    except (SMTPException, OSError, ValueError) as exc:
        client.close()
        trust.forget(server.host)
        if _is_unverified(exc):
            trust.renew()
        raise _explained(server, exc) from exc
    except asyncio.CancelledError:
        client.close()
        raise
    return _take_over(client, trust)


async def _greet(client: aiosmtplib.SMTP) -> None:
    """Send EHLO again: earlier extensions are void after STARTTLS and AUTH (RFC 3207 4.2).

    A server without EHLO gets HELO, and has no extensions (RFC 5321 3.2).
    """
    try:
        await client.ehlo()
    except SMTPHeloError as exc:
        if exc.code not in {500, 502}:
            raise
        await client.helo()


def _take_over(client: aiosmtplib.SMTP, trust: Trust) -> Session:
    # uvloop's transports have the same methods, but do not inherit from asyncio.Transport.
    transport = cast("asyncio.Transport", client.transport)
    trust.remember(transport)
    session = Session(transport, frozenset(name.lower() for name in client.esmtp_extensions))
    transport.set_protocol(session)
    return session


def _explained(server: SmtpServer, exc: Exception) -> TransportUnavailable | ConfigurationError:
    reason = _reason(exc)
    if (isinstance(exc, SMTPAuthenticationError) and exc.code >= 500) or "AUTH ext" in reason:
        return ConfigurationError(
            f"The mail server {server} does not let us in: {reason}.",
            setting="smtp_url",
            hint="Look at the user and the password in NEWSLETTER_SMTP_URL.",
        )
    if _is_unverified(exc) or "STARTTLS" in reason:
        return ConfigurationError(
            f"The mail server {server} cannot be talked to in safety: {reason}.",
            setting="smtp_url",
            hint="Its certificate must be valid for the name in NEWSLETTER_SMTP_URL, and with "
            "smtp+starttls:// it must offer STARTTLS. For a relay inside your own network set "
            "NEWSLETTER_SMTP_PLAINTEXT=true and use smtp://.",
        )
    if isinstance(exc, ValueError):
        return ConfigurationError(
            f"The mail server {server} cannot be called: {reason}.",
            setting="smtp_url",
            hint="Look at NEWSLETTER_SMTP_URL and NEWSLETTER_SMTP_HOSTNAME.",
        )
    return TransportUnavailable(
        f"The mail server {server} cannot be used: {reason}.",
        hint="Nobody is lost: the same command goes on where this one stopped.",
    )


def _is_unverified(exc: BaseException | None) -> bool:
    """Return whether a certificate caused the error; STARTTLS and TLS wrap it differently."""
    while exc is not None:
        if isinstance(exc, ssl.SSLCertVerificationError):
            return True
        exc = exc.__cause__
    return False


def _reason(exc: Exception) -> str:
    if isinstance(exc, SMTPResponseException):
        return f"{exc.code} {exc.message}".replace("\n", " ").rstrip(".")
    return str(exc).replace("\n", " ").rstrip(".") or type(exc).__name__
