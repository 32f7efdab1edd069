"""Parses complaints, other feedback reports (RFC 5965), and DMARC and TLS reports. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from newsletter.feedback import mime
from newsletter.feedback.mime import Headers, Part
from newsletter.feedback.reports import Kind, Verdict
from newsletter.feedback.status import address_of, reader_of

# Outlook's reports from before RFC 5965: they contain the message, with the recipient in a header.
_JUNK_MAIL = re.compile(r"complaint about message from", re.I)
_JUNK_MAIL_RECIPIENT = "X-HmXmrOriginalRecipient"
# Subjects and types of aggregate reports: DMARC (RFC 7489 7.2.1.1) and SMTP TLS (RFC 8460 5.3).
_AGGREGATE = re.compile(r"\breport[ -]domain\s*:.*\bsubmitter\s*:", re.I)
_AGGREGATE_TYPES = frozenset({"application/tlsrpt+gzip", "application/tlsrpt+json"})
_OPT_OUT = frozenset({"opt-out", "opt-out-list", "unsubscribe"})
_FOR_OPERATOR = frozenset({"auth-failure", "dmarc"})


class Complaint(NamedTuple):
    """The content of a feedback report."""

    kind: Kind
    verdict: Verdict
    recipient: str
    text: str


def read(headers: Headers, parts: Sequence[Part], sent: Headers) -> Complaint | None:
    """Parse a feedback report; None for any other mail. `sent` are the reported mail's headers."""
    subject = headers.get("Subject")
    for part in parts:
        if part.type == "message/feedback-report":
            return _of_fields(dict(reversed([*mime.fields(part.text)])), sent, subject)
    is_aggregate = _AGGREGATE.search(subject) or any(p.type in _AGGREGATE_TYPES for p in parts)
    if is_aggregate:
        return Complaint(Kind.OTHER, Verdict.OURS, "", subject)
    has_message = any(part.is_returned for part in parts)
    if has_message and (sent.all(_JUNK_MAIL_RECIPIENT) or _JUNK_MAIL.search(subject)):
        return Complaint(Kind.COMPLAINT, Verdict.COMPLAINT, _reader(sent), subject)
    return None


def _of_fields(found: dict[str, str], sent: Headers, subject: str) -> Complaint:
    kind = found.get("feedback-type", "").lower().partition(";")[0].strip()
    names = ("original-rcpt-to", "removal-recipient")
    recipient = next((a for name in names if (a := address_of(found.get(name, "")))), "")
    recipient = recipient or _reader(sent)
    text = f"{kind}: {subject}" if subject else kind
    if kind in _OPT_OUT:
        return Complaint(Kind.UNSUBSCRIBE, Verdict.OPT_OUT, recipient, text)
    if kind in _FOR_OPERATOR:
        return Complaint(Kind.OTHER, Verdict.OURS, recipient, text)
    if kind in {"not-spam", ""}:
        return Complaint(Kind.OTHER, Verdict.OTHER, recipient, text)
    # RFC 5965 3.1: an unknown type counts as "other", which is a complaint.
    return Complaint(Kind.COMPLAINT, Verdict.COMPLAINT, recipient, text)


def _reader(sent: Headers) -> str:
    """Return the recipient of the reported mail; empty if the report has removed it."""
    return address_of(sent.get(_JUNK_MAIL_RECIPIENT)) or reader_of(sent)
