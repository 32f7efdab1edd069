"""Postmark's webhooks, which are not signed: HTTP basic authentication (RFC 7617). Pure.

Postmark gives mails a Message-ID of its own, and returns what a mail has in X-PM-Metadata-*: there
its own one stands (`HEADER`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from newsletter.feedback.providers import failures
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

#: The name of the header's end, in lower case as Postmark returns it.
_METADATA = "message-id"

#: What a type of bounce is by Postmark's own words ("unknown user, mailbox not found"), where the
#: bounce gives no reply.
_FAILURES = {
    "HardBounce": Verdict.DEAD,
    "BadEmailAddress": Verdict.DEAD,
    "SoftBounce": Verdict.LATER,
    "DnsError": Verdict.LATER,
}
#: Types that are about our mail, whatever the reply.
_BLOCKS = {
    "Blocked": Verdict.OURS,
    "SpamNotification": Verdict.OURS,
    "VirusNotification": Verdict.OURS,
    "DMARCPolicy": Verdict.OURS,
    "OpenRelayTest": Verdict.OURS,
}
#: Why a reader's own act has Postmark send no more.
_ENDINGS = {
    "ManualSuppression": (Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "SpamComplaint": (Kind.COMPLAINT, Verdict.COMPLAINT),
}
#: Types that are no failure.
_ANSWERS = {
    # "Message delayed": Postmark goes on trying.
    "Transient": (Kind.DELAYED, Verdict.DELAYED),
    "SpamComplaint": (Kind.COMPLAINT, Verdict.COMPLAINT),
    "Unsubscribe": (Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "AutoResponder": (Kind.AUTO, Verdict.AUTO),
    "ChallengeVerification": (Kind.AUTO, Verdict.AUTO),
}


def verify(request: HookRequest, login: str, _now: datetime) -> None:
    """Raise Rejected unless a request has the login "user:password"; it has no time."""
    scheme, _, written = request.header("authorization").partition(" ")
    given = requests.base64_octets(written.strip())
    if scheme.lower() != "basic" or not requests.is_same(login, given):
        raise Rejected(Cause.SIGNATURE)


def read(request: HookRequest) -> list[Arrival]:
    """Return the event of a request; none for those that are of no use here."""
    if not isinstance(request.document, dict):
        raise Rejected(Cause.MALFORMED)
    event = requests.fields(request.document)
    kind = requests.text(event.get("RecordType"))
    reader = _READERS.get(kind)
    returned = reader(event) if reader else None
    return [Arrival(Source.POSTMARK, _id(kind, event), returned)] if returned else []


def _id(kind: str, event: dict[str, Any]) -> str:
    """Return what identifies an event: a bounce and a complaint have an ID, others have none."""
    own = requests.identifier(event.get("ID"))
    names = ("MessageID", "Recipient", "DeliveredAt", "ChangedAt")
    parts = [own] if own else [requests.identifier(event.get(name)) for name in names]
    return " ".join([kind, *parts])


def _message_id(event: dict[str, Any]) -> str:
    return requests.identifier(requests.fields(event.get("Metadata")).get(_METADATA))


def _bounce(event: dict[str, Any]) -> Returned:
    kind = requests.text(event.get("Type"))
    recipient, message_id = requests.address(event.get("Email")), _message_id(event)
    details, said = requests.text(event.get("Details")), requests.text(event.get("Description"))
    if kind in _ANSWERS:
        answer, verdict = _ANSWERS[kind]
        report = failures.mention(recipient, verdict, message_id=message_id, text=said)
        return Returned(answer, (report,))
    if kind not in _FAILURES and kind not in _BLOCKS:
        # Also of what Postmark has not sent: ManuallyDeactivated and others.
        report = failures.mention(recipient, Verdict.OTHER, message_id=message_id, text=said)
        return Returned(Kind.OTHER, (report,))
    report = failures.report(
        recipient,
        details,
        otherwise=_FAILURES.get(kind) or _BLOCKS[kind],
        message_id=message_id,
        said=said,
        is_block=kind in _BLOCKS,
    )
    return Returned(Kind.BOUNCE, (report,))


def _complaint(event: dict[str, Any]) -> Returned:
    report = _mention(event, "Email", Verdict.COMPLAINT, "Description")
    return Returned(Kind.COMPLAINT, (report,))


def _delivery(event: dict[str, Any]) -> Returned:
    report = _mention(event, "Recipient", Verdict.DELIVERED, "Details")
    return Returned(Kind.DELIVERED, (report,))


def _subscription(event: dict[str, Any]) -> Returned | None:
    """Postmark sends no more to an address, or does again; the reason for it counts."""
    reason = requests.text(event.get("SuppressionReason"))
    is_by_reader = requests.text(event.get("Origin")) == "Recipient"
    # A hard bounce is the recipient's, too, and comes as a bounce.
    if event.get("SuppressSending") is not True or not is_by_reader or reason not in _ENDINGS:
        return None
    kind, verdict = _ENDINGS[reason]
    return Returned(kind, (_mention(event, "Recipient", verdict, "SuppressionReason"),))


def _mention(event: dict[str, Any], recipient: str, verdict: Verdict, text: str) -> Report:
    """Return a report whose recipient and words stand in fields of these names."""
    return failures.mention(
        requests.address(event.get(recipient)),
        verdict,
        message_id=_message_id(event),
        text=requests.text(event.get(text)),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Returned | None]] = {
    "Bounce": _bounce,
    "SpamComplaint": _complaint,
    "Delivery": _delivery,
    "SubscriptionChange": _subscription,
}
