"""Postmark's webhooks, which have no signature but HTTP basic authentication (RFC 7617). Pure.

Postmark replaces the Message-ID of a mail, but returns its X-PM-Metadata-* headers; one of them has
our Message-ID.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from newsletter.feedback.providers import failures
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

#: The end of the header's name, in lower case as Postmark returns it.
_METADATA = "message-id"

#: Verdicts for bounces without a reply, by Postmark's description of their type ("unknown user,
#: mailbox not found").
_FAILURES = {
    "HardBounce": Verdict.DEAD,
    "BadEmailAddress": Verdict.DEAD,
    "SoftBounce": Verdict.LATER,
    "DnsError": Verdict.LATER,
}
#: Types of bounces that our mail has caused, whatever the reply.
_BLOCKS = {
    "Blocked": Verdict.OURS,
    "SpamNotification": Verdict.OURS,
    "VirusNotification": Verdict.OURS,
    "DMARCPolicy": Verdict.OURS,
    "OpenRelayTest": Verdict.OURS,
}
#: Reasons for which Postmark stops sending to an address after the reader's own action.
_ENDINGS = {
    "ManualSuppression": (Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "SpamComplaint": (Kind.COMPLAINT, Verdict.COMPLAINT),
}
#: Types of events that are no failures.
_ANSWERS = {
    # "Message delayed": Postmark retries.
    "Transient": (Kind.DELAYED, Verdict.DELAYED),
    "SpamComplaint": (Kind.COMPLAINT, Verdict.COMPLAINT),
    "Unsubscribe": (Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "AutoResponder": (Kind.AUTO, Verdict.AUTO),
    "ChallengeVerification": (Kind.AUTO, Verdict.AUTO),
}


def verify(request: HookRequest, login: str, _now: datetime) -> None:
    """Raise Rejected unless a request has the login "user:password"; it has no timestamp."""
    scheme, _, written = request.header("authorization").partition(" ")
    given = requests.base64_octets(written.strip())
    if scheme.lower() != "basic" or not requests.is_same(login, given):
        raise Rejected(Cause.SIGNATURE)


def read(request: HookRequest) -> list[Arrival]:
    """Return the event of a request; none for events of no use here."""
    if not isinstance(request.document, dict):
        raise Rejected(Cause.MALFORMED)
    event = requests.fields(request.document)
    kind = requests.text(event.get("RecordType"))
    reader = _READERS.get(kind)
    returned = reader(event) if reader else None
    return [Arrival(Source.POSTMARK, _id(kind, event), returned)] if returned else []


def _id(kind: str, event: dict[str, Any]) -> str:
    """Return the ID of a bounce or a complaint, or one made from other fields of an event."""
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
        # Other types, some of which are of mails that Postmark has not sent (ManuallyDeactivated).
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
    """Return an opt-out or a complaint if the reader has made Postmark stop sending; else None."""
    reason = requests.text(event.get("SuppressionReason"))
    is_by_reader = requests.text(event.get("Origin")) == "Recipient"
    # A hard bounce has the origin "Recipient" too, but there is a bounce event for it.
    if event.get("SuppressSending") is not True or not is_by_reader or reason not in _ENDINGS:
        return None
    kind, verdict = _ENDINGS[reason]
    return Returned(kind, (_mention(event, "Recipient", verdict, "SuppressionReason"),))


def _mention(event: dict[str, Any], recipient: str, verdict: Verdict, text: str) -> Report:
    """Return a report with recipient and text from the fields of these names."""
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
