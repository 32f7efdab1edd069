"""Our own format of events, for providers without an adapter; see docs/hooks.md. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from newsletter.feedback import prose
from newsletter.feedback.providers import failures
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

MAXIMUM_AGE = timedelta(minutes=5)
_TIMESTAMP = "newsletter-timestamp"
_SIGNATURE = "newsletter-signature"
_BOUNCED = "bounced"
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)
#: Kinds and verdicts of events other than bounces, by the field `kind`.
_KINDS = {
    "deferred": (Kind.DELAYED, Verdict.DELAYED),
    # The provider has not sent the mail: spam, a virus, or a list of its own.
    "rejected": (Kind.OTHER, Verdict.OURS),
    "complained": (Kind.COMPLAINT, Verdict.COMPLAINT),
    "unsubscribed": (Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "delivered": (Kind.DELIVERED, Verdict.DELIVERED),
}


def verify(request: HookRequest, key: str, now: datetime) -> None:
    """Raise Rejected unless a request has a valid signature, in hexadecimal, of time and body."""
    timestamp = request.header(_TIMESTAMP)
    requests.check_age(requests.seconds(timestamp), now, MAXIMUM_AGE)
    signed = f"{timestamp}.".encode()
    expected = requests.hmac_sha256(key.encode(), signed, request.body).hex()
    if not requests.is_same(expected, request.header(_SIGNATURE)):
        raise Rejected(Cause.SIGNATURE)


def read(request: HookRequest) -> list[Arrival]:
    """Return the events of a request; raises Rejected if one of them is malformed."""
    found = request.document
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Rejected(Cause.MALFORMED)
    return [Arrival(Source.GENERIC, _id(event), _returned(event)) for event in found]


def _id(event: dict[str, Any]) -> str:
    written = requests.identifier(event.get("id"))
    return written or requests.joined(event, "kind", "recipient", "message_id", "status", "text")


def _returned(event: dict[str, Any]) -> Returned:
    kind = requests.text(event.get("kind"))
    said = requests.text(event.get("text"))
    recipient = requests.address(event.get("recipient"))
    message_id = requests.identifier(event.get("message_id"))
    if kind == _BOUNCED:
        return Returned(Kind.BOUNCE, (_failure(event, recipient, message_id, said),))
    if kind not in _KINDS:
        raise Rejected(Cause.MALFORMED)
    answer, verdict = _KINDS[kind]
    report = failures.mention(recipient, verdict, message_id=message_id, text=said)
    return Returned(answer, (report,))


def _failure(event: dict[str, Any], recipient: str, message_id: str, said: str) -> Report:
    """Return the report of a bounce; the status may be part of the reply, or a separate field."""
    status = requests.text(event.get("status"))
    found = prose.reply_in(said)
    if found is None:
        diagnostic = f"{status} {said}".strip()
    elif _ENHANCED.fullmatch(status) and not found.reply.enhanced:
        diagnostic = f"{found.reply.code} {status} {found.reply.text}"
    else:
        diagnostic = said
    return failures.report(
        recipient, diagnostic, otherwise=Verdict.MAYBE, message_id=message_id, said=said
    )
