"""Mailgun's webhooks, whose HMAC covers time and token, but not the events. Pure.

Each token is accepted once (`Arrival.is_nonce`). Otherwise anybody who has seen one signed request
could send other content with its signature.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from newsletter.feedback.providers import failures
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

#: Mailgun retries for eight hours, with the time of the first try.
MAXIMUM_AGE = timedelta(hours=9)
_TOKEN_LENGTH = 50
#: Prefix of reasons for which Mailgun has not sent the mail: the address is on its own list.
_ON_A_LIST = "suppress-"
#: Verdicts by reason for events without a reply; "old" means that the retries have ended.
_CLASSES = {
    "bounce": Verdict.MAYBE,
    "espblock": Verdict.OURS,
    "old": Verdict.LATER,
    "greylisted": Verdict.LATER,
}


def verify(request: HookRequest, key: str, now: datetime) -> None:
    """Raise Rejected unless time and token of a request have a valid signature."""
    signature = _signature(request)
    timestamp, token = requests.text(signature.get("timestamp")), _token(signature)
    given = requests.text(signature.get("signature"))
    expected = requests.hmac_sha256(key.encode(), timestamp.encode(), token.encode()).hex()
    if not token or not requests.is_same(expected, given):
        raise Rejected(Cause.SIGNATURE)
    requests.check_age(requests.seconds(timestamp), now, MAXIMUM_AGE)


def _signature(request: HookRequest) -> dict[str, Any]:
    return requests.fields(requests.fields(request.document).get("signature"))


def _token(signature: dict[str, Any]) -> str:
    return requests.text(signature.get("token"))


def read(request: HookRequest) -> list[Arrival]:
    """Return the event of a request, also one of no use here, since its token is used up, too."""
    event = requests.fields(requests.fields(request.document).get("event-data"))
    returned = _returned(event)
    token = _token(_signature(request))
    return [Arrival(Source.MAILGUN, token, returned, is_nonce=True)] if token else []


def _returned(event: dict[str, Any]) -> Returned:
    kind = requests.text(event.get("event"))
    if kind == "failed":
        return _failure(event)
    if kind == "rejected":
        said = requests.text(requests.fields(event.get("reject")).get("reason"))
        return Returned(Kind.OTHER, (_mention(event, Verdict.OURS, said),))
    found = _MENTIONED.get(kind)
    if found is None:
        return Returned(Kind.OTHER)
    return Returned(found[0], (_mention(event, found[1], ""),))


_MENTIONED = {
    "complained": (Kind.COMPLAINT, Verdict.COMPLAINT),
    "unsubscribed": (Kind.UNSUBSCRIBE, Verdict.OPT_OUT),
    "delivered": (Kind.DELIVERED, Verdict.DELIVERED),
}


def _mention(event: dict[str, Any], verdict: Verdict, said: str) -> Report:
    recipient = requests.address(event.get("recipient"))
    return failures.mention(recipient, verdict, message_id=_message_id(event), text=said)


def _failure(event: dict[str, Any]) -> Returned:
    status = requests.fields(event.get("delivery-status"))
    words = requests.text(status.get("message")) or requests.text(status.get("description"))
    reason = requests.text(event.get("reason"))
    if requests.text(event.get("severity")) == "temporary":
        return Returned(Kind.DELAYED, (_mention(event, Verdict.DELAYED, words or reason),))
    if reason.startswith(_ON_A_LIST):
        return Returned(Kind.OTHER, (_mention(event, Verdict.OTHER, f"{reason}: {words}"),))
    report = failures.report(
        requests.address(event.get("recipient")),
        _diagnostic(status, words),
        otherwise=_CLASSES.get(reason, Verdict.OTHER),
        message_id=_message_id(event),
        said=f"{reason} {words}",
        is_block=reason == "espblock",
    )
    return Returned(Kind.BOUNCE, (report,))


def _diagnostic(status: dict[str, Any], words: str) -> str:
    """Return the server's reply, joined from the fields with code, enhanced code and text."""
    code, enhanced = requests.text(status.get("code")), requests.text(status.get("enhanced-code"))
    # Codes 6xx are Mailgun's own.
    if not (len(code) == 3 and code[0] in "45") or words.lstrip().startswith(code):
        return words
    return f"{code} {words}" if words.startswith(enhanced) else f"{code} {enhanced} {words}"


def _message_id(event: dict[str, Any]) -> str:
    headers = requests.fields(requests.fields(event.get("message")).get("headers"))
    found = requests.identifier(headers.get("message-id"))
    return found or _variable(event.get("user-variables"))


def _variable(variables: object) -> str:
    """Return the Message-ID in X-Mailgun-Variables, which are an object or its JSON text."""
    if isinstance(variables, str):
        try:
            variables = json.loads(variables)
        except (ValueError, RecursionError):
            return ""
    return requests.identifier(requests.fields(variables).get("message-id"))
