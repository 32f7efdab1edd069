"""SendGrid's Event Webhook, signed with ECDSA over the time and the body. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from newsletter.feedback.providers import failures
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

_SIGNATURE = "x-twilio-email-event-webhook-signature"
_TIMESTAMP = "x-twilio-email-event-webhook-timestamp"
#: SendGrid retries for 24 hours, and does not document that retries are signed anew. Within that
#: time a replay has no effect, because each `sg_event_id` counts once.
MAXIMUM_AGE = timedelta(hours=25)

#: Verdicts by `bounce_classification` for bounces without a reply.
_CLASSES = {
    "invalid address": Verdict.DEAD,
    "mailbox unavailable": Verdict.LATER,
    "technical": Verdict.LATER,
    "technical failure": Verdict.LATER,
    "content": Verdict.OURS,
    "reputation": Verdict.OURS,
    "frequency/volume too high": Verdict.OURS,
    "frequency or volume too high": Verdict.OURS,
}


def verify(request: HookRequest, key: str, now: datetime) -> None:
    """Raise Rejected unless a key (base64 of SubjectPublicKeyInfo) verifies the signature."""
    timestamp = request.header(_TIMESTAMP)
    requests.check_age(requests.seconds(timestamp), now, MAXIMUM_AGE)
    signature = requests.base64_octets(request.header(_SIGNATURE))
    signed = timestamp.encode() + request.body
    try:
        _key(key).verify(signature, signed, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise Rejected(Cause.SIGNATURE) from None


@lru_cache(maxsize=4)
def _key(written: str) -> ec.EllipticCurvePublicKey:
    found = load_der_public_key(base64.b64decode(written))
    assert isinstance(found, ec.EllipticCurvePublicKey)
    return found


def read(request: HookRequest) -> list[Arrival]:
    """Return the events of a request; raises Rejected if the body is not a list."""
    if not isinstance(request.document, list):
        raise Rejected(Cause.MALFORMED)
    found = []
    for event in map(requests.fields, request.document):
        reader = _READERS.get(requests.text(event.get("event")))
        if reader is not None:
            found.append(Arrival(Source.SENDGRID, _id(event), reader(event)))
    return found


def _id(event: dict[str, Any]) -> str:
    # Not all events have an `sg_event_id`.
    written = requests.identifier(event.get("sg_event_id"))
    return written or requests.joined(event, "event", "email", "smtp-id", "timestamp")


def _recipient(event: dict[str, Any]) -> str:
    return requests.address(event.get("email"))


def _message_id(event: dict[str, Any]) -> str:
    return requests.identifier(event.get("smtp-id"))


def _bounce(event: dict[str, Any]) -> Returned:
    classified = requests.text(event.get("bounce_classification")).lower()
    is_block = requests.text(event.get("type")) == "blocked"
    otherwise = _CLASSES.get(classified, Verdict.OURS if is_block else Verdict.MAYBE)
    report = failures.report(
        _recipient(event),
        requests.text(event.get("reason")),
        otherwise=otherwise,
        message_id=_message_id(event),
        said=classified,
        is_block=is_block or otherwise is Verdict.OURS,
    )
    return Returned(Kind.BOUNCE, (report,))


def _mentioned(
    kind: Kind, verdict: Verdict, words: str = ""
) -> Callable[[dict[str, Any]], Returned]:
    def read_event(event: dict[str, Any]) -> Returned:
        report: Report = failures.mention(
            _recipient(event),
            verdict,
            message_id=_message_id(event),
            text=requests.text(event.get(words)),
        )
        return Returned(kind, (report,))

    return read_event


_READERS = {
    "bounce": _bounce,
    # SendGrid has not sent the mail: the address is on its own list, or its filter reports spam.
    "dropped": _mentioned(Kind.OTHER, Verdict.OTHER, "reason"),
    "deferred": _mentioned(Kind.DELAYED, Verdict.DELAYED, "response"),
    "delivered": _mentioned(Kind.DELIVERED, Verdict.DELIVERED, "response"),
    "spamreport": _mentioned(Kind.COMPLAINT, Verdict.COMPLAINT),
    "unsubscribe": _mentioned(Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "group_unsubscribe": _mentioned(Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
}
