"""Fetching from real servers, most of them hostile."""

from __future__ import annotations

import base64
import gzip
import itertools
import os
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import pytest

from newsletter.articles import fetch, link
from newsletter.articles.fetch import Validators
from newsletter.articles.limits import Limits
from newsletter.errors import FeedError, InvalidInput

from .conftest import SAMPLES, Answer, Web

OPEN = Limits(allow_private=True, max_bytes=100_000, timeout_seconds=20)
CLOSED = Limits(timeout_seconds=20)
FEED = b"<rss version='2.0'/>"


def answer_to(*addresses: str) -> Callable[[str, int], list[str]]:
    """A resolver that returns the same addresses for every name."""
    return lambda _host, _port: list(addresses)


def test_a_feed_comes_with_its_type_its_validators_and_its_place(web: Web) -> None:
    headers = {"Content-Type": "text/xml; charset=x", "ETag": '"1"', "Last-Modified": "yesterday"}
    web.answers["/feed"] = Answer(FEED, headers=headers)

    found = fetch.fetch(web.url("/feed"), OPEN)

    assert (found.body, found.content_type) == (FEED, "text/xml; charset=x")
    assert (found.etag, found.last_modified) == ('"1"', "yesterday")
    assert (found.final_url, found.not_modified) == (web.url("/feed"), False)


def test_the_request_says_who_asks_and_carries_nothing_else(web: Web) -> None:
    web.answers["/feed"] = Answer(FEED)

    fetch.fetch(web.url("/feed"), OPEN)

    [(_, headers)] = web.asked
    assert headers["user-agent"].startswith("newsletter-delivery/")
    assert set(headers) == {"host", "accept", "accept-encoding", "user-agent"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
def test_loopback_is_refused_in_every_notation(web: Web, host: str) -> None:
    with pytest.raises(FeedError, match="private network"):
        fetch.fetch(web.url("/feed", host=host), CLOSED)

    assert web.asked == []


@pytest.mark.parametrize("address", ["::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "10.0.0.1"])
def test_a_name_with_a_private_address_is_closed(web: Web, address: str) -> None:
    with pytest.raises(FeedError, match=r"feeds\.example is an address of this machine"):
        fetch.fetch(web.url("/f", host="feeds.example"), CLOSED, resolver=answer_to(address))


def test_dns_rebinding_is_refused(web: Web) -> None:
    asked: list[str] = []

    def rebind(host: str, _port: int) -> list[str]:
        # Public at the first look-up, loopback at every later one.
        asked.append(host)
        return ["203.0.113.9"] if len(asked) == 1 else ["127.0.0.1"]

    with pytest.raises(FeedError):
        fetch.fetch(web.url("/feed", host="rebind.example"), CLOSED, resolver=rebind)

    assert len(asked) == 1
    assert web.asked == []


def test_the_connection_goes_to_the_address_that_was_checked(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.answers["/feed"] = Answer(FEED)
    # 127.0.0.1 counts as a public address here, so the request arrives by exactly that address.
    monkeypatch.setattr("newsletter.articles.guard.is_public", lambda one: one == "127.0.0.1")

    url = web.url("/feed", host="feeds.example")
    found = fetch.fetch(url, CLOSED, resolver=answer_to("127.0.0.2", "127.0.0.1"))

    assert found.body == FEED
    assert web.asked[0][1]["host"] == f"feeds.example:{web.port}"


def test_a_redirect_to_this_machine_is_closed(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newsletter.articles.guard.is_public", lambda one: one == "127.0.0.1")
    web.answers["/feed"] = Answer(status=302, headers={"Location": web.url("/x", host="inside")})

    def resolver(host: str, _port: int) -> list[str]:
        return ["10.0.0.8"] if host == "inside" else ["127.0.0.1"]

    with pytest.raises(FeedError, match="inside is an address of this machine"):
        fetch.fetch(web.url("/feed", host="outside"), CLOSED, resolver=resolver)

    assert [path for path, _ in web.asked] == ["/feed"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_three_redirects_are_followed(web: Web, status: int) -> None:
    for step in range(3):
        web.answers[f"/{step}"] = Answer(status=status, headers={"Location": f"{step + 1}#part"})
    web.answers["/3"] = Answer(FEED)

    found = fetch.fetch(web.url("/0"), OPEN)

    assert (found.body, found.final_url) == (FEED, web.url("/3"))


def test_a_fourth_redirect_is_not(web: Web) -> None:
    web.answers["/loop"] = Answer(status=302, headers={"Location": "/loop"})

    with pytest.raises(FeedError, match="more than 3 times"):
        fetch.fetch(web.url("/loop"), OPEN)

    assert len(web.asked) == 4


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://a.example/", "", "http://", "http://[", "gopher:x"]
)
def test_a_redirect_off_the_web_is_refused(web: Web, location: str) -> None:
    web.answers["/feed"] = Answer(status=302, headers={"Location": location})

    with pytest.raises(FeedError, match=r"redirects|could not be fetched"):
        fetch.fetch(web.url("/feed"), OPEN)


def test_not_modified_is_a_valid_response(web: Web) -> None:
    def answer(headers: Mapping[str, str]) -> Answer:
        assert headers["if-modified-since"] == "yesterday"
        return Answer(status=304, headers={"ETag": '"1"'})

    web.answers["/feed"] = answer

    found = fetch.fetch(web.url("/feed"), OPEN, validators=Validators('"1"', "yesterday"))

    assert (found.not_modified, found.body) == (True, b"")
    assert web.asked[0][1]["if-none-match"] == '"1"'


def test_not_modified_without_validators_is_an_error(web: Web) -> None:
    web.answers["/feed"] = Answer(status=304)

    with pytest.raises(FeedError, match="without having been asked"):
        fetch.fetch(web.url("/feed"), OPEN)


def test_validators_are_not_carried_to_another_host_nor_back(web: Web) -> None:
    web.answers["/feed"] = Answer(
        status=302, headers={"Location": web.url("/real", host="localhost")}
    )
    web.answers["/real"] = Answer(FEED, headers={"ETag": '"theirs"', "Last-Modified": "today"})

    found = fetch.fetch(web.url("/feed"), OPEN, validators=Validators('"mine"', "yesterday"))

    (_, first), (_, second) = web.asked
    assert first["if-none-match"] == '"mine"'
    assert {"if-none-match", "if-modified-since"}.isdisjoint(second)
    assert (found.etag, found.last_modified) == (None, None)


def test_a_password_goes_to_the_feeds_own_origin_only(web: Web) -> None:
    web.answers["/feed"] = Answer(status=302, headers={"Location": "/next"})
    web.answers["/next"] = Answer(
        status=302, headers={"Location": f"http://x:y@localhost:{web.port}/real"}
    )
    web.answers["/real"] = Answer(FEED)

    found = fetch.fetch(f"http://me:secret@127.0.0.1:{web.port}/feed", OPEN)

    sent = [headers.get("authorization") for _, headers in web.asked]
    basic = "Basic " + base64.b64encode(b"me:secret").decode()
    assert sent == [basic, basic, None]
    assert found.final_url == web.url("/real", host="localhost")


def test_cookies_are_not_kept(web: Web) -> None:
    web.answers["/feed"] = Answer(
        status=302, headers={"Location": "/real", "Set-Cookie": "a=b; Path=/"}
    )
    web.answers["/real"] = Answer(FEED)

    fetch.fetch(web.url("/feed"), OPEN)

    assert "cookie" not in web.asked[1][1]


def test_a_proxy_of_the_environment_is_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    web.answers["/feed"] = Answer(FEED)

    assert fetch.fetch(web.url("/feed"), OPEN).body == FEED


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "password"), (403, "refuses"), (404, "does not have"), (410, "gone"), (429, "too often"),
     (500, "status 500"), (204, "status 204"), (206, "status 206")],
)  # fmt: skip
def test_a_refusal_is_a_sentence_without_secrets(web: Web, status: int, says: str) -> None:
    web.answers["/feed"] = Answer(status=status)

    with pytest.raises(FeedError, match=says) as caught:
        fetch.fetch(f"http://me:secret@127.0.0.1:{web.port}/feed?key=hidden", OPEN)

    assert caught.value.hint
    assert "secret" not in caught.value.message
    assert "hidden" not in caught.value.message


def test_a_feed_larger_than_the_cap_is_refused(web: Web) -> None:
    web.answers["/feed"] = Answer(b"x" * 100_001)

    with pytest.raises(FeedError, match="larger than 100,000 octets"):
        fetch.fetch(web.url("/feed"), OPEN)


def test_an_endless_feed_is_cut_at_the_limit(web: Web) -> None:
    def pour(wire: BinaryIO) -> None:
        wire.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            wire.write(b"x" * 10_000)

    web.answers["/feed"] = Answer(raw=pour)

    with pytest.raises(FeedError, match="larger than"):
        fetch.fetch(web.url("/feed"), OPEN)


def gzipped(body: bytes) -> Answer:
    return Answer(body, headers={"Content-Encoding": "gzip"})


def test_a_packed_feed_is_unpacked(web: Web) -> None:
    web.answers["/feed"] = gzipped(gzip.compress(FEED[:9]) + gzip.compress(FEED[9:]))

    assert fetch.fetch(web.url("/feed"), OPEN).body == FEED


def test_a_decompression_bomb_is_cut_at_the_limit(web: Web) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(50)) + packer.flush()
    assert len(bomb) < OPEN.max_bytes
    web.answers["/feed"] = gzipped(bomb)

    with pytest.raises(FeedError, match="larger than"):
        fetch.fetch(web.url("/feed"), OPEN)


PACKED = gzip.compress(FEED, mtime=0)
_DEFLATED = zlib.compressobj(wbits=-15)
DEFLATED = _DEFLATED.compress(FEED) + _DEFLATED.flush()


@pytest.mark.parametrize(
    "coding",
    ["none", "utf-8", "UTF-8", "aws-chunked", "identity", "binary", "8bit", "text/xml", "gzip",
     "x-gzip", "deflate", "gzip, gzip", "aws-chunked, gzip", ",", '"none"'],
)  # fmt: skip
@pytest.mark.parametrize("body", [FEED, b"\xef\xbb\xbf " + FEED, FEED.decode().encode("utf-16")])
def test_what_is_not_packed_is_read_whatever_its_header_says(
    web: Web, coding: str, body: bytes
) -> None:
    web.answers["/feed"] = Answer(body, headers={"Content-Encoding": coding})

    assert fetch.fetch(web.url("/feed"), OPEN).body == body


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (PACKED, "none"),
        (PACKED, "utf-8"),
        (PACKED, "gzip, aws-chunked"),
        (gzip.compress(PACKED, mtime=0), "gzip"),
        (gzip.compress(PACKED, mtime=0), "gzip, gzip"),
        (zlib.compress(FEED), "deflate"),
        (DEFLATED, "deflate"),
        (PACKED, "deflate"),
        (PACKED + b"\0" * 7, "gzip"),
        (PACKED + b"\0" * 90_000, "gzip"),
        (PACKED + b"\0" * 600 + gzip.compress(b"", mtime=0), "gzip"),
        (PACKED + b"\r\nrubbish", "gzip"),
        (PACKED + b"\x1f", "gzip"),
    ],
)
def test_what_is_packed_is_unpacked_whatever_its_header_says(
    web: Web, body: bytes, coding: str
) -> None:
    web.answers["/feed"] = Answer(body, headers={"Content-Encoding": coding})

    assert fetch.fetch(web.url("/feed"), OPEN).body == FEED


@pytest.mark.parametrize("size", [1, 2, 3, 1_000])
def test_packed_members_may_be_split_anywhere(size: int) -> None:
    packed = gzip.compress(FEED[:9]) + b"\0\0\0" + gzip.compress(FEED[9:]) + b"\0"
    chunks = (packed[at : at + size] for at in range(0, len(packed), size))

    assert b"".join(fetch._unpacked(chunks, {"gzip"}, OPEN)) == FEED


def test_a_nested_decompression_bomb_is_cut_at_the_limit(web: Web) -> None:
    web.answers["/feed"] = gzipped(gzip.compress(gzip.compress(b"\0" * (OPEN.max_bytes + 1))))

    with pytest.raises(FeedError, match="larger than"):
        fetch.fetch(web.url("/feed"), OPEN)


@pytest.mark.parametrize("host", ["xn--yt8h.la", "\U0001f4a9.la", "xn--a.example"])
def test_a_feed_of_an_odd_host_is_asked_for(web: Web, host: str) -> None:
    web.answers["/feed"] = Answer(FEED, headers={"ETag": '"1"'})
    address = fetch.normalise(f"http://{host}:{web.port}/feed")

    found = fetch.fetch(address, OPEN, resolver=lambda *_: ["127.0.0.1"])

    assert (found.body, found.etag) == (FEED, '"1"')


def test_a_redirect_to_an_odd_host_is_followed(web: Web) -> None:
    there = f"http://xn--yt8h.la:{web.port}/new"
    web.answers["/feed"] = Answer(status=302, headers={"Location": there})
    web.answers["/new"] = Answer(FEED)

    found = fetch.fetch(web.url("/feed"), OPEN, resolver=lambda *_: ["127.0.0.1"])

    assert (found.body, found.final_url) == (FEED, there)


@pytest.mark.parametrize(
    ("body", "coding", "says"),
    [
        (gzip.compress(FEED, mtime=0)[:-9], "gzip", "cut off"),
        (b"not packed", "gzip", "damaged"),
        (b"", "gzip", "cut off"),
        (FEED, "br", "not asked for"),
        (FEED, "gzip, br", "not asked for"),
        (PACKED[:12] + b"xx", "none", "damaged|cut off"),
        (b"\1\2not packed", "deflate", "damaged"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(web: Web, body: bytes, coding: str, says: str) -> None:
    web.answers["/feed"] = Answer(body, headers={"Content-Encoding": coding})

    with pytest.raises(FeedError, match=says):
        fetch.fetch(web.url("/feed"), OPEN)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,
        b"",
    ],
)
def test_a_broken_answer_is_a_feed_error(web: Web, answer: bytes) -> None:
    web.answers["/feed"] = Answer(raw=lambda wire: wire.write(answer))

    with pytest.raises(FeedError, match="cut off, or its server"):
        fetch.fetch(web.url("/feed"), OPEN)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_a_slow_response_ends_at_the_deadline(web: Web, head: bytes) -> None:
    stopped = threading.Event()

    def drip(wire: BinaryIO) -> None:
        wire.write(head)
        for octet in itertools.cycle(b"HTTP/1.1 200 OK X"):
            wire.write(bytes([octet]))
            if stopped.wait(0.02):
                return

    web.answers["/feed"] = Answer(raw=drip)
    try:
        with pytest.raises(FeedError, match=r"longer than 0\.3 seconds"):
            fetch.fetch(web.url("/feed"), Limits(allow_private=True, timeout_seconds=0.3))
    finally:
        stopped.set()


def test_a_silent_server_ends_at_the_deadline(web: Web) -> None:
    stopped = threading.Event()
    web.answers["/feed"] = Answer(raw=lambda _wire: stopped.wait(20))
    try:
        with pytest.raises(FeedError, match="longer than"):
            fetch.fetch(web.url("/feed"), Limits(allow_private=True, timeout_seconds=0.2))
    finally:
        stopped.set()


def test_a_silent_resolver_ends_at_the_deadline() -> None:
    stopped = threading.Event()

    def wait(_host: str, _port: int) -> list[str]:
        stopped.wait(20)
        return []

    try:
        with pytest.raises(FeedError, match="longer than"):
            fetch.fetch("http://a.example/", Limits(timeout_seconds=0.2), resolver=wait)
    finally:
        stopped.set()


def test_a_name_without_an_address_is_a_feed_error() -> None:
    def fail(_host: str, _port: int) -> list[str]:
        raise OSError("NXDOMAIN")

    with pytest.raises(FeedError, match=r"no\.example has no address"):
        fetch.fetch("http://no.example/", CLOSED, resolver=fail)
    with pytest.raises(FeedError, match="has no address"):
        fetch.fetch("http://no.example/", CLOSED, resolver=answer_to())


def test_a_closed_port_is_a_feed_error_without_secrets() -> None:
    with pytest.raises(FeedError, match=r"127\.0\.0\.1:1/feed\?… could not be reached") as caught:
        fetch.fetch("http://me:secret@127.0.0.1:1/feed?key=hidden", OPEN)

    assert "secret" not in caught.value.message


@pytest.fixture
def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SAMPLES / "feeds.example.pem")
    return context


def test_tls_verifies_the_name_though_we_connect_to_an_address(
    serve_tls: Callable[[ssl.SSLContext], Web], server_tls: ssl.SSLContext
) -> None:
    web = serve_tls(server_tls)
    web.answers["/feed"] = Answer(FEED)
    trusting = ssl.create_default_context(cafile=SAMPLES / "feeds.example.pem")

    def ask(host: str) -> bytes:
        url = web.url("/feed", host=host, scheme="https")
        return fetch.fetch(url, OPEN, resolver=answer_to("127.0.0.1"), tls=trusting).body

    assert ask("feeds.example") == FEED
    with pytest.raises(FeedError, match="certificate that is not valid"):
        ask("other.example")


def test_an_untrusted_certificate_is_refused(
    serve_tls: Callable[[ssl.SSLContext], Web], server_tls: ssl.SSLContext
) -> None:
    web = serve_tls(server_tls)

    with pytest.raises(FeedError, match="certificate that is not valid"):
        fetch.fetch(
            web.url("/", host="feeds.example", scheme="https"),
            OPEN,
            resolver=answer_to("127.0.0.1"),
        )


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "feed.xml"
    file.write_bytes(FEED)

    found = fetch.fetch(str(file), CLOSED)

    assert (found.body, found.final_url, found.etag) == (FEED, "", None)


def test_a_file_has_the_same_cap(tmp_path: Path) -> None:
    file = tmp_path / "feed.xml"
    file.write_bytes(b"x" * 100_001)

    with pytest.raises(FeedError, match="larger than"):
        fetch.fetch(str(file), OPEN)


def test_pipes_folders_and_missing_files_are_feed_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path, says in [
        (tmp_path / "pipe", "is not a file"),
        (tmp_path, "could not be read"),
        (tmp_path / "none", "No such file"),
        (Path("/dev/zero"), "is not a file"),
    ]:
        with pytest.raises(FeedError, match=says):
            fetch.fetch(str(path), OPEN)


def test_a_feeds_address_has_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "feed.xml").write_bytes(FEED)
    monkeypatch.chdir(tmp_path)
    absolute = str(tmp_path / "feed.xml")

    assert fetch.normalise("feed.xml") == absolute
    assert fetch.normalise(f"file://{absolute}") == absolute
    assert (
        fetch.normalise(" HTTPS://Example.COM:443/f?utm_a=1#x ") == "https://example.com/f?utm_a=1"
    )


@pytest.mark.parametrize(
    "source",
    ["ftp://a.example/f", "javascript://x", "http://", "http://[", "https://a.example/\x00",
     "missing.xml", "a\x00b", "", "https://a.example/" + "x" * 2_000],
)  # fmt: skip
def test_what_cannot_be_a_feeds_address_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput):
        fetch.normalise(source)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:secret@a.example:8443/f?key=1#x", "https://a.example:8443/f?…"),
        ("http://a.example/f", "http://a.example/f"),
        ("http://a.example:bad/f", "that URL"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, expected: str) -> None:
    assert fetch.shown(url) == expected


def test_a_list_shows_an_address_without_its_password() -> None:
    assert link.masked("https://me:secret@a.example/f?q=1") == "https://a.example/f?q=1"
    assert link.masked("/srv/feed.xml") == "/srv/feed.xml"
