"""A request counts only if its provider has signed it, for us, and not long ago."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import hook_events
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hook_events import ANN, MESSAGE_ID, NOW, TOPIC

from newsletter.feedback.providers import generic, mailgun, postmark, resend, sendgrid, ses
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected

Verify = Callable[[HookRequest, datetime], None]


def verify_sns(request: HookRequest, now: datetime, pem: bytes | None = None) -> None:
    message = ses.opened(request, [TOPIC], now)
    ses.verify(message, pem or hook_events.certificate(), now)


VERIFY: dict[str, Verify] = {
    "ses": verify_sns,
    "sendgrid": lambda request, now: sendgrid.verify(request, hook_events.sendgrid_key(), now),
    "postmark": lambda request, now: postmark.verify(request, hook_events.LOGIN, now),
    "mailgun": lambda request, now: mailgun.verify(request, hook_events.MAILGUN_KEY, now),
    "resend": lambda request, now: resend.verify(request, hook_events.RESEND_KEY, now),
    "generic": lambda request, now: generic.verify(request, hook_events.GENERIC_KEY, now),
}
SIGNED = [one for one in hook_events.PROVIDERS if one.name not in {"postmark", "mailgun"}]
IN_HEADERS = [one for one in hook_events.PROVIDERS if one.name not in {"ses", "mailgun"}]
TIMED = [one for one in hook_events.PROVIDERS if one.bound is not None]

each = pytest.mark.parametrize("provider", hook_events.PROVIDERS, ids=lambda one: one.name)
each_signed = pytest.mark.parametrize("provider", SIGNED, ids=lambda one: one.name)
each_timed = pytest.mark.parametrize("provider", TIMED, ids=lambda one: one.name)


def cause_of(verify: Callable[[], object]) -> Cause:
    with pytest.raises(Rejected) as raised:
        verify()
    return raised.value.cause


def bounce(provider: hook_events.Provider, at: datetime = NOW) -> HookRequest:
    return provider.bounce(ANN, MESSAGE_ID, "event-1", at)


@each
def test_what_a_provider_has_signed_is_accepted(provider: hook_events.Provider) -> None:
    VERIFY[provider.name](bounce(provider), NOW)


@each_timed
def test_a_signature_is_good_until_its_bound_and_not_after(
    provider: hook_events.Provider,
) -> None:
    assert provider.bound is not None
    verify, second = VERIFY[provider.name], timedelta(seconds=1)

    verify(bounce(provider), NOW + provider.bound)
    verify(bounce(provider), NOW - provider.bound)
    late = cause_of(lambda: verify(bounce(provider), NOW + provider.bound + second))
    early = cause_of(lambda: verify(bounce(provider), NOW - provider.bound - second))

    assert (late, early) == (Cause.STALE, Cause.STALE)


@each_signed
def test_a_body_that_was_altered_is_rejected(provider: hook_events.Provider) -> None:
    request = bounce(provider)
    altered = replace(request, body=request.body.replace(b"ann@", b"eve@"))

    assert cause_of(lambda: VERIFY[provider.name](altered, NOW)) is Cause.SIGNATURE


@each
def test_a_request_without_any_header_or_signature_is_rejected(
    provider: hook_events.Provider,
) -> None:
    for body in (b"", b"{}", b"[]", b"null", b'{"Type": "Notification"}', b"\xff"):
        assert cause_of(lambda body=body: VERIFY[provider.name](HookRequest({}, body), NOW))


@pytest.mark.parametrize("provider", IN_HEADERS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "value", ["", "-1", "1e9", "9" * 400, "١٢٣", "99999999999999", "\ud800", "NaN", "%00"]
)
def test_headers_that_are_no_times_or_signatures_are_rejected(
    provider: hook_events.Provider, value: str
) -> None:
    request = bounce(provider)
    broken = HookRequest(dict.fromkeys(request.headers, value), request.body)

    assert cause_of(lambda: VERIFY[provider.name](broken, NOW)) in {Cause.SIGNATURE, Cause.STALE}


def test_another_key_has_not_signed() -> None:
    requests = {
        "mailgun": hook_events.mailgun(hook_events.mailgun_event(), key="k" * 32),
        "resend": hook_events.resend(
            hook_events.resend_event(), key="whsec_a2V5LWtleS1rZXkta2V5LQ=="
        ),
        "generic": hook_events.generic([hook_events.generic_event()], key="k" * 32),
        "postmark": hook_events.postmark(hook_events.postmark_event(), login="postmark:guess"),
    }
    for name, request in requests.items():
        assert cause_of(partial(VERIFY[name], request, NOW)) is Cause.SIGNATURE, name


# Amazon SES


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon SES Email Event Notification"}])
def test_sns_signs_with_and_without_a_subject_by_both_versions(
    version: str, subject: dict[str, str]
) -> None:
    verify_sns(hook_events.sns(hook_events.ses_bounce(), version=version, **subject), NOW)


def test_sns_signs_lines_of_names_and_values() -> None:
    found = {"Type": "Notification", "Message": "a\nb", "MessageId": "1", "Timestamp": "t"}

    assert ses.canonical(found | {"TopicArn": TOPIC, "SigningCertURL": "x"}).decode() == (
        f"Message\na\nb\nMessageId\n1\nTimestamp\nt\nTopicArn\n{TOPIC}\nType\nNotification\n"
    )


@pytest.mark.parametrize("version", ["0", "3", "", "sha1"])
def test_a_signature_of_another_version_is_rejected(version: str) -> None:
    request = hook_events.sns(hook_events.ses_bounce(), SignatureVersion=version)

    assert cause_of(lambda: verify_sns(request, NOW)) is Cause.SIGNATURE


def test_a_confirmation_is_signed_with_its_token_and_says_where_to_confirm() -> None:
    request = hook_events.sns("You have chosen.", kind="SubscriptionConfirmation")
    message = ses.opened(request, [TOPIC], NOW)

    ses.verify(message, hook_events.certificate(), NOW)

    assert message.confirms.startswith("https://sns.eu-central-1.amazonaws.com/?Action=Confirm")


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-central-1.amazonaws.com.evil.example/?Action=ConfirmSubscription",
        "https://evil.example/?Action=ConfirmSubscription",
        "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-central-1.amazonaws.com@evil.example/?Action=ConfirmSubscription",
        "https://sns.eu-central-1.amazonaws.com:8443/?Action=ConfirmSubscription",
        "https://sns.eu-central-1.amazonaws.com/?Action=\r\nHost: evil.example",
    ],
)
def test_a_confirmation_leads_only_to_sns_of_the_topics_region(url: str) -> None:
    request = hook_events.sns("", kind="SubscriptionConfirmation", SubscribeURL=url)

    assert cause_of(lambda: ses.opened(request, [TOPIC], NOW)) is Cause.MALFORMED


def test_a_topic_that_is_not_ours_is_rejected_before_anything_is_fetched() -> None:
    other = "arn:aws:sns:eu-central-1:123456789012:others"
    for kind in ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"):
        request = hook_events.sns(
            "", kind=kind, TopicArn=other, SigningCertURL="https://evil.example"
        )

        assert cause_of(lambda request=request: ses.opened(request, [TOPIC], NOW)) is Cause.TOPIC


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/SimpleNotificationService-0123.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0123.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-0123.pem",
        "https://evil.example#@sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.eu-central-1.amazonaws.com:444/SimpleNotificationService-0123.pem",
        "https://snsxeu-central-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-central-1.amazonaws.com.cn/SimpleNotificationService-0123.pem",
        "https://s3.eu-central-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123.pem?x",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-../x.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123.pem\n",
        "https://sns.eu-central-1.amazonaws.com/bucket/SimpleNotificationService-0123.pem",
        "",
    ],
)
def test_a_certificate_is_only_of_sns_in_the_topics_region(url: str) -> None:
    request = hook_events.sns(hook_events.ses_bounce(), SigningCertURL=url)

    assert cause_of(lambda: ses.opened(request, [TOPIC], NOW)) is Cause.CERTIFICATE


def test_the_topics_of_other_partitions_have_hosts_of_their_own() -> None:
    path = "/SimpleNotificationService-0123.pem"
    china = "arn:aws-cn:sns:cn-north-1:123456789012:mails"
    government = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:mails"

    assert ses.is_certificate_url(f"https://sns.cn-north-1.amazonaws.com.cn{path}", china)
    assert not ses.is_certificate_url(f"https://sns.cn-north-1.amazonaws.com{path}", china)
    assert ses.is_certificate_url(f"https://sns.us-gov-west-1.amazonaws.com{path}", government)


def test_a_certificate_of_somebody_else_has_not_signed() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    request = hook_events.sns(hook_events.ses_bounce(), signer=other)

    assert cause_of(lambda: verify_sns(request, NOW)) is Cause.SIGNATURE


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"<html>not found</html>",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        hook_events.certificate(ends=NOW - timedelta(seconds=1)),
        hook_events.certificate(begins=NOW + timedelta(seconds=1)),
        hook_events.certificate(signer=ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "page", "broken", "expired", "not yet", "no RSA"],
)
def test_a_certificate_that_is_none_or_out_of_its_dates_is_rejected(pem: bytes) -> None:
    request = hook_events.sns(hook_events.ses_bounce())
    message = ses.opened(request, [TOPIC], NOW)

    assert cause_of(lambda: ses.verify(message, pem, NOW)) is Cause.CERTIFICATE


@pytest.mark.parametrize(
    "fields",
    [
        {"Type": "Other"},
        {"Type": ["Notification"]},
        {"Message": {"a": 1}},
        {"MessageId": 7},
        {"Subject": None},
        # The octets that are signed would be those of another message.
        {"MessageId": "1\nSubject\nBounce"},
    ],
)
def test_a_message_of_sns_with_other_fields_is_malformed(fields: dict[str, Any]) -> None:
    found = json.loads(hook_events.sns(hook_events.ses_bounce()).body) | fields
    request = HookRequest({}, json.dumps(found).encode())

    assert cause_of(lambda: ses.opened(request, [TOPIC], NOW)) is Cause.MALFORMED


def test_half_a_surrogate_in_a_signed_message_is_no_error() -> None:
    body = hook_events.sns(hook_events.ses_bounce()).body.replace(b"ann@", rb"\ud800@")

    assert cause_of(lambda: verify_sns(HookRequest({}, body), NOW)) is Cause.SIGNATURE
