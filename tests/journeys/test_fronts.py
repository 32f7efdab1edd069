"""nginx and Caddy in front of the pages, with the blocks of docs/install.md."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

import fronts
import hook_events
import httpx2
import journey
import pytest
from fronts import WebContext
from journey import Mailbox, Newsletter, path, until

from newsletter.clock import utc_now
from newsletter.web.middleware import MAXIMUM_BODY

ANN = "ann@readers.example"
FORGED = {"X-Forwarded-For": "198.51.100.66", "Forwarded": "for=198.51.100.66"}


class Site(NamedTuple):
    """The pages of a publication, and the web server in front of them."""

    newsletter: Newsletter
    mailbox: Mailbox
    front: WebContext
    direct: str


@pytest.fixture(params=["nginx", "caddy"])
def site(
    request: pytest.FixtureRequest,
    sqlite_newsletter: Newsletter,
    caught: tuple[int, Mailbox],
    tmp_path: Path,
) -> Iterator[Site]:
    """Each web server in turn."""
    fronts.command(request.param)
    smtp_port, mailbox = caught
    sqlite_newsletter.env |= {
        "NEWSLETTER_SMTP_URL": f"smtp://127.0.0.1:{smtp_port}",
        "NEWSLETTER_TRUSTED_PROXIES": "127.0.0.1",
        "NEWSLETTER_HOOK_SECRET": hook_events.SECRET,
        "NEWSLETTER_GENERIC_HOOK_KEY": hook_events.GENERIC_KEY,
    }
    with (
        journey.serving(sqlite_newsletter) as (direct, _),
        fronts.running(
            request.param, tmp_path / "front", upstream=int(direct.rpartition(":")[2])
        ) as front,
    ):
        yield Site(sqlite_newsletter, mailbox, front, direct)


def letters(site: Site, count: int) -> list[EmailMessage]:
    until(lambda: len(site.mailbox.to("ann")) == count)
    return site.mailbox.to("ann")


def test_a_reader_comes_and_leaves_by_one_click_and_the_record_has_their_own_address(
    site: Site,
) -> None:
    with site.front.browser(source="127.0.0.2") as browser:
        form = browser.get("/subscriptions/form").json()["form"]
        time.sleep(3)
        fields = {"address": ANN, "cadence": "weekly", "form": form}
        assert browser.post("/subscribe", data=fields, headers=FORGED).status_code == 200
        confirm = path(letters(site, 1)[0], "confirm")
        assert browser.post(confirm, headers=FORGED).status_code == 200
        (_, welcome) = letters(site, 2)
        # As RFC 8058 has it: no cookie, no redirection, and the body of its example 8.3.
        goodbye = path(welcome, "unsubscribe")
        answer = browser.post(
            goodbye,
            content=b'--FormBoundaryjWmhtjORrn\nContent-Disposition: form-data; name="List-'
            b'Unsubscribe"\n\nOne-Click\n--FormBoundaryjWmhtjORrn--\n',
            headers={"Content-Type": "multipart/form-data; boundary=---FormBoundaryjWmhtjORrn"},
        )
        assert (answer.status_code, answer.history) == (200, [])

    shown = site.newsletter.json("subscribers", "show", ANN)
    assert shown["status"] == "unsubscribed"
    assert {consent["remote"] for consent in shown["consents"]} == {"127.0.0.2"}


def test_a_body_that_is_too_large_does_not_pass(site: Site) -> None:
    with site.front.browser() as browser:
        # The first is refused by the pages, the second by the web server, as it says such a thing.
        large = browser.post("/subscribe", data={"address": "x" * MAXIMUM_BODY})
        larger = browser.post("/subscribe", data={"address": "x" * 1_000_000})
    assert large.status_code == 413
    assert larger.status_code == {"nginx": 413, "caddy": 502}[site.front.name]


def test_events_of_a_provider_pass_in_batches_and_no_log_has_their_path(site: Site) -> None:
    events = [hook_events.generic_event(id=str(n), text="x" * 900) for n in range(500)]
    batch = hook_events.generic(events, at=utc_now())
    path = f"/hooks/generic/{hook_events.SECRET}"
    with site.front.browser() as browser:
        taken = browser.post(path, content=batch.body, headers=dict(batch.headers))
        large = browser.post(path, content=b"x" * 2_000_000)

    assert 500_000 < len(batch.body) < 1_000_000
    assert taken.status_code == 200
    assert large.status_code in {413, 502}
    assert hook_events.SECRET not in site.front.logged()


def test_no_log_of_the_web_server_has_a_path_even_if_the_pages_are_away(
    site: Site, tmp_path: Path
) -> None:
    secret = "/confirm/a-link-is-a-key"
    with site.front.browser() as browser:
        assert browser.get(secret).status_code == 404
        assert browser.post(secret, content=b"x" * 1_000_000).status_code in {413, 502}
    away = journey.free_port()
    with (
        fronts.running(site.front.name, tmp_path / "alone", upstream=away) as alone,
        alone.browser() as browser,
    ):
        assert browser.get(secret).status_code == 502
        assert browser.post(secret).status_code == 502

    for front in (site.front, alone):
        assert "a-link-is-a-key" not in front.logged()


def test_https_is_asked_for_and_no_other_host_is_named(site: Site) -> None:
    if site.front.name != "nginx":
        pytest.skip("Caddy's own redirection is not part of its block")
    block = (site.front.logs[0].parent / "nginx.conf").read_text()
    port = block.partition("listen 127.0.0.1:")[2].partition(";")[0]
    answer = httpx2.get(f"http://127.0.0.1:{port}/a", headers={"Host": "evil.example"}, timeout=30)

    assert answer.headers["Location"] == "https://news.miasfeed.example/a"
