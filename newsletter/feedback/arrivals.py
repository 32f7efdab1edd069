"""Parses a returned mail: its reports, the Message-ID of our mail, and the return path. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from newsletter import return_path
from newsletter.feedback import bounce, mime, unsubscription
from newsletter.feedback.mime import Headers, Part
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source
from newsletter.ledger import message_ids
from newsletter.tokens import Keyring

#: Headers in which mail servers write the envelope recipient.
_DELIVERED_TO = (
    "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "To",
    "Apparently-To", "Resent-To", "Received",
)  # fmt: skip
#: Maximum number of headers of one name that are searched.
_HEADERS_AT_MOST = 20
#: Kinds of returned mail that report on a mail of ours.
_ABOUT_MAIL = frozenset({Kind.BOUNCE, Kind.COMPLAINT, Kind.DELAYED, Kind.OTHER})


def of_mail(octets: bytes, keyring: Keyring) -> Arrival:
    """Parse a returned mail, with the readers identified by signed return paths or Message-IDs."""
    headers, parts = mime.read(octets)
    returned = bounce.of(headers, parts)
    texts = (value for name in _DELIVERED_TO for value in headers.all(name)[:_HEADERS_AT_MOST])
    references, forged = return_path.references(texts, keyring)
    asked = unsubscription.request_of(headers) if returned.kind is Kind.UNSUBSCRIBE else None
    if returned.reports and returned.kind in _ABOUT_MAIL:
        returned = _with_message_id(returned, parts)
    return Arrival(
        source=Source.MAIL,
        id=_id(headers, octets, returned, references),
        returned=returned,
        references=references,
        at=_date(headers),
        forged=forged,
        token=asked.token if asked else None,
        sender=headers.get("From"),
    )


def _with_message_id(returned: Returned, parts: Sequence[Part]) -> Returned:
    """Add our Message-ID from elsewhere in the mail to reports without one."""
    if all(message_ids.search(one.message_id) for one in returned.reports):
        return returned
    found = next(_message_ids(parts), "")
    return replace(returned, reports=tuple(_named(one, found) for one in returned.reports))


def _named(report: Report, message_id: str) -> Report:
    is_ours = message_ids.search(report.message_id) is not None
    return report if is_ours or not message_id else replace(report, message_id=message_id)


def _message_ids(parts: Sequence[Part]) -> Iterator[str]:
    """Yield our Message-IDs: first from machine-readable parts, then from texts."""
    by_machine = sorted(parts, key=lambda part: not part.type.startswith("message/"))
    for part in by_machine:
        found = message_ids.search(part.text)
        if found is not None:
            yield ".".join(found) + "@"


def _date(headers: Headers) -> datetime | None:
    """Return the time in the Date header of a mail (RFC 5322 3.6.1); None if it is invalid."""
    with suppress(ValueError, OverflowError):
        found = parsedate_to_datetime(headers.get("Date"))
        return found.astimezone(UTC) if found.tzinfo else None
    return None


def _id(headers: Headers, octets: bytes, returned: Returned, references: Sequence[str]) -> str:
    """Return an id of a mail, to recognise it when it is read again.

    Recipients are part of it, because some systems use one Message-ID for many mails. Received
    headers are not, because the same mail in another mailbox has others.
    """
    own = headers.get("Message-ID") or hashlib.blake2b(octets, digest_size=16).hexdigest()
    named = [f"{one.recipient} {one.message_id} {one.verdict}" for one in returned.reports]
    return " ".join([own, *references, *named])
