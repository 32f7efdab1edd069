"""Checks that the mailbox for returned mail can be read, and that a test mail arrives there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from newsletter import return_path
from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.errors import ConfigurationError, InvalidInput, TransportUnavailable
from newsletter.feedback import mime, reading
from newsletter.settings import Settings
from newsletter.settings.mailboxes import MailboxServer

ID = "returnpath.mailbox"
_ARRIVAL = "returnpath.arrival"
#: Time-out for the arrival of a test mail.
ARRIVAL_SECONDS = 60.0
_SECONDS = 30.0
_FAILURES = (ConfigurationError, InvalidInput, TransportUnavailable)


def examine(engine: Engine, settings: Settings, *, now: datetime) -> Examined:
    """Open the configured mailbox, without reading any mail."""
    found = _finding(engine, settings, now)
    return Examined(
        checks=Checks.RETURNS, looked_at=(ID,), findings=(found,) if found is not None else ()
    )


def is_read_at(settings: Settings, recipient: str) -> bool:
    """Return whether mail to an address is delivered to the configured mailbox."""
    mailbox = settings.feedback_mailbox()
    if mailbox is None:
        return False
    user = mailbox.username.lower() if isinstance(mailbox, MailboxServer) else ""
    plain = return_path.ReturnPath(settings.bounce_address, settings.keyring()).plain
    return recipient.lower() in {user, plain.lower(), settings.bounce_address.lower()}


def wait_for(engine: Engine, settings: Settings, message_id: str, *, now: datetime) -> bytes | None:
    """Wait for the mail with a Message-ID and return it; None if it does not arrive in time.

    Raises the errors of reading the mailbox.
    """
    where = settings.feedback_mailbox()
    assert where is not None
    folder = settings.feedback_folder
    return reading.wait_for(engine, where, folder, message_id, now=now, seconds=ARRIVAL_SECONDS)


def arrival(octets: bytes | None, message_id: str, recipient: str) -> Examined:
    """Check that the test mail arrived in the mailbox; `octets` is the mail, or None."""
    sentence = ""
    if octets is None:
        sentence = (
            f"The test mail to {recipient} did not come to the mailbox of feedback_url within "
            f"{ARRIVAL_SECONDS:.0f} seconds."
        )
    elif mime.Headers(octets).get("Message-ID").strip() != message_id:
        sentence = f"The test mail to {recipient} came back as a bounce."
    finding = Finding(
        id=_ARRIVAL,
        level=Level.WARNING,
        sentence=sentence,
        hint="Have mail to that address, with every extension after its +, delivered to the "
        "mailbox of feedback_url; the log of its mail server says where this one is.",
    )
    return Examined(
        checks=Checks.MAIL, looked_at=(_ARRIVAL,), findings=(finding,) if sentence else ()
    )


def _finding(engine: Engine, settings: Settings, now: datetime) -> Finding | None:
    where = settings.feedback_mailbox()
    if where is None:
        return Finding(
            id=ID,
            level=Level.INFO,
            sentence="feedback_url is not set: returned mails are not read from a mailbox.",
            hint="Set it to the mailbox of your return path, unless your provider reports bounces "
            "to a hook.",
        )
    try:
        reading.check(engine, where, settings.feedback_folder, now=now, seconds=_SECONDS)
    except _FAILURES as exc:
        return Finding(id=ID, level=Level.WARNING, sentence=exc.message, hint=exc.hint or "")
    return None
