"""Each provider's events through `newsletter serve`: signed, posted, replayed, forged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import fences
import hook_events
import httpx2
import journey
import pytest
import sns_server
from hook_events import SECRET, Provider
from journey import Mailbox, Newsletter, until
from sns_server import SnsServer

from newsletter.clock import utc_now
from newsletter.feedback.providers.request import HookRequest

pytestmark = pytest.mark.mainly_on("sqlite")

ADA, BEN = "ada@readers.example", "ben@readers.example"
HOSTILE = {
    "two megabytes": b" " * 2_000_000,
    "deep": b"[" * 400_000,
    "no numbers": b'[{"kind": NaN, "id": Infinity}]',
    "a huge number": b"[" + b"9" * 100_000 + b"]",
    "half a surrogate": b'[{"kind": "bounced", "recipient": "\\ud800", "text": "\\u0000"}]',
    "no text": bytes(range(256)),
}
SHELL = fences.only(
    (Path(__file__).parents[2] / "docs" / "hooks.md").read_text("utf-8"), "A form of our own", "sh"
)


@pytest.fixture
def sns(tmp_path: Path) -> Iterator[SnsServer]:
    folder = tmp_path / "sns"
    folder.mkdir()
    with sns_server.running(folder) as server:
        now = utc_now()
        made = hook_events.certificate(begins=now - timedelta(days=1), ends=now + timedelta(days=1))
        server.serve(hook_events.CERTIFICATE_PATH, made)
        yield server


class Served:
    """The hooks of a running `newsletter serve`, and two readers who have got a digest."""

    def __init__(self, newsletter: Newsletter, mailbox: Mailbox, site: str) -> None:
        self.newsletter, self.site = newsletter, site
        self.message_ids = {
            one: mailbox.to(one.partition("@")[0])[-1]["Message-ID"].strip("<>")
            for one in (ADA, BEN)
        }

    def post(self, provider: str, request: HookRequest, secret: str = SECRET) -> int:
        with httpx2.Client(timeout=60) as client:
            answer = client.post(
                f"{self.site}/hooks/{provider}/{secret}",
                content=request.body,
                headers=dict(request.headers),
            )
            assert SECRET not in answer.text
            return answer.status_code

    def status(self, address: str) -> str:
        found: str = self.newsletter.json("subscribers", "show", address)["status"]
        return found

    def rejected(self) -> dict[str, int]:
        found: dict[str, Any] = self.newsletter.json("feedback", "list")
        return {f"{one['source']}: {one['cause']}": one["count"] for one in found["rejected"]}


@contextmanager
def serving(
    newsletter: Newsletter, caught: tuple[int, Mailbox], feed: Path, environment: dict[str, str]
) -> Iterator[Served]:
    smtp_port, mailbox = caught
    newsletter.env |= environment | {"NEWSLETTER_SMTP_URL": f"smtp://127.0.0.1:{smtp_port}"}
    readers = newsletter.folder / "readers.csv"
    readers.write_text(f"address,cadence,status\n{ADA},weekly,active\n{BEN},weekly,active\n")
    newsletter.run("subscribers", "import", readers, "--confirmed")
    newsletter.run("feeds", "add", feed)
    newsletter.run("send", "weekly", "--force")
    with journey.serving(newsletter) as (site, _):
        yield Served(newsletter, mailbox, site)


@pytest.mark.parametrize("provider", hook_events.PROVIDERS, ids=lambda one: one.name)
def test_a_bounce_suppresses_its_reader_once_and_a_forged_one_nobody(
    newsletter: Newsletter,
    caught: tuple[int, Mailbox],
    write_feed: Any,
    sns: SnsServer,
    provider: Provider,
) -> None:
    environment = hook_events.environment() | sns.environment
    with serving(newsletter, caught, write_feed("alpha"), environment) as served:
        now = utc_now()

        def bounce(of: str, name: str = "event-1", ago: timedelta = timedelta()) -> HookRequest:
            return provider.bounce(of, served.message_ids[of], name, now - ago)

        forged = bounce(BEN)
        if provider.name == "postmark":
            forged = replace(forged, headers={"authorization": "Basic cG9zdG1hcms6Z3Vlc3M="})
        elif provider.name == "mailgun":
            forged = replace(forged, body=forged.body.replace(b'"token": "', b'"token": "x'))
        else:
            forged = replace(forged, body=forged.body.replace(b"User unknown", b"user unknown"))
        assert served.post(provider.name, forged) == 403
        if provider.bound:
            old = bounce(BEN, ago=provider.bound + timedelta(minutes=1))
            assert served.post(provider.name, old) == 403
        assert served.post(provider.name, bounce(BEN), "0" * 32) == 404

        request = bounce(ADA)
        for _ in range(2):
            assert served.post(provider.name, request) == 200

        for name, body in HOSTILE.items():
            answer = served.post(provider.name, HookRequest(request.headers, body))
            assert answer == (413 if name == "two megabytes" else 403), name

        assert served.status(ADA) == "suppressed"
        assert served.status(BEN) == "active"
        until(lambda: served.rejected().get(f"{provider.name}: too_large") == 1)
        found = served.rejected()
        assert found[f"{provider.name}: path"] == 1
        assert found[f"{provider.name}: signature"] >= 1


def test_a_topic_and_a_certificate_from_elsewhere_do_nothing(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Any, sns: SnsServer
) -> None:
    environment = hook_events.environment() | sns.environment
    with serving(sqlite_newsletter, caught, write_feed("alpha"), environment) as served:
        now = utc_now()
        event = hook_events.ses_bounce(to=BEN, message_id=served.message_ids[BEN])
        other = "arn:aws:sns:eu-central-1:999999999999:mails"
        elsewhere = "https://x.example/SimpleNotificationService-0.pem"

        assert served.post("ses", hook_events.sns(event, at=now, TopicArn=other)) == 403
        assert served.post("ses", hook_events.sns(event, at=now, SigningCertURL=elsewhere)) == 403
        assert sns.asked == []
        redirect = "Location: https://x.example/\r\n"
        sns.serve(hook_events.CERTIFICATE_PATH, b"", status="302 Found", header=redirect)
        assert served.post("ses", hook_events.sns(event, at=now)) == 403
        assert len(sns.asked) == 1

        until(lambda: served.rejected() == {"ses: topic": 1, "ses: certificate": 2})
        assert served.status(BEN) == "active"


def test_the_shell_lines_of_the_page_post_an_event(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Any
) -> None:
    for tool in ("curl", "openssl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not here (Debian: {tool})")
    environment = {
        "NEWSLETTER_HOOK_SECRET": SECRET,
        "NEWSLETTER_GENERIC_HOOK_KEY": hook_events.GENERIC_KEY,
    }
    with serving(sqlite_newsletter, caught, write_feed("alpha"), environment) as served:
        lines = SHELL
        for place, value in {
            "https://news.miasfeed.example": served.site,
            "SECRET": SECRET,
            "key=KEY": f"key={hook_events.GENERIC_KEY}",
            "ann@readers.example": ADA,
            "0123456789abcdef.fedcba9876543210@miasfeed.example": served.message_ids[ADA],
        }.items():
            assert place in lines
            lines = lines.replace(place, value)
        done = subprocess.run(
            ["sh", "-eu", "-c", lines],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr
        assert served.status(ADA) == "suppressed"
        assert served.rejected() == {}


def test_events_of_postmark_name_mails_by_the_header_that_they_had(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Any
) -> None:
    environment = hook_events.environment()
    with serving(sqlite_newsletter, caught, write_feed("alpha"), environment) as served:
        sent = caught[1].to("ada")[-1]
        metadata = {"message-id": sent["X-PM-Metadata-message-id"]}
        complaint = hook_events.postmark_event("SpamComplaint", Email=ADA, Metadata=metadata)
        variables = json.loads(sent["X-Mailgun-Variables"])

        assert served.post("postmark", hook_events.postmark(complaint)) == 200

        assert served.status(ADA) == "suppressed"
        assert variables == metadata
        assert sent["X-Message-ID"] == sent["Message-ID"] == f"<{metadata['message-id']}>"
