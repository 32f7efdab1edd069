"""Events of Amazon SES by way of SNS: event publishing and feedback notifications. Pure.

SNS signs a canonical string of some fields with RSA (SNS developer guide, "Verifying the signatures
of Amazon SNS messages"). The caller fetches the certificate, and only from the host of SNS in the
topic's own region; nothing is fetched for a topic that is not in the settings.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from newsletter.feedback.providers import failures
from newsletter.feedback.providers import request as requests
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Returned, Source, Verdict

#: Maximum age of a message. SNS retries for longer, but with the time of the first try.
MAXIMUM_AGE = timedelta(hours=1)
_NOTIFICATION = "Notification"
#: The signed fields by the type of message, in their order; missing fields are left out.
_SIGNED = {
    _NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        ("SubscriptionConfirmation", "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_HASHES: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - what SNS signs with
_TOPIC = re.compile(r"arn:(?P<partition>aws[a-z-]{0,12}):sns:(?P<region>[a-z0-9-]{1,32}):")

#: Subtypes of bounces of mails that SES has not sent, because the address is on its own list.
ON_A_LIST = {"Suppressed", "OnAccountSuppressionList", "UnsubscribedRecipient"}
BLOCKS = {"MessageTooLarge", "ContentRejected", "AttachmentRejected"}
#: Type and subtype of an out-of-office message, which is a bounce without a reply (SES developer
#: guide, bounce types).
_ABSENT = ("Transient", "General")
_NO_SPAM = {"not-spam": Verdict.OTHER, "auth-failure": Verdict.OURS}


@dataclass(frozen=True)
class Message:
    """An SNS message of one of our topics, whose signature is not verified yet."""

    fields: dict[str, Any]
    #: The URL of the signing certificate.
    certificate_url: str

    @property
    def confirms(self) -> str:
        """The URL that confirms a new subscription; empty for any other message."""
        is_new = self.fields["Type"] == "SubscriptionConfirmation"
        return requests.text(self.fields.get("SubscribeURL")) if is_new else ""


def opened(request: HookRequest, topics: Collection[str], now: datetime) -> Message:
    """Return the message of a request; raises Rejected unless its topic is one of `topics`.

    A message that is too old, or has URLs (certificate, confirmation) outside SNS, is rejected too.
    """
    found = requests.fields(request.document)
    signed = _SIGNED.get(requests.text(found.get("Type")))
    if signed is None or not all(isinstance(found.get(one, ""), str) for one in signed):
        raise Rejected(Cause.MALFORMED)
    # With line breaks in them, different fields could have the same canonical string.
    if any("\n" in found[one] for one in signed if one in found and one != "Message"):
        raise Rejected(Cause.MALFORMED)
    topic = requests.text(found.get("TopicArn"))
    if topic not in topics:
        raise Rejected(Cause.TOPIC)
    requests.check_age(_instant(requests.text(found.get("Timestamp"))), now, MAXIMUM_AGE)
    url = requests.text(found.get("SigningCertURL"))
    if not is_certificate_url(url, topic):
        raise Rejected(Cause.CERTIFICATE)
    message = Message(found, url)
    if message.confirms and not _is_of_sns(message.confirms, topic, r"\?[!-~]{1,3000}"):
        raise Rejected(Cause.MALFORMED)
    return message


def is_certificate_url(url: str, topic: str) -> bool:
    """Return whether a URL is one of a signing certificate of SNS in the region of a topic."""
    return _is_of_sns(url, topic, r"SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")


def _is_of_sns(url: str, topic: str, rest: str) -> bool:
    found = _TOPIC.match(topic)
    if found is None:
        return False
    ending = r"\.cn" if found["partition"] == "aws-cn" else ""
    host = rf"sns\.{found['region']}\.amazonaws\.com{ending}"
    return re.fullmatch(f"https://{host}/{rest}", url) is not None


def verify(message: Message, certificate: bytes, now: datetime) -> None:
    """Raise Rejected unless a certificate (PEM) verifies the signature of a message."""
    signer = _signer(certificate)
    if not signer.begins <= now <= signer.ends:
        raise Rejected(Cause.CERTIFICATE)
    version = requests.text(message.fields.get("SignatureVersion"))
    signature = requests.base64_octets(requests.text(message.fields.get("Signature")))
    algorithm = _HASHES.get(version)
    if algorithm is None:
        raise Rejected(Cause.SIGNATURE)
    try:
        signer.key.verify(signature, canonical(message.fields), padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        raise Rejected(Cause.SIGNATURE) from None


def canonical(found: dict[str, Any]) -> bytes:
    """Return the octets that SNS signs: name and value of each signed field on lines of their own.

    Fields that the message does not have are left out.
    """
    lines = [f"{name}\n{found[name]}\n" for name in _SIGNED[found["Type"]] if name in found]
    return "".join(lines).encode("utf-8", "surrogatepass")


class _Signer(NamedTuple):
    key: rsa.RSAPublicKey
    begins: datetime
    ends: datetime


@lru_cache(maxsize=16)
def _signer(certificate: bytes) -> _Signer:
    """Return the key of a certificate, and the dates of its validity."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise Rejected(Cause.CERTIFICATE) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Rejected(Cause.CERTIFICATE)
    return _Signer(key, found.not_valid_before_utc, found.not_valid_after_utc)


def _instant(written: str) -> datetime:
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise Rejected(Cause.STALE) from None
    if found.tzinfo is None:
        raise Rejected(Cause.STALE)
    return found


def read(request: HookRequest) -> list[Arrival]:
    """Return the event of a notification; none for other messages and events.

    When a topic is configured, SES sends it a test message that is a sentence instead of an event.
    """
    found = requests.fields(request.document)
    if found.get("Type") != _NOTIFICATION:
        return []
    try:
        event = requests.fields(requests.parse(str(found.get("Message"))))
    except Rejected:
        return []
    # `notificationType` in feedback notifications.
    kind = requests.text(event.get("eventType") or event.get("notificationType"))
    reader = _READERS.get(kind)
    if reader is None:
        return []
    returned = reader(event, _message_id(requests.fields(event.get("mail"))))
    return [Arrival(Source.SES, requests.identifier(found.get("MessageId")), returned)]


def _message_id(mail: dict[str, Any]) -> str:
    """Return the original Message-ID of the mail, which SES replaces."""
    for header in requests.items(mail.get("headers")):
        one = requests.fields(header)
        if requests.text(one.get("name")).lower() == "message-id":
            return requests.identifier(one.get("value"))
    return requests.identifier(requests.fields(mail.get("commonHeaders")).get("messageId"))


def _bounce(event: dict[str, Any], message_id: str) -> Returned:
    found = requests.fields(event.get("bounce"))
    kind = requests.text(found.get("bounceType"))
    subtype = requests.text(found.get("bounceSubType"))
    said = f"{kind}, {subtype}"
    recipients = [*map(requests.fields, requests.items(found.get("bouncedRecipients")))]
    diagnostics = [requests.text(one.get("diagnosticCode")) for one in recipients]
    is_listed = subtype in ON_A_LIST or any("suppression list" in one for one in diagnostics)
    if is_listed or ((kind, subtype) == _ABSENT and not any(diagnostics)):
        # Not read as a failure: events of SES's own list have the status 5.1.1, as if from a
        # server.
        other = (Kind.OTHER, Verdict.OTHER) if is_listed else (Kind.AUTO, Verdict.AUTO)
        to = [one.get("emailAddress") for one in recipients]
        text = " ".join([said, *diagnostics])
        return Returned(other[0], tuple(_of_each(to, other[1], message_id, text)))
    reports = tuple(
        failures.report(
            requests.address(one.get("emailAddress")),
            diagnostic,
            otherwise=class_of(kind, subtype),
            message_id=message_id,
            said=said,
            is_block=subtype in BLOCKS,
        )
        for one, diagnostic in zip(recipients, diagnostics, strict=True)
    )
    return Returned(Kind.BOUNCE, reports)


def class_of(kind: str, subtype: str) -> Verdict:
    """Return the verdict by type and subtype alone; Resend uses the same ones."""
    if subtype == "MailboxFull":
        return Verdict.FULL
    if subtype in BLOCKS:
        return Verdict.OURS
    if kind == "Permanent":
        return Verdict.DEAD if subtype == "NoEmail" else Verdict.MAYBE
    return Verdict.LATER if kind == "Transient" else Verdict.OTHER


def _complaint(event: dict[str, Any], message_id: str) -> Returned:
    found = requests.fields(event.get("complaint"))
    feedback = requests.text(found.get("complaintFeedbackType"))
    verdict = _NO_SPAM.get(feedback, Verdict.COMPLAINT)
    # Not a new complaint: SES has not sent the mail because of an earlier one.
    if requests.text(found.get("complaintSubType")) in ON_A_LIST:
        verdict = Verdict.OTHER
    addresses = map(requests.fields, requests.items(found.get("complainedRecipients")))
    reports = tuple(
        failures.mention(
            requests.address(one.get("emailAddress")),
            verdict,
            message_id=message_id,
            text=feedback,
        )
        for one in addresses
    )
    return Returned(Kind.COMPLAINT if verdict is Verdict.COMPLAINT else Kind.OTHER, reports)


def _delay(event: dict[str, Any], message_id: str) -> Returned:
    found = requests.fields(event.get("deliveryDelay"))
    reports = tuple(
        failures.mention(
            requests.address(one.get("emailAddress")),
            Verdict.DELAYED,
            message_id=message_id,
            text=requests.text(one.get("diagnosticCode")),
        )
        for one in map(requests.fields, requests.items(found.get("delayedRecipients")))
    )
    return Returned(Kind.DELAYED, reports)


def _delivery(event: dict[str, Any], message_id: str) -> Returned:
    found = requests.fields(event.get("delivery"))
    said = requests.text(found.get("smtpResponse"))
    reports = _of_each(found.get("recipients"), Verdict.DELIVERED, message_id, said)
    return Returned(Kind.DELIVERED, tuple(reports))


def _rejection(event: dict[str, Any], message_id: str) -> Returned:
    """Return the report of a mail that SES has not sent, because it found a virus in it."""
    said = requests.text(requests.fields(event.get("reject")).get("reason"))
    to = requests.fields(event.get("mail")).get("destination")
    return Returned(Kind.OTHER, tuple(_of_each(to, Verdict.OURS, message_id, said)))


def _subscription(event: dict[str, Any], message_id: str) -> Returned:
    """Return the opt-out of a reader by the link that SES adds if its list management is used."""
    found = requests.fields(event.get("subscription"))
    leaves = requests.fields(found.get("newTopicPreferences")).get("unsubscribeAll") is True
    to = requests.fields(event.get("mail")).get("destination")
    if not leaves:
        return Returned(Kind.OTHER)
    return Returned(Kind.UNSUBSCRIBE, tuple(_of_each(to, Verdict.OPT_OUT, message_id, "")))


def _of_each(recipients: object, verdict: Verdict, message_id: str, said: str) -> Iterator[Report]:
    for one in requests.items(recipients):
        yield failures.mention(requests.address(one), verdict, message_id=message_id, text=said)


_READERS = {
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Delivery": _delivery,
    "DeliveryDelay": _delay,
    "Reject": _rejection,
    "Subscription": _subscription,
}
