"""Events of providers by HTTP: what is signed is committed before the answer, nothing else acts."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import counts
import hook_events
import httpx2
import pytest
import sns_server
from hook_events import ANN, SECRET, Provider
from journey import until
from sns_server import SnsServer
from sqlalchemy import Engine, event, text
from visitor import NOW, Make, Visitor

from newsletter.db import engine as engines
from newsletter.feedback.providers.request import HookRequest
from newsletter.models import Status
from newsletter.settings import Settings
from newsletter.web.routes.hooks import MAXIMUM_BODY

BEN = "ben@readers.example"
each = pytest.mark.parametrize("provider", hook_events.PROVIDERS, ids=lambda one: one.name)


@pytest.fixture
def sns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SnsServer]:
    """SNS, to which all HTTPS of this process leads."""
    with sns_server.running(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def hooked(engine: Engine, settings: Callable[..., Settings], sns: SnsServer) -> Iterator[Visitor]:
    """The application with every hook, and an edition that Ann and Ben have got."""
    visitor = Visitor(engine, settings(timezone="Europe/Berlin", **hook_events.settings()))
    send_edition(visitor, ANN, BEN)
    # Its end writes what is still counted, which would else come into the next test's database.
    with visitor.client:
        yield visitor


def send_edition(visitor: Visitor, *addresses: str) -> None:
    for address in addresses:
        visitor.add(address)
    visitor.publish()
    with visitor.engine.begin() as connection:
        connection.execute(
            text("UPDATE delivery SET state = 'accepted', code = 250, state_at = :at"),
            {"at": NOW - timedelta(hours=1)},
        )
        counts.recount(connection)


def message_id(visitor: Visitor, address: str = ANN) -> str:
    found: str = visitor.letters(address)[-1]["Message-ID"]
    return found.strip("<>")


def post(
    visitor: Visitor, provider: str, request: HookRequest, *, secret: str = SECRET
) -> httpx2.Response:
    found: httpx2.Response = visitor.client.post(
        f"/hooks/{provider}/{secret}", content=request.body, headers=dict(request.headers)
    )
    return found


def bounce(
    visitor: Visitor, provider: Provider, *, to: str = ANN, name: str = "event-1", of: str = ANN
) -> HookRequest:
    return provider.bounce(to, message_id(visitor, of), name, visitor.now)


def rows(visitor: Visitor, table: str) -> int:
    with visitor.engine.connect() as connection:
        found = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        assert isinstance(found, int)
        return found


def rejections(visitor: Visitor, count: int) -> dict[tuple[str, str], int]:
    """The counts of what was rejected, once there are so many."""
    found: dict[tuple[str, str], int] = {}
    for _ in range(200):
        with visitor.engine.connect() as connection:
            counted = connection.execute(text("SELECT source, cause, count FROM rejection"))
            found = {(row.source, row.cause): row.count for row in counted}
        if sum(found.values()) >= count:
            break
        assert visitor.client.portal
        visitor.client.portal.call(asyncio.sleep, 0.05)
    return found


def assert_nothing_happened(visitor: Visitor) -> None:
    assert visitor.status(ANN) is Status.ACTIVE
    assert rows(visitor, "suppression") == rows(visitor, "report") == 0


@each
def test_a_signed_bounce_suppresses_its_reader_and_nobody_else(
    hooked: Visitor, provider: Provider
) -> None:
    answer = post(hooked, provider.name, bounce(hooked, provider))

    assert (answer.status_code, answer.content) == (200, b"")
    assert hooked.status(ANN) is Status.SUPPRESSED
    assert hooked.status(BEN) is Status.ACTIVE
    with hooked.engine.connect() as connection:
        found = connection.execute(text("SELECT source, kind, verdict FROM report")).all()
    assert [tuple(row) for row in found] == [(provider.name, "bounce", "dead")]


@each
def test_the_same_event_again_changes_nothing(hooked: Visitor, provider: Provider) -> None:
    request = bounce(hooked, provider)
    for _ in range(3):
        assert post(hooked, provider.name, request).status_code == 200

    assert rows(hooked, "report") == rows(hooked, "suppression") == 1


@each
def test_a_bounce_of_another_recipient_or_of_no_mail_of_ours_suppresses_nobody(
    hooked: Visitor, provider: Provider
) -> None:
    of_another = bounce(hooked, provider, to=BEN, of=ANN)
    unknown = provider.bounce(ANN, "0123456789abcdef.fedcba9876543210@x.example", "2", NOW)
    without = provider.bounce(ANN, "", "3", NOW)
    for request in (of_another, unknown, without):
        assert post(hooked, provider.name, request).status_code == 200

    assert {hooked.status(ANN), hooked.status(BEN)} == {Status.ACTIVE}
    assert rows(hooked, "suppression") == 0


def test_a_reader_who_complains_or_opts_out_gets_no_more(hooked: Visitor) -> None:
    of_ann, of_ben = message_id(hooked), message_id(hooked, BEN)
    complaint = hook_events.sendgrid_event("spamreport", **{"smtp-id": f"<{of_ann}>"})
    goodbye = hook_events.sendgrid_event(
        "group_unsubscribe", email=BEN, **{"smtp-id": f"<{of_ben}>"}
    )

    assert post(hooked, "sendgrid", hook_events.sendgrid([complaint, goodbye])).status_code == 200

    assert hooked.status(ANN) is Status.SUPPRESSED
    assert hooked.status(BEN) is Status.UNSUBSCRIBED


@each
def test_a_request_without_its_signature_is_refused_without_a_reason(
    hooked: Visitor, provider: Provider
) -> None:
    request = HookRequest({}, bounce(hooked, provider).body)
    forged = request.body.replace(b'"signature"', b'"signiture"')
    forged = forged.replace(b'"Signature"', b'"Signiture"')

    answer = post(hooked, provider.name, HookRequest({}, forged))

    assert answer.status_code == 403
    assert answer.content == b""
    assert_nothing_happened(hooked)
    (found,) = rejections(hooked, 1)
    assert found[0] == provider.name


@pytest.mark.parametrize(
    "provider",
    [one for one in hook_events.PROVIDERS if one.bound],
    ids=lambda one: one.name,
)
def test_an_old_signature_is_refused(hooked: Visitor, provider: Provider) -> None:
    request = bounce(hooked, provider)
    assert provider.bound
    hooked.now += provider.bound + timedelta(seconds=1)

    assert post(hooked, provider.name, request).status_code == 403
    assert_nothing_happened(hooked)
    assert rejections(hooked, 1) == {(provider.name, "stale"): 1}


def test_a_token_of_mailgun_counts_once_whatever_comes_with_it(hooked: Visitor) -> None:
    harmless = json.loads(hook_events.mailgun(hook_events.mailgun_event("opened")).body)
    used = json.loads(hook_events.mailgun(hook_events.mailgun_event("delivered")).body)
    message = {"headers": {"message-id": message_id(hooked)}}
    assert post(hooked, "mailgun", HookRequest({}, json.dumps(used).encode())).status_code == 200
    used["event-data"] = hook_events.mailgun_event(message=message)

    post(hooked, "mailgun", HookRequest({}, json.dumps(used).encode()))

    assert_nothing_happened(hooked)
    assert harmless["signature"]["token"] == used["signature"]["token"]


# Paths


@each
def test_another_secret_is_as_no_hook_at_all(hooked: Visitor, provider: Provider) -> None:
    request = bounce(hooked, provider)
    for secret in ("x", SECRET + "0", SECRET[:-1], SECRET.upper(), "%ff%00", "ä"):
        answer = post(hooked, provider.name, request, secret=secret)
        assert answer.status_code == 404, secret
    assert post(hooked, "unknown", request).status_code == 404
    assert hooked.get(f"/hooks/{provider.name}/{SECRET}").status_code == 405

    assert_nothing_happened(hooked)
    assert rejections(hooked, 6) == {(provider.name, "path"): 6}


@each
def test_a_provider_without_its_setting_has_no_hook(visit: Make, provider: Provider) -> None:
    visitor = visit(hook_secret=SECRET)
    request = provider.bounce(ANN, hook_events.MESSAGE_ID, "1", NOW)

    assert post(visitor, provider.name, request).status_code == 404


def test_without_a_secret_there_is_no_hook(visit: Make) -> None:
    visitor = visit()
    request = hook_events.generic([hook_events.generic_event()])

    assert post(visitor, "generic", request).status_code == 404
    assert post(visitor, "generic", request, secret="None").status_code == 404
    assert visitor.get(f"/hooks/generic/{SECRET}").status_code == 404


# Bodies


def test_a_body_of_one_megabyte_is_taken_and_one_of_two_is_not(hooked: Visitor) -> None:
    padding = [
        hook_events.generic_event(id=str(n), message_id="", text="x" * 900) for n in range(900)
    ]
    large = hook_events.generic([*padding, hook_events.generic_event()])
    assert 900_000 < len(large.body) <= MAXIMUM_BODY
    assert post(hooked, "generic", large).status_code == 200

    larger = HookRequest(large.headers, large.body + b" " * 1_100_000)
    answer = post(hooked, "generic", larger)
    # Without an announced length.
    chunks = iter([larger.body[:500_000], larger.body[500_000:]])
    path, headers = f"/hooks/generic/{SECRET}", dict(larger.headers)
    chunked = hooked.client.post(path, content=chunks, headers=headers)

    assert (answer.status_code, chunked.status_code) == (413, 413)
    assert rejections(hooked, 2)["generic", "too_large"] == 2


def test_other_paths_still_take_no_more_than_a_form(hooked: Visitor) -> None:
    assert hooked.post("/subscribe", {"address": "x" * 20_000}).status_code == 413


DEEP = b"[" * 300_000
HOSTILE = [
    b"",
    DEEP,
    b'{"a":' * 150_000,
    b"[NaN]",
    b"[1e999, -Infinity]",
    b"[" + b"9" * 20_000 + b"]",
    b'[{"kind": "bounced", "text": "\\ud800", "recipient": "\\ud800@x", "id": "\\u0000"}]',
    b"\xff\xfe\x00",
    b'{"signature": {"timestamp": 1e999, "token": [], "signature": {}}}',
    b'{"Type": "Notification", "Message": "\\ud800", "TopicArn": "\\udfff"}',
]


@each
@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:16]))
def test_no_body_is_more_than_refused(hooked: Visitor, provider: Provider, body: bytes) -> None:
    answer = post(hooked, provider.name, HookRequest(bounce(hooked, provider).headers, body))

    assert answer.status_code in {200, 403}
    assert_nothing_happened(hooked)


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:16]))
def test_no_body_that_is_signed_is_more_than_refused(hooked: Visitor, body: bytes) -> None:
    """As if the provider itself were hostile."""
    signed = hook_events.generic_signed(body)

    answer = post(hooked, "generic", signed)

    assert answer.status_code in {200, 403}
    assert rows(hooked, "suppression") == 0
    if answer.status_code == 403:
        assert rejections(hooked, 1) == {("generic", "malformed"): 1}


def test_a_signed_event_with_what_no_database_stores_is_stored_legibly(hooked: Visitor) -> None:
    found = hook_events.generic_event(
        message_id=message_id(hooked),
        text="550 5.1.1 gone\x00\ud800\u202e",
        recipient="an\x00n\ud800@readers.example",
    )

    assert post(hooked, "generic", hook_events.generic([found])).status_code == 200
    assert hooked.status(ANN) is Status.ACTIVE


# Amazon SNS


def confirmation(**more: Any) -> HookRequest:
    return hook_events.sns("You have chosen.", kind="SubscriptionConfirmation", **more)


def test_a_subscription_is_confirmed_once_its_message_is_verified(
    hooked: Visitor, sns: SnsServer
) -> None:
    sns.serve("/", b"<ConfirmSubscriptionResponse/>")

    assert post(hooked, "ses", confirmation()).status_code == 200

    certificate, confirmed = sns.asked
    assert certificate == f"{hook_events.SNS_HOST}{hook_events.CERTIFICATE_PATH}"
    assert confirmed.startswith(f"{hook_events.SNS_HOST}/?Action=ConfirmSubscription&TopicArn=")


@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation"])
def test_a_foreign_topic_leads_to_no_request_at_all(
    hooked: Visitor, sns: SnsServer, kind: str
) -> None:
    foreign = "arn:aws:sns:eu-central-1:999999999999:mails"

    assert post(hooked, "ses", hook_events.sns("", kind=kind, TopicArn=foreign)).status_code == 403
    assert sns.asked == []
    assert rejections(hooked, 1) == {("ses", "topic"): 1}


def test_a_confirmation_elsewhere_is_not_followed(hooked: Visitor, sns: SnsServer) -> None:
    assert post(hooked, "ses", confirmation(SubscribeURL="https://x.example/")).status_code == 403
    assert sns.asked == []


def test_a_forged_confirmation_is_not_followed(hooked: Visitor, sns: SnsServer) -> None:
    forged = confirmation(Signature="bm9uZQ==")

    assert post(hooked, "ses", forged).status_code == 403
    assert len(sns.asked) == 1


def test_a_certificate_is_fetched_once(hooked: Visitor, sns: SnsServer) -> None:
    for number in range(5):
        request = hook_events.sns(hook_events.ses_bounce(), name=str(number))
        assert post(hooked, "ses", request).status_code == 200

    assert len(sns.asked) == 1


def test_a_foreign_certificate_is_not_asked_for(hooked: Visitor, sns: SnsServer) -> None:
    request = hook_events.sns(hook_events.ses_bounce(), SigningCertURL="https://x.example/a.pem")

    assert post(hooked, "ses", request).status_code == 403
    assert sns.asked == []
    assert rejections(hooked, 1) == {("ses", "certificate"): 1}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (
            {"body": b"", "status": "302 Found", "header": "Location: https://x.example/\r\n"},
            "certificate",
        ),
        ({"body": b"", "status": "404 Not Found"}, "certificate"),
        ({"body": b"<html>"}, "certificate"),
        ({"body": b"x" * 100_000}, "certificate"),
        ({"body": hook_events.certificate(ends=NOW - timedelta(seconds=1))}, "certificate"),
        ({"body": hook_events.certificate(begins=NOW + timedelta(days=1))}, "certificate"),
    ],
    ids=["redirect", "missing", "page", "large", "expired", "not yet"],
)
def test_what_is_no_certificate_verifies_nothing_and_is_not_kept(
    hooked: Visitor, sns: SnsServer, answer: dict[str, Any], cause: str
) -> None:
    sns.serve(hook_events.CERTIFICATE_PATH, **answer)
    request = bounce(hooked, hook_events.PROVIDERS[0])

    assert post(hooked, "ses", request).status_code == 403
    assert_nothing_happened(hooked)
    assert len(sns.asked) == 1
    assert rejections(hooked, 1) == {("ses", cause): 1}

    sns.serve(hook_events.CERTIFICATE_PATH, hook_events.certificate())
    assert post(hooked, "ses", request).status_code == 200
    assert hooked.status(ANN) is Status.SUPPRESSED


def test_sns_that_cannot_be_reached_is_told_to_try_again(
    hooked: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    answer = post(hooked, "ses", bounce(hooked, hook_events.PROVIDERS[0]))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert rejections(hooked, 1) == {("ses", "unreachable"): 1}


# Outages, batches and the log


def test_while_the_database_is_away_the_provider_is_told_to_try_again(
    settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    engine = engines.open("postgresql://mia:sesame@127.0.0.1:1/nowhere")
    visitor = Visitor(engine, settings(**hook_events.settings()))
    request = hook_events.generic([hook_events.generic_event()])

    answers = [post(visitor, "generic", request) for _ in range(3)]
    post(visitor, "generic", request, secret="x")

    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].headers["Retry-After"] == "30"
    # The counts are tried to be written, too.
    with visitor.client:
        post(visitor, "generic", request)
    assert SECRET not in caplog.text + answers[0].text
    assert "Traceback" not in caplog.text
    engine.dispose()


def test_forged_requests_have_one_line_in_the_log_and_no_write_each(
    hooked: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    commits: Counter[str] = Counter()
    event.listen(hooked.engine, "commit", lambda _: commits.update(["commit"]))
    request = hook_events.generic([hook_events.generic_event()], key="k" * 32)

    assert {post(hooked, "generic", request).status_code for _ in range(200)} == {403}

    assert rejections(hooked, 200) == {("generic", "signature"): 200}
    assert commits["commit"] < 20
    lines = [one for one in caplog.messages if "hook generic" in one]
    assert len(lines) == 1
    assert "rejected a request from 192.0.2.7: its signature or login" in lines[0]
    assert SECRET not in caplog.text


def test_events_that_come_together_are_committed_together(hooked: Visitor) -> None:
    commits: Counter[str] = Counter()
    event.listen(hooked.engine, "commit", lambda _: commits.update(["commit"]))
    found = message_id(hooked)

    async def post_all() -> list[int]:
        transport = httpx2.ASGITransport(hooked.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x.example") as client:
            requests = [
                hook_events.generic([hook_events.generic_event(id=str(n), message_id=found)])
                for n in range(100)
            ]
            answers = await asyncio.gather(
                *(
                    client.post(f"/hooks/generic/{SECRET}", content=one.body, headers=one.headers)
                    for one in requests
                )
            )
            return [answer.status_code for answer in answers]

    assert hooked.client.portal
    assert hooked.client.portal.call(post_all) == [200] * 100
    assert commits["commit"] <= 10
    assert hooked.status(ANN) is Status.SUPPRESSED


def test_one_request_that_cannot_be_applied_does_not_keep_out_the_others(
    hooked: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from newsletter.feedback import apply

    real = apply.apply_all

    def failing(engine: Engine, arrivals: Any, *, rules: Any, now: datetime) -> Any:
        if any(one.id == "poison" for one in arrivals):
            raise RuntimeError
        return real(engine, arrivals, rules=rules, now=now)

    monkeypatch.setattr(apply, "apply_all", failing)
    found = message_id(hooked)

    async def post_both() -> list[int]:
        transport = httpx2.ASGITransport(hooked.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x.example") as client:
            requests = [
                hook_events.generic([hook_events.generic_event(id=name, message_id=found)])
                for name in ("first", "poison", "good")
            ]
            answers = await asyncio.gather(
                *(
                    client.post(f"/hooks/generic/{SECRET}", content=one.body, headers=one.headers)
                    for one in requests
                )
            )
            return [answer.status_code for answer in answers]

    assert hooked.client.portal
    assert hooked.client.portal.call(post_both) == [200, 500, 200]
    assert hooked.status(ANN) is Status.SUPPRESSED


def test_what_is_still_counted_is_written_at_the_end(visit: Make) -> None:
    visitor = visit(**hook_events.settings())
    request = hook_events.generic([hook_events.generic_event()], key="k" * 32)
    with visitor.client:
        assert post(visitor, "generic", request).status_code == 403

    assert rejections(visitor, 0) == {("generic", "signature"): 1}


def test_every_cause_has_words_and_fits_its_column() -> None:
    from newsletter.feedback.providers.request import Cause
    from newsletter.web import report_writer

    assert set(report_writer._REASONS) == set(Cause)
    assert all(re.fullmatch(r"[a-z_]{1,24}", cause) for cause in Cause)


def test_an_edition_of_which_too_much_comes_back_is_paused(
    hooked: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    provider = next(one for one in hook_events.PROVIDERS if one.name == "generic")
    crowd = [f"reader{number}@readers.example" for number in range(20)]
    for address in crowd:
        hooked.add(address)
    with hooked.engine.begin() as connection:
        # Theirs, too, was accepted.
        connection.execute(
            text(
                "INSERT INTO delivery (mailing_id, address, reference, generation, state, priority,"
                " due_at, attempts, state_at, created_at)"
                " SELECT mailing.id, address, subscriber.public_id, 1, 'accepted', 2, :at, 1, :at,"
                " :at FROM subscriber, mailing"
                " WHERE mailing.kind = 'digest' AND address LIKE 'reader%'"
            ),
            {"at": NOW - timedelta(hours=1)},
        )
        counts.recount(connection)
        mailing = connection.execute(
            text("SELECT public_id FROM mailing WHERE kind = 'digest'")
        ).scalar_one()
    for number, address in enumerate(crowd):
        with hooked.engine.connect() as connection:
            reference = connection.execute(
                text("SELECT public_id FROM subscriber WHERE address = :a"), {"a": address}
            ).scalar_one()
        name = f"{mailing}.{reference}@miasfeed.example"
        request = provider.bounce(address, name, f"event-{number}", hooked.now)
        assert post(hooked, "generic", request).status_code == 200

    def state() -> str:
        assert hooked.client.portal
        hooked.client.portal.call(asyncio.sleep, 0.05)
        with hooked.engine.connect() as connection:
            found: str = connection.execute(text("SELECT state FROM edition")).scalar_one()
            return found

    until(lambda: state() == "paused")
    assert "20 of 22 accepted mails bounced (91 %)" in caplog.text


def test_a_replayed_token_and_what_is_ours_are_logged(
    hooked: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    mailgun = next(one for one in hook_events.PROVIDERS if one.name == "mailgun")
    request = bounce(hooked, mailgun)
    for _ in range(2):
        post(hooked, "mailgun", request)
    generic = next(one for one in hook_events.PROVIDERS if one.name == "generic")
    name = message_id(hooked, BEN)
    refused = hook_events.generic(
        [
            {
                "id": "9", "kind": "bounced", "recipient": BEN, "message_id": name,
                "text": "550 5.7.26 Unauthenticated",
            }
        ],
        at=hooked.now,
    )  # fmt: skip
    assert post(hooked, generic.name, refused).status_code == 200

    assert "An event: rejected (mailgun: replayed)." in caplog.text
    assert "our mail or our records were refused" in caplog.text
    assert "Unauthenticated" not in caplog.text
