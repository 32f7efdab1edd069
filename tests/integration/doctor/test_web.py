"""base_url as a mail client sees it: real TLS and HTTP on loopback, right and wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import https_server
import ledgers
import pytest
import trustme
from https_server import Answer, Request

from newsletter.clock import utc_now
from newsletter.doctor import web
from newsletter.doctor.findings import Finding, Level
from newsletter.errors import InvalidToken
from newsletter.settings import Settings
from newsletter.tokens import Keyring, Purpose

KEYS = Keyring([ledgers.SECRET])


def ours(request: Request) -> Answer:
    """Answer as `newsletter serve` does: 200 for a link that it has signed, else 404."""
    token = request.path.rpartition("/")[2]
    try:
        KEYS.read(Purpose.UNSUBSCRIBE, token, now=utc_now())
    except InvalidToken:
        return Answer(404)
    return Answer()


def settings(base_url: str) -> Settings:
    return Settings(base_url=base_url, secret_keys=[ledgers.SECRET])


def look(base_url: str) -> list[Finding]:
    return list(web.examine(settings(base_url), now=utc_now()).findings)


def test_a_web_address_that_is_right_has_no_finding(authority: trustme.CA) -> None:
    with https_server.running(ours, https_server.context(authority)) as server:
        found = web.examine(settings(server.url), now=utc_now())

    assert found.findings == ()
    assert found.passed == ("tls.web", "oneclick")
    methods = [request.method for request in server.asked]
    assert methods == ["POST", "POST", "GET", "POST"]
    first, second, *_ = server.asked
    assert first.body == b"List-Unsubscribe=One-Click"
    assert second.headers["content-type"].startswith("multipart/form-data")
    assert b"One-Click" in second.body
    assert not any("cookie" in request.headers for request in server.asked)


def test_the_probe_names_no_reader_and_is_another_one_each_time(authority: trustme.CA) -> None:
    with https_server.running(ours, https_server.context(authority)) as server:
        look(server.url)
        look(server.url)

    tokens = {r.path.rpartition("/")[2] for r in server.asked if r.method == "GET"}
    assert len(tokens) == 2
    assert all(re.fullmatch(r"[\w.-]+", token) for token in tokens)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (lambda _: Answer(302, {"Location": "/login"}), "without a login"),
        (lambda _: Answer(), "nobody has signed"),
        (lambda _: Answer(404), "other secret_keys"),
        (lambda r: Answer(413) if b"form-data" in r.body else ours(r), "client_max_body_size"),
        (lambda r: Answer(405) if r.method == "POST" else ours(r), "allows no POST"),
        (lambda r: ours(r)._replace(headers={"Set-Cookie": "a=b"}), "sets a cookie"),
        (lambda r: ours(r)._replace(headers={"Age": "60"}), "A cache answers"),
    ],
    ids=["login", "parked", "keys", "body", "method", "cookie", "cache"],
)
def test_the_fault_of_a_proxy_is_named(
    authority: trustme.CA, rule: Callable[[Request], Answer], words: str
) -> None:
    with https_server.running(rule, https_server.context(authority)) as server:
        (found,) = look(server.url)

    assert (found.id, found.level) == ("oneclick", Level.ERROR)
    assert words in f"{found.sentence} {found.hint}"


def test_no_part_of_the_link_is_in_a_finding(authority: trustme.CA) -> None:
    to = Answer(302, {"Location": "/login?next=/unsubscribe/the-token"})
    with https_server.running(lambda _: to, https_server.context(authority)) as server:
        (found,) = look(server.url)

    tokens = [request.path.rpartition("/")[2] for request in server.asked]
    assert not any(token in found.sentence + found.hint for token in [*tokens, "the-token"])


@pytest.mark.parametrize(
    ("names", "ends_in", "words"),
    [
        (["other.example"], 60, "not valid for '127.0.0.1'|IP address mismatch"),
        (["127.0.0.1"], -1, "expired"),
        (["127.0.0.1"], 5, "ends in 4 days"),
    ],
)
def test_a_certificate_that_is_wrong_or_ends_soon_is_found(
    authority: trustme.CA, names: list[str], ends_in: float, words: str
) -> None:
    ends = datetime.now(UTC) + timedelta(days=ends_in)
    context = https_server.context(
        authority, *names, not_before=ends - timedelta(days=90), not_after=ends
    )
    with https_server.running(ours, context) as server:
        found = look(server.url)

    assert (found[0].id, found[0].level) == ("tls.web", Level.ERROR)
    assert re.search(words, found[0].sentence)
    # With a certificate that is accepted, the rest is looked at.
    unchecked = [("oneclick", Level.NOT_CHECKED)] if ends_in != 5 else []
    assert [(one.id, one.level) for one in found[1:]] == unchecked


def test_a_certificate_of_an_unknown_authority_is_found(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = trustme.CA()
    with https_server.running(ours, https_server.context(stranger)) as server:
        found = look(server.url)

    assert found[0].id == "tls.web"
    assert "SSL_CERT_FILE" in found[0].hint


def test_where_nobody_listens_nothing_else_is_checked() -> None:
    found = look("https://127.0.0.1:1")

    assert [(one.id, one.level) for one in found] == [
        ("tls.web", Level.ERROR),
        ("oneclick", Level.NOT_CHECKED),
    ]
    assert "refused" in found[0].sentence


def test_a_server_without_tls_is_named(authority: trustme.CA) -> None:
    with https_server.running(ours) as server:
        found = look(server.url.replace("http:", "https:"))

    assert found[0].id == "tls.web"
    assert "No connection to 127.0.0.1" in found[0].sentence


def test_on_this_machine_there_may_be_no_certificate() -> None:
    with https_server.running(ours) as server:
        found = look(server.url)

    assert [(one.id, one.level) for one in found] == [("tls.web", Level.INFO)]


def test_without_keys_no_link_can_be_tried() -> None:
    with https_server.running(ours) as server:
        found = web.examine(Settings(base_url=server.url), now=utc_now()).findings

    assert [one.level for one in found] == [Level.INFO, Level.NOT_CHECKED]


def test_a_public_address_without_tls_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.setup, "is_loopback", lambda _: False)
    with https_server.running(ours) as server:
        found = look(server.url)

    assert [(one.id, one.level) for one in found] == [("tls.web", Level.ERROR)]
    assert "begins with http://" in found[0].sentence


@pytest.mark.parametrize(
    # A cache passes the date of its origin on, and says how long ago that was.
    ("headers", "minutes"),
    [({}, 60), ({"Age": "3600"}, 0), ({"Age": "1800"}, 30)],
)
def test_the_date_of_a_web_server_tells_how_far_our_clock_is_off(
    authority: trustme.CA, headers: dict[str, str], minutes: int
) -> None:
    slow = utc_now() - timedelta(hours=1)
    answer = Answer(headers={"Date": format_datetime(slow, usegmt=True), **headers})

    class Rule:
        def __call__(self, _: Request) -> Answer:
            return answer

    with https_server.running(Rule(), https_server.context(authority)) as server:
        ahead = web.ahead_of(server.url)
        nothing = web.ahead_of("https://127.0.0.1:1")

    assert ahead is not None
    assert timedelta(minutes=-1) < ahead - timedelta(minutes=minutes) < timedelta(minutes=5)
    assert nothing is None
