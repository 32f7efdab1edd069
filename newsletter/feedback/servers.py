"""What can go wrong with a mailbox on a server, in words, for IMAP and POP3 alike.

No message has the password, also not one that a server repeats, nor anything that a terminal obeys.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.feedback import mime
from newsletter.settings.mailboxes import MailboxServer

#: What libraries raise beside their own errors: lost connections, answers that they cannot read.
ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError)
#: Characters of a server's words in a message.
_LONGEST = 200
#: The commands that have the password, as libraries write them; a server may repeat a part of one.
_LOGIN = re.compile(r"\b(?:LOGIN(?!-)|AUTHENTICATE|PASS)\b")
#: What imaplib puts before the words of a server.
_PREFIX = re.compile(r"command: \w+ => ")
_NOT_SHOWN = "the server's words may have the password in them, and are not shown"
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
    found = said or getattr(exc, "strerror", None) or str(exc)
    reason = words(found or type(exc).__name__, server, is_login=is_login)
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


def words(said: str, server: MailboxServer, *, is_login: bool = False) -> str:
    """Return what a server has said as part of a sentence: printable, and not too long.

    None of it where it has the password in any form, or repeats a part of a login.
    """
    said = _PREFIX.sub("", said, count=1)
    if _has_password(said, server.password) or (is_login and _LOGIN.search(said)):
        return _NOT_SHOWN
    found = " ".join(mime.printable(said).split())
    return f"{found[:_LONGEST]}…" if len(found) > _LONGEST else found.rstrip(". ")


def _has_password(said: str, password: str) -> bool:
    octets = password.encode()
    forms = [password, quote(password, safe=""), str(octets)[2:-1]]
    for shift in range(3):
        # Of base64 (RFC 4616), whatever stands before the password: what is the same each time.
        encoded = base64.b64encode(bytes(shift) + octets).decode()
        forms.append(encoded[(0, 2, 3)[shift] : (shift + len(octets)) * 4 // 3])
    # Quoting, of a server and of Python, adds backslashes.
    plain = said.replace("\\", "").casefold()
    bare = (one.replace("\\", "").casefold() for one in forms)
    return password in said or any(one in plain for one in bare if one)
