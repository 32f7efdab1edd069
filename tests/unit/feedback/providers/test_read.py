"""What a provider's event comes to: the reply in it decides, else the provider's own class."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hook_events
import pytest
from hook_events import (
    ANN,
    GONE,
    MESSAGE_ID,
    generic_event,
    mailgun_event,
    postmark_event,
    resend_event,
    sendgrid_event,
    ses_bounce,
    ses_event,
)
from hypothesis import given
from hypothesis import strategies as st

from newsletter.feedback.providers import (
    failures,
    generic,
    mailgun,
    postmark,
    resend,
    sendgrid,
    ses,
)
from newsletter.feedback.providers.request import Cause, HookRequest, Rejected
from newsletter.feedback.reports import Arrival, Kind, Report, Source, Verdict
from newsletter.ledger import message_ids

FULL = "452 4.2.2 The email account that you tried to reach is over quota"
SPAM = "554 5.7.1 Message rejected as spam by content filtering"
ODD = ["\ud800", "\x00", "a" * 2_000, "x\r\ny", "ann@[::1]", "<<>>", '"@"@"', " "]


def of_ses(event: object) -> list[Arrival]:
    return ses.read(hook_events.sns(event))


def of_sendgrid(*events: object) -> list[Arrival]:
    return sendgrid.read(hook_events.sendgrid(list(events)))


def of_postmark(event: object) -> list[Arrival]:
    return postmark.read(hook_events.postmark(event))


def of_mailgun(event: object) -> list[Arrival]:
    return mailgun.read(hook_events.mailgun(event))


def of_resend(event: object) -> list[Arrival]:
    return resend.read(hook_events.resend(event))


def of_generic(*events: object) -> list[Arrival]:
    return generic.read(hook_events.generic(list(events)))


def only(arrivals: list[Arrival]) -> Report:
    (arrival,) = arrivals
    (report,) = arrival.returned.reports
    return report


def comes_to(arrivals: list[Arrival]) -> tuple[Kind, Verdict]:
    return arrivals[0].returned.kind, only(arrivals).verdict


BOUNCES: dict[Source, Callable[[], list[Arrival]]] = {
    Source.SES: lambda: of_ses(ses_bounce()),
    Source.SENDGRID: lambda: of_sendgrid(sendgrid_event()),
    Source.POSTMARK: lambda: of_postmark(postmark_event()),
    Source.MAILGUN: lambda: of_mailgun(mailgun_event()),
    Source.RESEND: lambda: of_resend(resend_event()),
    Source.GENERIC: lambda: of_generic(generic_event()),
}


@pytest.mark.parametrize("source", BOUNCES)
def test_a_bounce_names_its_source_its_reader_its_mail_and_the_reply(source: Source) -> None:
    arrivals = BOUNCES[source]()
    report = only(arrivals)

    assert (arrivals[0].source, arrivals[0].returned.kind) == (source, Kind.BOUNCE)
    assert arrivals[0].id
    assert (report.recipient, report.verdict) == (ANN, Verdict.DEAD)
    assert message_ids.parse(report.message_id) == message_ids.parse(MESSAGE_ID)
    assert (report.code, report.status) == (550, "5.1.1")
    assert "User unknown" in report.text


def test_only_a_token_that_does_not_cover_the_content_is_a_nonce() -> None:
    nonces = {source for source, read in BOUNCES.items() if read()[0].is_nonce}

    assert nonces == {Source.MAILGUN}


WITH_REPLY: dict[str, Callable[[str], list[Arrival]]] = {
    "ses": lambda reply: of_ses(ses_bounce(f"smtp; {reply}")),
    "sendgrid": lambda reply: of_sendgrid(sendgrid_event(reason=reply)),
    "postmark": lambda reply: of_postmark(postmark_event(Details=f"smtp;{reply}")),
    "mailgun": lambda reply: of_mailgun(
        mailgun_event(**{"delivery-status": {"code": int(reply[:3]), "message": reply[4:]}})
    ),
    "resend": lambda reply: of_resend(
        resend_event(bounce={"type": "Permanent", "diagnosticCode": [f"smtp; {reply}"]})
    ),
    "generic": lambda reply: of_generic(generic_event(status="", text=reply)),
}


@pytest.mark.parametrize("provider", WITH_REPLY)
@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (GONE, Verdict.DEAD),
        ("550 No such user here", Verdict.MAYBE),
        (FULL, Verdict.FULL),
        ("552 5.2.2 Mailbox is full", Verdict.FULL),
        (SPAM, Verdict.OURS),
        (
            "550 5.7.26 This mail has been blocked because the sender is unauthenticated",
            Verdict.OURS,
        ),
        ("451 4.7.1 Greylisted, please try again", Verdict.LATER),
    ],
)
def test_a_reply_decides_whatever_the_provider_calls_it(
    provider: str, reply: str, verdict: Verdict
) -> None:
    assert only(WITH_REPLY[provider](reply)).verdict is verdict


def test_a_reply_that_names_its_reader_still_does() -> None:
    for reader in ("ben@readers.example", "b@x.example", "a", ""):
        report = failures.report(
            reader, f"550 5.1.1 <{reader}>: a is gone", otherwise=Verdict.OTHER
        )

        assert (report.recipient, report.verdict) == (reader, Verdict.DEAD)
        assert report.text == f"<{reader}>: a is gone"


# Amazon SES


def test_feedback_notifications_and_event_publishing_say_the_same() -> None:
    found = ses_bounce()
    found["notificationType"] = found.pop("eventType")

    assert of_ses(found) == of_ses(ses_bounce())


def test_an_event_of_ses_is_counted_by_the_id_of_its_message() -> None:
    assert ses.read(hook_events.sns(ses_bounce(), name="one"))[0].id == "one"


def test_each_recipient_of_a_mail_has_a_report() -> None:
    found = ses_bounce()
    found["bounce"]["bouncedRecipients"].append(
        {"emailAddress": "Ben <ben@readers.example>", "diagnosticCode": f"smtp; {FULL}"}
    )
    (arrival,) = of_ses(found)

    assert [(one.recipient, one.verdict) for one in arrival.returned.reports] == [
        (ANN, Verdict.DEAD),
        ("ben@readers.example", Verdict.FULL),
    ]


@pytest.mark.parametrize(
    ("kind", "subtype", "verdict"),
    [
        ("Permanent", "NoEmail", Verdict.DEAD),
        ("Permanent", "General", Verdict.MAYBE),
        ("Permanent", "Suppressed", Verdict.OTHER),
        ("Permanent", "OnAccountSuppressionList", Verdict.OTHER),
        ("Transient", "MailboxFull", Verdict.FULL),
        ("Transient", "MessageTooLarge", Verdict.OURS),
        ("Transient", "ContentRejected", Verdict.OURS),
        ("Transient", "AttachmentRejected", Verdict.OURS),
        ("Undetermined", "Undetermined", Verdict.OTHER),
        ("", "", Verdict.OTHER),
    ],
)
def test_a_type_of_ses_and_of_resend_counts_without_a_reply(
    kind: str, subtype: str, verdict: Verdict
) -> None:
    event = resend_event(bounce={"type": kind, "subType": subtype, "message": "Something."})

    assert only(of_ses(ses_bounce("", kind=kind, subtype=subtype))).verdict is verdict
    assert only(of_resend(event)).verdict is verdict


@pytest.mark.parametrize("subtype", ["Suppressed", "OnAccountSuppressionList", "Newer"])
def test_an_address_on_the_list_of_ses_has_not_bounced_whatever_status_it_gets(
    subtype: str,
) -> None:
    said = f"smtp; {GONE}; it is on your account's suppression list"

    assert comes_to(of_ses(ses_bounce(said, subtype=subtype))) == (Kind.OTHER, Verdict.OTHER)


def test_an_absence_is_no_bounce_but_what_a_server_said_is() -> None:
    absent = ses_bounce("", kind="Transient", subtype="General")
    assert comes_to(of_ses(absent)) == (Kind.AUTO, Verdict.AUTO)

    said = ses_bounce("smtp; 451 4.4.1 Try later", kind="Transient", subtype="General")
    assert comes_to(of_ses(said)) == (Kind.BOUNCE, Verdict.LATER)


@pytest.mark.parametrize("subtype", ["ContentRejected", "AttachmentRejected"])
def test_a_mail_that_is_rejected_for_what_is_in_it_says_nothing_of_its_reader(
    subtype: str,
) -> None:
    assert only(of_ses(ses_bounce(subtype=subtype))).verdict is Verdict.OURS


@pytest.mark.parametrize(
    ("feedback", "subtype", "expected"),
    [
        ("abuse", None, (Kind.COMPLAINT, Verdict.COMPLAINT)),
        (None, None, (Kind.COMPLAINT, Verdict.COMPLAINT)),
        ("virus", None, (Kind.COMPLAINT, Verdict.COMPLAINT)),
        ("not-spam", None, (Kind.OTHER, Verdict.OTHER)),
        ("auth-failure", None, (Kind.OTHER, Verdict.OURS)),
        ("abuse", "OnAccountSuppressionList", (Kind.OTHER, Verdict.OTHER)),
    ],
)
def test_complaints_of_ses(
    feedback: str | None, subtype: str | None, expected: tuple[Kind, Verdict]
) -> None:
    complaint = {
        "complainedRecipients": [{"emailAddress": ANN}],
        "complaintFeedbackType": feedback,
        "complaintSubType": subtype,
    }

    assert comes_to(of_ses(ses_event("Complaint", complaint=complaint))) == expected


def test_other_events_of_ses() -> None:
    delivery = {"recipients": [ANN], "smtpResponse": "250 2.0.0 OK"}
    delay = {
        "delayType": "MailboxFull",
        "delayedRecipients": [{"emailAddress": ANN, "status": "4.2.2", "diagnosticCode": FULL}],
    }
    all_topics = {"newTopicPreferences": {"unsubscribeAll": True}}

    assert comes_to(of_ses(ses_event("Delivery", delivery=delivery))) == (
        Kind.DELIVERED,
        Verdict.DELIVERED,
    )
    assert comes_to(of_ses(ses_event("DeliveryDelay", deliveryDelay=delay))) == (
        Kind.DELAYED,
        Verdict.DELAYED,
    )
    assert comes_to(of_ses(ses_event("Reject", reject={"reason": "Bad content"}))) == (
        Kind.OTHER,
        Verdict.OURS,
    )
    assert comes_to(of_ses(ses_event("Subscription", subscription=all_topics))) == (
        Kind.UNSUBSCRIBE,
        Verdict.OPT_OUT,
    )


@pytest.mark.parametrize("kind", ["Send", "Open", "Click", "Rendering Failure", "Other", ""])
def test_events_of_ses_that_say_nothing_of_a_mails_fate_are_passed_over(kind: str) -> None:
    assert of_ses(ses_event(kind)) == []


def test_the_sentence_with_which_ses_tries_a_topic_is_no_event() -> None:
    assert of_ses("Successfully validated SNS topic for Amazon SES event publishing.") == []
    assert ses.read(hook_events.sns("You have chosen", kind="SubscriptionConfirmation")) == []


def test_a_topic_without_the_original_headers_names_the_mail_by_its_common_ones() -> None:
    found = ses_bounce()
    del found["mail"]["headers"]
    assert only(of_ses(found)).message_id == f"<{MESSAGE_ID}>"

    del found["mail"]["commonHeaders"]
    assert only(of_ses(found)).message_id == ""


# SendGrid


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("deferred", (Kind.DELAYED, Verdict.DELAYED)),
        ("delivered", (Kind.DELIVERED, Verdict.DELIVERED)),
        ("dropped", (Kind.OTHER, Verdict.OTHER)),
        ("spamreport", (Kind.COMPLAINT, Verdict.COMPLAINT)),
        ("unsubscribe", (Kind.UNSUBSCRIBE, Verdict.OPT_OUT)),
        ("group_unsubscribe", (Kind.UNSUBSCRIBE, Verdict.OPT_OUT)),
    ],
)
def test_events_of_sendgrid(event: str, expected: tuple[Kind, Verdict]) -> None:
    more = {"reason": "Bounced Address", "status": "5.1.1"} if event == "dropped" else {}

    assert comes_to(of_sendgrid(sendgrid_event(event, **more))) == expected


@pytest.mark.parametrize(
    ("classified", "verdict"),
    [
        ("Invalid Address", Verdict.DEAD),
        ("Mailbox Unavailable", Verdict.LATER),
        ("Technical", Verdict.LATER),
        ("Content", Verdict.OURS),
        ("Reputation", Verdict.OURS),
        ("Frequency/Volume Too High", Verdict.OURS),
        ("Unclassified", Verdict.MAYBE),
    ],
)
def test_a_classification_of_sendgrid_counts_without_a_reply(
    classified: str, verdict: Verdict
) -> None:
    event = sendgrid_event(reason="unable to deliver", bounce_classification=classified)

    assert only(of_sendgrid(event)).verdict is verdict


def test_a_block_of_sendgrid_is_never_a_dead_address() -> None:
    assert only(of_sendgrid(sendgrid_event(type="blocked"))).verdict is Verdict.OURS
    without = sendgrid_event(type="blocked", reason="")
    assert only(of_sendgrid(without)).verdict is Verdict.OURS


def test_a_batch_of_sendgrid_has_an_arrival_for_each_event_of_use() -> None:
    events = [sendgrid_event(one) for one in ("processed", "open", "click", "delivered", "bounce")]

    assert [one.id for one in of_sendgrid(*events)] == ["event-delivered", "event-bounce"]


def test_an_event_without_an_id_is_identified_by_what_it_says() -> None:
    first, second = sendgrid_event(sg_event_id=""), sendgrid_event(sg_event_id="", timestamp=1)

    found = of_sendgrid(first, second, first)

    assert found[0].id == found[2].id != found[1].id


# Postmark


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("HardBounce", (Kind.BOUNCE, Verdict.DEAD)),
        ("BadEmailAddress", (Kind.BOUNCE, Verdict.DEAD)),
        ("SoftBounce", (Kind.BOUNCE, Verdict.LATER)),
        ("Transient", (Kind.DELAYED, Verdict.DELAYED)),
        ("DnsError", (Kind.BOUNCE, Verdict.LATER)),
        ("Blocked", (Kind.BOUNCE, Verdict.OURS)),
        ("SpamNotification", (Kind.BOUNCE, Verdict.OURS)),
        ("VirusNotification", (Kind.BOUNCE, Verdict.OURS)),
        ("DMARCPolicy", (Kind.BOUNCE, Verdict.OURS)),
        ("SpamComplaint", (Kind.COMPLAINT, Verdict.COMPLAINT)),
        ("Unsubscribe", (Kind.UNSUBSCRIBE, Verdict.OPT_OUT)),
        ("AutoResponder", (Kind.AUTO, Verdict.AUTO)),
        ("ManuallyDeactivated", (Kind.OTHER, Verdict.OTHER)),
        ("Unknown", (Kind.OTHER, Verdict.OTHER)),
        ("Invented", (Kind.OTHER, Verdict.OTHER)),
    ],
)
def test_types_of_postmark_count_without_a_reply(kind: str, expected: tuple[Kind, Verdict]) -> None:
    event = postmark_event(Type=kind, Details="action: failed\r\n")

    assert comes_to(of_postmark(event)) == expected


@pytest.mark.parametrize("kind", ["Blocked", "SpamNotification", "ManuallyDeactivated", "Unknown"])
def test_what_postmark_blocks_is_not_dead_whatever_the_reply(kind: str) -> None:
    assert only(of_postmark(postmark_event(Type=kind))).verdict in {Verdict.OURS, Verdict.OTHER}


def test_other_events_of_postmark() -> None:
    assert comes_to(of_postmark(postmark_event("SpamComplaint")))[1] is Verdict.COMPLAINT
    assert comes_to(of_postmark(postmark_event("Delivery")))[1] is Verdict.DELIVERED
    assert comes_to(of_postmark(postmark_event("SubscriptionChange")))[1] is Verdict.OPT_OUT
    by_spam = postmark_event("SubscriptionChange", SuppressionReason="SpamComplaint")
    assert comes_to(of_postmark(by_spam))[1] is Verdict.COMPLAINT
    assert of_postmark(postmark_event("Open")) == []


@pytest.mark.parametrize(
    "change",
    [
        {"SuppressSending": False, "SuppressionReason": None},
        # Postmark's own sample: after a hard bounce, which is reported, too.
        {"Origin": "Recipient", "SuppressSending": True, "SuppressionReason": "HardBounce"},
        {"Origin": "Recipient", "SuppressSending": "yes"},
        {"Origin": "Customer"},
        {"Origin": "Admin"},
    ],
)
def test_a_change_that_is_not_the_readers_own_is_passed_over(change: dict[str, Any]) -> None:
    assert of_postmark(postmark_event("SubscriptionChange", **change)) == []


def test_two_events_of_one_mail_are_two() -> None:
    names = {of_postmark(postmark_event(one))[0].id for one in ("Delivery", "SubscriptionChange")}

    assert len(names) == 2


# Mailgun


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"severity": "temporary"}, (Kind.DELAYED, Verdict.DELAYED)),
        ({"reason": "suppress-bounce"}, (Kind.OTHER, Verdict.OTHER)),
        ({"reason": "suppress-complaint"}, (Kind.OTHER, Verdict.OTHER)),
        ({"reason": "suppress-unsubscribe"}, (Kind.OTHER, Verdict.OTHER)),
        ({"reason": "espblock"}, (Kind.BOUNCE, Verdict.OURS)),
        ({"delivery-status": {"code": 605, "message": ""}}, (Kind.BOUNCE, Verdict.MAYBE)),
        ({"delivery-status": {}, "reason": "old"}, (Kind.BOUNCE, Verdict.LATER)),
        ({"delivery-status": {}, "reason": "generic"}, (Kind.BOUNCE, Verdict.OTHER)),
    ],
)
def test_failures_of_mailgun(more: dict[str, Any], expected: tuple[Kind, Verdict]) -> None:
    assert comes_to(of_mailgun(mailgun_event(**more))) == expected


@pytest.mark.parametrize(
    "status",
    [
        {"code": 550, "enhanced-code": "5.1.1", "message": "User unknown"},
        {"code": 550, "enhanced-code": "", "message": "5.1.1 User unknown"},
        {"code": 550, "enhanced-code": "", "message": "550 5.1.1 User unknown"},
        {"code": 550, "enhanced-code": "5.1.1", "message": "", "description": "User unknown"},
    ],
)
def test_code_status_and_words_of_mailgun_are_one_reply(status: dict[str, Any]) -> None:
    report = only(of_mailgun(mailgun_event(**{"delivery-status": status})))

    assert (report.verdict, report.code, report.status) == (Verdict.DEAD, 550, "5.1.1")
    assert report.text == "User unknown"


def test_other_events_of_mailgun() -> None:
    for event, verdict in {
        "complained": Verdict.COMPLAINT,
        "unsubscribed": Verdict.OPT_OUT,
        "delivered": Verdict.DELIVERED,
        "rejected": Verdict.OURS,
    }.items():
        assert comes_to(of_mailgun(mailgun_event(event)))[1] is verdict
    # Its token counts once, too.
    (opened,) = of_mailgun(mailgun_event("opened"))
    assert (opened.returned.kind, opened.is_nonce) == (Kind.OTHER, True)


@pytest.mark.parametrize(
    "variables", [{"message-id": MESSAGE_ID}, json.dumps({"message-id": MESSAGE_ID})]
)
def test_a_variable_names_the_mail_where_its_headers_do_not(variables: object) -> None:
    event = mailgun_event(message={}, **{"user-variables": variables})

    assert only(of_mailgun(event)).message_id == MESSAGE_ID


def test_variables_that_are_nothing_are_no_error() -> None:
    for variables in ("{", "[" * 100_000, 7, None, [], "null"):
        event = mailgun_event(message={}, **{"user-variables": variables})
        assert only(of_mailgun(event)).message_id == ""


# Resend


def test_other_events_of_resend() -> None:
    for kind, verdict in {
        "email.complained": Verdict.COMPLAINT,
        "email.delivered": Verdict.DELIVERED,
        "email.delivery_delayed": Verdict.DELAYED,
        "email.failed": Verdict.OURS,
        "email.suppressed": Verdict.OTHER,
    }.items():
        assert comes_to(of_resend(resend_event(kind)))[1] is verdict
    assert of_resend(resend_event("email.opened")) == []


def test_an_address_on_the_list_of_resend_is_not_dead() -> None:
    event = resend_event()
    event["data"]["bounce"]["message"] = "Resend has suppressed sending to this address."

    assert only(of_resend(event)).verdict is Verdict.OTHER


def test_a_mail_to_several_does_not_tell_who_is_meant() -> None:
    assert only(of_resend(resend_event(to=[ANN, "ben@readers.example"]))).recipient == ""


# Our own form


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("deferred", Verdict.DELAYED),
        ("rejected", Verdict.OURS),
        ("complained", Verdict.COMPLAINT),
        ("unsubscribed", Verdict.OPT_OUT),
        ("delivered", Verdict.DELIVERED),
    ],
)
def test_kinds_of_our_own_form(kind: str, verdict: Verdict) -> None:
    assert only(of_generic(generic_event(kind))).verdict is verdict


@pytest.mark.parametrize(
    ("status", "text", "verdict"),
    [
        ("5.1.1", "", Verdict.DEAD),
        ("550", "User unknown", Verdict.MAYBE),
        ("5.1.1", "User unknown", Verdict.DEAD),
        ("", "550 5.1.1 User unknown", Verdict.DEAD),
        ("5.2.2", "", Verdict.FULL),
        ("", "", Verdict.MAYBE),
        (None, None, Verdict.MAYBE),
    ],
)
def test_a_status_may_stand_in_the_text_or_apart(
    status: object, text: object, verdict: Verdict
) -> None:
    assert only(of_generic(generic_event(status=status, text=text))).verdict is verdict


@pytest.mark.parametrize("body", [{}, "text", None, [1], [[]], [{"kind": "exploded"}], [{}]])
def test_anything_else_than_our_own_form_is_malformed(body: object) -> None:
    with pytest.raises(Rejected) as raised:
        generic.read(hook_events.generic(body))
    assert raised.value.cause is Cause.MALFORMED


# Hostile

READ: dict[str, Callable[[HookRequest], list[Arrival]]] = {
    "ses": ses.read,
    "sendgrid": sendgrid.read,
    "postmark": postmark.read,
    "mailgun": mailgun.read,
    "resend": resend.read,
    "generic": generic.read,
}
each_reader = pytest.mark.parametrize("name", READ)


@each_reader
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b"NaN",
        b"[Infinity]",
        b"1" * 10_000,
        b"[1e400]",
        b'"\\ud800"',
        b"{}{}",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_document_is_rejected_or_says_nothing(name: str, body: bytes) -> None:
    with suppress(Rejected):
        assert READ[name](HookRequest({}, body)) == []


SAMPLES: dict[str, list[Any]] = {
    "ses": [ses_bounce(), ses_event("Delivery", delivery={"recipients": [ANN]})],
    "sendgrid": [sendgrid_event(), sendgrid_event("spamreport")],
    "postmark": [postmark_event(one) for one in ("Bounce", "SpamComplaint", "SubscriptionChange")],
    "mailgun": [mailgun_event(), mailgun_event("complained")],
    "resend": [resend_event(), resend_event("email.complained")],
    "generic": [generic_event(), generic_event("complained")],
}
_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([*ODD, ANN, GONE, 10**400, -(10**300), 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [path, *(one for key, part in inner for one in _places(part, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], by)
    return copy


@each_reader
@given(data=st.data())
def test_whatever_stands_in_an_event_is_read_without_an_error(
    name: str, data: st.DataObject
) -> None:
    event = data.draw(st.sampled_from(SAMPLES[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(_places(event)))
        event = _replaced(event, place, data.draw(_ANY))
    body = {
        "ses": lambda: {"Type": "Notification", "MessageId": "1", "Message": json.dumps(event)},
        "mailgun": lambda: {"signature": {"token": "t"}, "event-data": event},
    }.get(name, lambda: [event] if name in {"sendgrid", "generic"} else event)()

    with suppress(Rejected):
        for arrival in READ[name](HookRequest({"svix-id": "1"}, json.dumps(body).encode())):
            check_storable(arrival)


@each_reader
@given(body=st.binary(max_size=200))
def test_any_octets_are_read_without_an_error(name: str, body: bytes) -> None:
    with suppress(Rejected):
        READ[name](HookRequest({}, body))


def check_storable(arrival: Arrival) -> None:
    for report in arrival.returned.reports:
        for text in (report.recipient, report.text, report.message_id, report.status or ""):
            assert "\x00" not in text
            text.encode()
        assert len(report.recipient) <= 254
        assert len(report.text) <= 400
        assert len(report.status or "") <= 12
        assert report.code is None or 400 <= report.code < 600


@pytest.mark.parametrize(
    ("status", "text", "verdict"),
    [
        ("5.1.1", "550 User unknown", Verdict.DEAD),
        ("5.1.1", "550 No thanks", Verdict.DEAD),
        ("5.1.1", "550 5.7.1 Blocked", Verdict.OURS),
        ("550", "550 User unknown", Verdict.MAYBE),
        ("zero", "550 5.1.1 User unknown", Verdict.DEAD),
    ],
)
def test_a_status_of_the_generic_form_completes_the_reply(
    status: str, text: str, verdict: Verdict
) -> None:
    event = generic_event(status=status, text=text)

    assert only(of_generic(event)).verdict is verdict
