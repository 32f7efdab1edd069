"""What can go wrong with a mailbox on a server, in words, for IMAP and POP3 alike.

No message has the password, also not one that a server repeats.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.settings.mailboxes import MailboxServer

#: What libraries raise beside their own errors: lost connections, answers that they cannot read.
ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError)
#: Characters of a server's words in a message.
_LONGEST = 200
#: Response codes of a refusal that passes (RFC 5530, RFC 2449, RFC 3206).
_PASSES = re.compile(r"\[(?:UNAVAILABLE|INUSE|IN-USE|LIMIT|LOGIN-DELAY|SYS/TEMP)\b", re.I)


@contextmanager
def explained(
    server: MailboxServer,
    errors: tuple[type[Exception], ...],
    said: Callable[[Exception], str | None] = lambda _: None,
    *,
    is_login: bool = False,
) -> Iterator[None]:
    """Raise errors of a library as ConfigurationError, or as TransportUnavailable if they may pass.

    `said` returns the words by which the server refused a command; None if it did not.
    """
    try:
        yield
    except NewsletterError:
        raise
    except errors as exc:
        raise _as_ours(server, exc, said(exc), is_login=is_login) from exc


def _as_ours(
    server: MailboxServer, exc: Exception, said: str | None, *, is_login: bool
) -> NewsletterError:
    words = said or getattr(exc, "strerror", None) or str(exc)
    reason = _harmless(words or type(exc).__name__, server)
    if isinstance(exc, ssl.SSLCertVerificationError) or "TLS not supported" in reason:
        return ConfigurationError(
            f"The mailbox at {server} cannot be read in safety: {reason}.",
            setting="feedback_url",
            hint="Its certificate must be valid for the name in NEWSLETTER_FEEDBACK_URL; that of a "
            "private authority is trusted if SSL_CERT_FILE names it. Without STARTTLS use "
            f"{server.protocol}s://.",
        )
    if said is not None and is_login and not _PASSES.search(said):
        return ConfigurationError(
            f"The mailbox at {server} does not let us in: {reason}.",
            setting="feedback_url",
            hint="Look at the user and the password in NEWSLETTER_FEEDBACK_URL; many providers "
            "want a password of its own for each program.",
        )
    return TransportUnavailable(
        f"The mailbox at {server} cannot be read: {reason}.",
        hint="Nothing is lost: the next run goes on with what has not been read.",
    )


def _harmless(reason: str, server: MailboxServer) -> str:
    found = " ".join(reason.replace(server.password, "***").split())
    return found[:_LONGEST].rstrip(". ")
