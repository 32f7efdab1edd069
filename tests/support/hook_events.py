"""Events in the formats that providers document, and requests with the providers' signatures.

The events were written for these tests; only field names and classes are those of a provider.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from newsletter.feedback.providers.request import HookRequest

SECRET = "h00k-0123456789abcdefghijklmnopqrs"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mails"
SNS_HOST = "sns.eu-central-1.amazonaws.com"
CERTIFICATE_PATH = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
CERTIFICATE_URL = f"https://{SNS_HOST}{CERTIFICATE_PATH}"
LOGIN = "postmark:0123456789abcdefghij"
MAILGUN_KEY = "key-0123456789abcdef0123456789abcdef"
RESEND_KEY = "whsec_" + base64.b64encode(b"0123456789abcdefghijklmn").decode()
GENERIC_KEY = "0123456789abcdef0123456789abcdef-generic"
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)

ANN = "ann@readers.example"
MESSAGE_ID = "0123456789abcdef.fedcba9876543210@miasfeed.example"
GONE = "550 5.1.1 <ann@readers.example>: Recipient address rejected: User unknown"


@cache
def sendgrid_signer() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def sendgrid_key() -> str:
    public = sendgrid_signer().public_key()
    found = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(found).decode()


@cache
def sns_signer() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(
    *,
    signer: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    begins: datetime = NOW - timedelta(days=100),
    ends: datetime = NOW + timedelta(days=100),
) -> bytes:
    """Return a self-signed certificate (PEM) for SNS."""
    key = signer or sns_signer()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


def settings() -> dict[str, Any]:
    """Return settings that enable every hook."""
    return {
        "hook_secret": SECRET,
        "ses_topics": [TOPIC],
        "sendgrid_key": sendgrid_key(),
        "postmark_login": LOGIN,
        "mailgun_key": MAILGUN_KEY,
        "resend_key": RESEND_KEY,
        "generic_hook_key": GENERIC_KEY,
    }


def environment() -> dict[str, str]:
    """Return the same settings as environment variables."""
    return {
        f"NEWSLETTER_{name.upper()}": ",".join(value) if isinstance(value, list) else value
        for name, value in settings().items()
    }


# Events


def ses_event(
    kind: str = "Bounce",
    *,
    named: str = "eventType",
    to: str = ANN,
    message_id: str = MESSAGE_ID,
    **about: Any,
) -> dict[str, Any]:
    """Return an event of SES, as it is in the message of an SNS notification."""
    return {
        named: kind,
        "mail": {
            "timestamp": "2026-11-22T08:59:00.000Z",
            "messageId": "0107019a0000-ses",
            "source": "news@miasfeed.example",
            "destination": [to],
            "headersTruncated": False,
            "headers": [
                {"name": "From", "value": "Mia <news@miasfeed.example>"},
                {"name": "Message-ID", "value": f"<{message_id}>"},
            ],
            "commonHeaders": {"messageId": f"<{message_id}>", "to": [to]},
        },
        **about,
    }


def ses_bounce(
    diagnostic: str = f"smtp; {GONE}",
    *,
    kind: str = "Permanent",
    subtype: str = "General",
    to: str = ANN,
    message_id: str = MESSAGE_ID,
) -> dict[str, Any]:
    recipient = {"emailAddress": to, "action": "failed", "status": "5.1.1"}
    if diagnostic:
        recipient["diagnosticCode"] = diagnostic
    bounce = {
        "feedbackId": "0107019a0000-feedback",
        "bounceType": kind,
        "bounceSubType": subtype,
        "bouncedRecipients": [recipient],
        "timestamp": "2026-11-22T08:59:30.000Z",
        "reportingMTA": "dsn; a.smtp-out.amazonses.example",
    }
    return ses_event("Bounce", to=to, message_id=message_id, bounce=bounce)


def sendgrid_event(event: str = "bounce", **more: Any) -> dict[str, Any]:
    return {
        "email": ANN,
        "timestamp": int(NOW.timestamp()),
        "smtp-id": f"<{MESSAGE_ID}>",
        "event": event,
        "sg_event_id": f"event-{event}",
        "sg_message_id": "sg.filter0001.1.2.0",
        **({"reason": GONE, "status": "5.1.1", "type": "bounce"} if event == "bounce" else {}),
        **more,
    }


def postmark_event(record: str = "Bounce", **more: Any) -> dict[str, Any]:
    about: dict[str, dict[str, Any]] = {
        "Bounce": {
            "ID": 4323372036854775807,
            "Type": "HardBounce",
            "TypeCode": 1,
            "Name": "Hard bounce",
            "Description": "The server was unable to deliver your message.",
            "Details": f"smtp;{GONE}",
            "Email": ANN,
        },
        "SpamComplaint": {
            "ID": 42,
            "Type": "SpamComplaint",
            "TypeCode": 100001,
            "Description": "The subscriber explicitly marked this message as spam.",
            "Email": ANN,
        },
        "Delivery": {"Recipient": ANN, "DeliveredAt": "2026-11-22T08:59:00Z", "Details": "250 ok"},
        "SubscriptionChange": {
            "ChangedAt": "2026-11-22T08:59:00Z",
            "Recipient": ANN,
            "Origin": "Recipient",
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
        },
    }
    return {
        "RecordType": record,
        "ServerID": 23,
        "MessageStream": "broadcast",
        "MessageID": "00000000-0000-0000-0000-000000000000",
        "Metadata": {"message-id": MESSAGE_ID},
        **about.get(record, {}),
        **more,
    }


def mailgun_event(event: str = "failed", **more: Any) -> dict[str, Any]:
    failed = {
        "severity": "permanent",
        "reason": "bounce",
        "delivery-status": {
            "attempt-no": 1,
            "code": 550,
            "enhanced-code": "5.1.1",
            "message": "5.1.1 <ann@readers.example>: Recipient address rejected: User unknown",
            "description": "",
        },
    }
    return {
        "event": event,
        "id": "G9Bn5sl1TC6nu79C8C0bwg",
        "timestamp": NOW.timestamp() + 0.25,
        "recipient": ANN,
        "message": {"headers": {"to": ANN, "message-id": MESSAGE_ID, "subject": "News"}},
        "user-variables": {"message-id": MESSAGE_ID},
        **(failed if event == "failed" else {}),
        **more,
    }


def resend_event(kind: str = "email.bounced", **more: Any) -> dict[str, Any]:
    bounce = {
        "type": "Permanent",
        "subType": "General",
        "message": "The recipient's email provider sent a hard bounce message.",
        "diagnosticCode": [f"smtp; {GONE}"],
    }
    return {
        "type": kind,
        "created_at": "2026-11-22T08:59:00.000Z",
        "data": {
            "created_at": "2026-11-22T08:58:00.000Z",
            "email_id": "11111111-1111-1111-1111-111111111111",
            "from": "Mia <news@miasfeed.example>",
            "to": [ANN],
            "subject": "News",
            "headers": [{"name": "X-Message-ID", "value": f"<{MESSAGE_ID}>"}],
            **({"bounce": bounce} if kind == "email.bounced" else {}),
            **more,
        },
    }


def generic_event(kind: str = "bounced", **more: Any) -> dict[str, Any]:
    return {
        "id": f"event-{kind}",
        "message_id": f"<{MESSAGE_ID}>",
        "recipient": ANN,
        "kind": kind,
        "status": "5.1.1" if kind == "bounced" else "",
        "text": GONE if kind == "bounced" else "",
        **more,
    }


# Requests


def sns(
    event: object,
    *,
    at: datetime = NOW,
    name: str = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    kind: str = "Notification",
    version: str = "1",
    signer: rsa.RSAPrivateKey | None = None,
    **more: Any,
) -> HookRequest:
    """Return a request with a signed SNS message."""
    message = event if isinstance(event, str) else json.dumps(event)
    found: dict[str, Any] = {
        "Type": kind,
        "MessageId": name,
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }
    if kind != "Notification":
        found["Token"] = "0123456789abcdef" * 8
        found["SubscribeURL"] = (
            f"https://{SNS_HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={found['Token']}"
        )
    found |= more
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn"]
    signed = "".join(f"{one}\n{found[one]}\n" for one in [*names, "Type"] if one in found)
    algorithm = SHA1() if version == "1" else SHA256()
    signature = (signer or sns_signer()).sign(signed.encode(), padding.PKCS1v15(), algorithm)
    found.setdefault("Signature", base64.b64encode(signature).decode())
    return HookRequest({"content-type": "text/plain"}, json.dumps(found).encode())


def sendgrid(events: object, *, at: datetime = NOW) -> HookRequest:
    body = json.dumps(events).encode()
    timestamp = str(int(at.timestamp()))
    signature = sendgrid_signer().sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    headers = {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }
    return HookRequest(headers, body)


def postmark(event: object, *, at: datetime = NOW, login: str = LOGIN) -> HookRequest:
    headers = {"authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return HookRequest(headers, json.dumps(event).encode())


def mailgun(
    event: object, *, at: datetime = NOW, token: str = "t0ken" * 10, key: str = MAILGUN_KEY
) -> HookRequest:
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    signed = {"timestamp": timestamp, "token": token, "signature": signature}
    return HookRequest({}, json.dumps({"signature": signed, "event-data": event}).encode())


def resend(
    event: object, *, at: datetime = NOW, name: str = "msg_0123456789", key: str = RESEND_KEY
) -> HookRequest:
    body, timestamp = json.dumps(event).encode(), str(int(at.timestamp()))
    octets = base64.b64decode(key.removeprefix("whsec_"))
    signature = hmac.new(octets, f"{name}.{timestamp}.".encode() + body, sha256).digest()
    headers = {
        "svix-id": name,
        "svix-timestamp": timestamp,
        "svix-signature": "v1,bm9uZQ== v1," + base64.b64encode(signature).decode(),
    }
    return HookRequest(headers, body)


def generic(events: object, *, at: datetime = NOW, key: str = GENERIC_KEY) -> HookRequest:
    return generic_signed(json.dumps(events).encode(), at=at, key=key)


def generic_signed(body: bytes, *, at: datetime = NOW, key: str = GENERIC_KEY) -> HookRequest:
    """Return a request with any octets, signed in our own format."""
    timestamp = str(int(at.timestamp()))
    signature = hmac.new(key.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    headers = {"newsletter-timestamp": timestamp, "newsletter-signature": signature}
    return HookRequest(headers, body)


@dataclass(frozen=True)
class Provider:
    """A provider, with a function that makes a request with one bounce."""

    name: str
    #: Makes the request from a recipient, a Message-ID, an event id and a time.
    bounce: Callable[[str, str, str, datetime], HookRequest]
    #: The maximum age of the signature.
    bound: timedelta | None = field(default=None)


def _mailgun_bounce(to: str, message_id: str, name: str, at: datetime) -> HookRequest:
    message = {"headers": {"to": to, "message-id": message_id}}
    return mailgun(mailgun_event(recipient=to, message=message), token=name, at=at)


def _resend_bounce(to: str, message_id: str, name: str, at: datetime) -> HookRequest:
    headers = [{"name": "X-Message-ID", "value": f"<{message_id}>"}]
    found = resend_event(to=[to], headers=headers)
    found["data"]["bounce"]["diagnosticCode"] = [f"smtp; {GONE.replace(ANN, to)}"]
    return resend(found, name=name, at=at)


PROVIDERS = [
    Provider(
        "ses",
        lambda to, message_id, name, at: sns(
            ses_bounce(to=to, message_id=message_id), name=name, at=at
        ),
        timedelta(hours=1),
    ),
    Provider(
        "sendgrid",
        lambda to, message_id, name, at: sendgrid(
            [sendgrid_event(email=to, sg_event_id=name, **{"smtp-id": f"<{message_id}>"})], at=at
        ),
        timedelta(hours=25),
    ),
    Provider(
        "postmark",
        lambda to, message_id, name, _: postmark(
            postmark_event(Email=to, ID=name, Metadata={"message-id": message_id})
        ),
    ),
    Provider("mailgun", _mailgun_bounce, timedelta(hours=9)),
    Provider("resend", _resend_bounce, timedelta(minutes=5)),
    Provider(
        "generic",
        lambda to, message_id, name, at: generic(
            [generic_event(recipient=to, message_id=message_id, id=name)], at=at
        ),
        timedelta(minutes=5),
    ),
]
