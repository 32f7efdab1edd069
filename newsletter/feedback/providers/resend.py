"""Resend's webhooks, signed by the scheme of Svix (see "Verifying Payloads" in its docs). Pure.

Resend replaces the Message-ID of a mail, but its events list the headers of the mail; our
Message-ID is also in X-Message-ID.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from newsletter.feedback.providers import failures, ses
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

MAXIMUM_AGE = timedelta(minutes=5)
#: Prefix of a signing secret, before its base64.
PREFIX = "whsec_"
_VERSION = "v1"
#: Maximum number of signatures; a request has several while the secret is rotated.
_SIGNATURES = 10
_MESSAGE_IDS = {"message-id", "x-message-id"}


def verify(request: HookRequest, secret: str, now: datetime) -> None:
    """Raise Rejected unless a request is signed with a secret ("whsec_" and base64)."""
    name, timestamp = request.header("svix-id"), request.header("svix-timestamp")
    requests.check_age(requests.seconds(timestamp), now, MAXIMUM_AGE)
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{name}.{timestamp}.".encode("utf-8", "surrogatepass")
    expected = base64.b64encode(requests.hmac_sha256(key, signed, request.body)).decode()
    given = request.header("svix-signature").split(" ")[:_SIGNATURES]
    # All signatures are compared, each in constant time.
    matches = [requests.is_same(f"{_VERSION},{expected}", one) for one in given]
    if not name or not any(matches):
        raise Rejected(Cause.SIGNATURE)


def read(request: HookRequest) -> list[Arrival]:
    """Return the event of a request; none for events of no use here."""
    if not isinstance(request.document, dict):
        raise Rejected(Cause.MALFORMED)
    event = requests.fields(request.document)
    reader = _READERS.get(requests.text(event.get("type")))
    if reader is None:
        return []
    data = requests.fields(event.get("data"))
    return [Arrival(Source.RESEND, requests.identifier(request.header("svix-id")), reader(data))]


def _recipient(data: dict[str, Any]) -> str:
    """Return the recipient; empty if the mail had several, as events do not name the one meant."""
    found = requests.items(data.get("to"))
    return requests.address(found[0]) if len(found) == 1 else ""


def _message_id(data: dict[str, Any]) -> str:
    for header in map(requests.fields, requests.items(data.get("headers"))):
        if requests.text(header.get("name")).lower() in _MESSAGE_IDS:
            return requests.identifier(header.get("value"))
    return ""


def _bounce(data: dict[str, Any]) -> Returned:
    found = requests.fields(data.get("bounce"))
    kind, subtype = requests.text(found.get("type")), requests.text(found.get("subType"))
    said = requests.text(found.get("message"))
    if subtype in ses.ON_A_LIST or "suppress" in said.lower():
        return _mentioned(Kind.OTHER, Verdict.OTHER, "bounce")(data)
    codes = found.get("diagnosticCode")
    diagnostic = "\n".join(map(requests.text, codes if isinstance(codes, list) else [codes]))
    report = failures.report(
        _recipient(data),
        diagnostic,
        otherwise=ses.class_of(kind, subtype),
        message_id=_message_id(data),
        said=said,
        is_block=subtype in ses.BLOCKS,
    )
    return Returned(Kind.BOUNCE, (report,))


def _mentioned(
    kind: Kind, verdict: Verdict, about: str = ""
) -> Callable[[dict[str, Any]], Returned]:
    def read_data(data: dict[str, Any]) -> Returned:
        said = requests.fields(data.get(about))
        report: Report = failures.mention(
            _recipient(data),
            verdict,
            message_id=_message_id(data),
            text=requests.text(said.get("message") or said.get("reason")),
        )
        return Returned(kind, (report,))

    return read_data


_READERS = {
    "email.bounced": _bounce,
    "email.complained": _mentioned(Kind.COMPLAINT, Verdict.COMPLAINT),
    "email.delivered": _mentioned(Kind.DELIVERED, Verdict.DELIVERED),
    "email.delivery_delayed": _mentioned(Kind.DELAYED, Verdict.DELAYED),
    # Resend has not sent the mail: a quota, an unverified domain and the like, or a list of its
    # own.
    "email.failed": _mentioned(Kind.OTHER, Verdict.OURS, "failed"),
    "email.suppressed": _mentioned(Kind.OTHER, Verdict.OTHER, "suppressed"),
}
