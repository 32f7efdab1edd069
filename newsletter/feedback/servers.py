"""Error messages about a mailbox on a server, for IMAP and POP3.

No message contains the password, even if a server repeats it, or terminal control characters.
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

#: Errors of libraries not of their own classes: lost connections, and responses they cannot parse.
ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError)
#: Maximum characters of a server's text in a message.
_LONGEST = 200
#: The commands that contain the password; a server may repeat a part of one.
_LOGIN = re.compile(r"\b(?:LOGIN(?!-)|AUTHENTICATE|PASS)\b")
#: The prefix that imaplib adds to the text of a server.
_PREFIX = re.compile(r"command: \w+ => ")
_NOT_SHOWN = "the server's words may have the password in them, and are not shown"
#: Response codes of temporary refusals (RFC 5530, RFC 2449, RFC 3206).
_PASSES = re.compile(r"\[(?:UNAVAILABLE|INUSE|IN-USE|LIMIT|LOGIN-DELAY|SYS/TEMP)\b", re.I)


@contextmanager
def explained(
    server: MailboxServer,
    errors: tuple[type[Exception], ...],
    said: Callable[[Exception], str | None] = lambda _: None,
    *,
    is_login: bool = False,
) -> Iterator[None]:
    """Convert errors of a library to ConfigurationError, or to TransportUnavailable if temporary.

    `said` returns the text with which the server refused a command; None for any other error.
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
    """Return a server's text as part of a sentence: printable, and not too long.

    If it contains the password in any form, or repeats a part of a login, it is not shown.
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
        # The base64 of a login (RFC 4616) depends on what precedes the password: for each of the
        # three alignments, the characters that the password alone determines are searched.
        encoded = base64.b64encode(bytes(shift) + octets).decode()
        forms.append(encoded[(0, 2, 3)[shift] : (shift + len(octets)) * 4 // 3])
    # Backslashes are removed, because servers and Python add them when they quote.
    plain = said.replace("\\", "").casefold()
    bare = (one.replace("\\", "").casefold() for one in forms)
    return password in said or any(one in plain for one in bare if one)
