"""Properties of all routes: GET changes nothing, headers are safe, any input is handled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlmodel import SQLModel
from visitor import ANN, JSON, Make, Visitor

from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import archive
from newsletter.settings import Settings
from newsletter.tokens import CountedLink, Purpose
from newsletter.web import app, middleware

pytestmark = pytest.mark.mainly_on("sqlite")

KEY = "site-0123456789abcdef0123456789abcdef"
TOKENS = {
    "/confirm/": Purpose.CONFIRM,
    "/new-address/": Purpose.NEW_ADDRESS,
    "/erase/": Purpose.ERASE,
    "/data/": Purpose.DATA,
    "/preferences/": Purpose.MANAGE,
    "/unsubscribe/": Purpose.UNSUBSCRIBE,
    "/view/": Purpose.VIEW,
}
BOB, EVE = "bob@readers.example", "eve@readers.example"


@pytest.fixture
def full(engine: Engine, settings: Callable[..., Settings]) -> Visitor:
    """A publication with archive, API, an edition and readers in several states."""
    chosen = settings(timezone="Europe/Berlin", archive=True, api_keys=[KEY])
    visitor = Visitor(engine, chosen)
    visitor.add(ANN)
    visitor.add(EVE)
    visitor.publish()
    visitor.sign_up(BOB)
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE, EVE))
    return visitor


def paths(visitor: Visitor) -> Iterator[str]:
    """Every path of every route, with the valid tokens of readers in several states."""
    with sessions.reading(visitor.engine) as session:
        issue = archive.latest(session)
    assert issue is not None
    for route in app._routes(app._routers(visitor.settings)):
        if "{token}" not in route.path:
            yield route.path_format.format(slug=issue.slug, address=ANN)
            continue
        if route.path.startswith("/read/"):
            link = CountedLink(issue.slug, 1, "https://miasfeed.example/1")
            yield f"/read/{visitor.keyring.sign_link(link)}"
            continue
        purpose = next(one for start, one in TOKENS.items() if route.path.startswith(start))
        if purpose is Purpose.VIEW:
            yield f"/view/{visitor.keyring.issue(purpose, issue.mailing, 0)}"
            continue
        for address in (ANN, BOB, EVE):
            token = visitor.link(purpose, address).rpartition("/")[2]
            yield route.path.format(token=token)


def contents(engine: Engine) -> object:
    """The contents of the database; of SQLite, the bytes of its files."""
    if engines.is_sqlite(engine):
        file = Path(str(engine.url.database))
        files = [file, Path(f"{file}-wal")]
        return [sha256(one.read_bytes()).hexdigest() for one in files if one.exists()]
    with engine.connect() as connection:
        return {
            name: sorted(map(repr, connection.execute(text(f'SELECT xmin, * FROM "{name}"'))))
            for name in SQLModel.metadata.tables
        }


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_no_get_head_or_options_changes_a_byte_of_the_database(full: Visitor) -> None:
    asked = sorted(set(paths(full)))
    assert len(asked) > 25
    headers = {"Authorization": f"Bearer {KEY}"}
    full.get("/subscribe")
    before = contents(full.engine)

    for path in asked:
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = full.client.request(method, path, headers=headers)
            assert answer.status_code < 500, f"{method} {path}"
            assert "set-cookie" not in answer.headers
            assert contents(full.engine) == before, f"{method} {path}"


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_with_counted_clicks_a_link_to_an_article_is_the_one_get_that_writes(
    engine: Engine, settings: Callable[..., Settings]
) -> None:
    chosen = settings(count_clicks=True, archive=True, api_keys=[KEY])
    visitor = Visitor(engine, chosen)
    for address in (ANN, BOB, EVE):
        visitor.add(address)
    visitor.publish()
    headers = {"Authorization": f"Bearer {KEY}", "User-Agent": "Firefox/140"}
    visitor.get("/subscribe")
    writes = set()

    for path in sorted(set(paths(visitor))):
        for method in ("OPTIONS", "HEAD", "GET"):
            before = contents(engine)
            visitor.client.request(method, path, headers=headers)
            visitor.wait(seconds=11)
            visitor.client.portal.call(visitor.web.click_writer.write)
            if contents(engine) != before:
                writes.add((method, path.split("/")[1]))

    assert writes == {("GET", "read")}


def test_a_head_answers_as_a_get_without_its_body(full: Visitor) -> None:
    for path in set(paths(full)):
        get, head = full.get(path), full.client.head(path)
        assert head.status_code == get.status_code, path
        assert head.content == b""
        if get.status_code == 200:
            assert head.headers["content-type"] == get.headers["content-type"]


def test_options_name_every_method_of_a_path(full: Visitor) -> None:
    manage = full.link(Purpose.MANAGE)
    expected = {
        "/subscribe": "GET, HEAD, OPTIONS, POST",
        manage: "GET, HEAD, OPTIONS, POST",
        f"{manage}/data": "OPTIONS, POST",
        f"/api/v1/subscriptions/{ANN}": "GET, HEAD, OPTIONS, PATCH",
        "/subscriptions": "OPTIONS, POST",
    }
    for path, allowed in expected.items():
        answer = full.client.options(path)
        assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
        refused = full.client.delete(path)
        assert (refused.status_code, refused.headers["allow"]) == (405, allowed)
    assert full.client.options("/nowhere").status_code == 404


def test_every_answer_has_safe_headers_and_no_cookie(full: Visitor) -> None:
    for path in {*paths(full), "/nowhere", "/confirm/x", "/subscriptions"}:
        for method in ("GET", "POST", "DELETE"):
            answer = full.client.request(method, path, headers={"Cookie": "a=b"})
            headers = answer.headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"
            assert "strict-transport-security" in headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "script-src" not in policy
            assert "set-cookie" not in headers
            is_public = path.startswith(("/embed.js", "/proof.js", "/editions", "/robots.txt"))
            assert is_public or headers["cache-control"] == "no-store", path
            anywhere = "access-control-allow-origin" in headers
            assert anywhere is path.startswith(("/embed.js", "/proof.js", "/subscriptions"))


def test_the_style_of_a_page_is_what_its_policy_allows(full: Visitor) -> None:
    from base64 import b64encode

    page = full.get("/subscribe")
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert " style=" not in page.text
    assert len(page.content) < 30_000


def test_a_publication_without_https_does_not_ask_for_it(visit: Make) -> None:
    answer = visit(base_url="http://localhost:8000").get("/subscribe")
    assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("path", ["/subscribe", "/subscriptions", "/preferences/{}"])
def test_a_body_that_is_too_large_is_not_read(visit: Make, path: str) -> None:
    visitor = visit()
    visitor.add()
    token = visitor.link(Purpose.MANAGE).rpartition("/")[2]
    large = b"address=" + b"a" * middleware.MAXIMUM_BODY
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    announced = visitor.client.post(path.format(token), content=large, headers=form)

    def in_pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"a" * 1_000

    unannounced = visitor.client.post(path.format(token), content=in_pieces(), headers=form)
    assert announced.status_code == unannounced.status_code == 413


FILE = b'--x\r\nContent-Disposition: form-data; name="address"; filename="a"\r\n\r\nx\r\n--x--'
MALFORMED: list[tuple[str, bytes]] = [
    ("multipart/form-data", b"x"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n"),
    ("multipart/form-data; boundary=\xff", b"\xff"),
    ("multipart/form-data; boundary=x", FILE),
    ("application/x-www-form-urlencoded", b"%ff%fe=%00&&&==;"),
    ("application/x-www-form-urlencoded; charset=utf-7", b"address=+ADw-"),
    ("application/json", b'{"address": 1}'),
    ("application/json", b"\xff"),
    ("", b"x" * 100),
    ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(1_500))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body"), MALFORMED, ids=range(len(MALFORMED)))
def test_no_malformed_body_breaks_a_route(full: Visitor, kind: str, body: bytes) -> None:
    for path in set(paths(full)):
        answer = full.client.post(
            path, content=body, headers={"Content-Type": kind.encode("latin-1")}
        )
        assert answer.status_code < 500, path


@pytest.mark.parametrize(
    "path",
    [
        "/confirm/%00", "/unsubscribe/%ff%fe", "/preferences/" + "a" * 5_000, "/view/..%2f..%2fx",
        "/%e2%80%ae", "/subscribe/", "/api/v1", "/unsubscribe/{{7*7}}",
        "/confirm/%ed%a0%80",
    ],
)  # fmt: skip
def test_an_unknown_path_is_a_page_with_404(visit: Make, path: str) -> None:
    visitor = visit()
    for method in ("GET", "POST", "HEAD"):
        answer = visitor.client.request(method, path)
        assert answer.status_code == 404
        assert "49" not in answer.text
    assert visitor.get(path, headers=JSON).json()["problem"] == "not_found"


ADDED = ["/", ".", ")", ">", ",", ";", "'", '"', "]", "%3E", "%20", "%253E", "&gt;", "&gt;.", "=",
         "=20", "/.", ").", '">', "//", "%E3%80%82", "%EF%BC%89", "%EF%BC%9E", "%E2%80%8B",
         "%C2%A0", ">)/. ", "*", "!", "%0D%0A"]  # fmt: skip


def test_a_link_with_something_added_at_its_end_works(visit: Make) -> None:
    visitor = visit(signups_per_machine=100)
    visitor.add(ANN)
    visitor.publish()
    with sessions.reading(visitor.engine) as session:
        issue = archive.latest(session)
    assert issue is not None
    leave = visitor.link(Purpose.UNSUBSCRIBE)
    view = f"/view/{visitor.keyring.issue(Purpose.VIEW, issue.mailing, 0)}"

    for number, added in enumerate(ADDED):
        new = f"new{number}@readers.example"
        visitor.sign_up(new)
        confirm = visitor.path("confirm", new)
        for path in (confirm, leave, visitor.link(Purpose.MANAGE), view):
            assert visitor.get(path + added).content == visitor.get(path).content, added
        for path in (confirm, leave):
            answer = visitor.post(path + added, {"List-Unsubscribe": "One-Click"})
            assert (answer.status_code, "location" in answer.headers) == (200, False), added
        assert (visitor.status(new), visitor.status(ANN)) == ("active", "unsubscribed"), added
        assert visitor.post(f"{leave}{added}/undo{added}").status_code == 200, added
        assert visitor.status(ANN) == "active", added


@pytest.mark.parametrize("cut", [1, 2, 10, 43, 44, 60])
@pytest.mark.parametrize("added", ["", ".", ">", "/"])
def test_a_link_that_is_cut_short_stays_invalid(visit: Make, cut: int, added: str) -> None:
    visitor = visit()
    visitor.add()
    path = visitor.link(Purpose.UNSUBSCRIBE)[:-cut] + added

    assert visitor.get(path).status_code == visitor.post(path).status_code == 404
    assert visitor.status() == "active"


def test_an_unavailable_database_is_a_page_with_503(visit: Make) -> None:
    visitor = visit()
    visitor.add()
    links = [visitor.link(Purpose.UNSUBSCRIBE), visitor.link(Purpose.MANAGE)]
    assert visitor.get("/readyz").json() == {"status": "ok"}
    with visitor.engine.begin() as connection:
        connection.execute(text("ALTER TABLE subscriber RENAME TO elsewhere"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert visitor.get("/healthz").json() == {"status": "ok"}
    ready = visitor.get("/readyz")
    assert (ready.status_code, ready.json()["problem"]) == (503, "unavailable")
    assert ready.headers["retry-after"] == "30"
    for link in links:
        answer = visitor.get(link)
        assert answer.status_code == 503
        assert "<h1>" in answer.text


def test_a_bug_is_a_page_with_500_and_safe_headers(
    visit: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from newsletter.web.routes import archive as routes

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    visitor = visit(archive=True)
    monkeypatch.setattr(routes.archive, "listing", broken)
    answer = visitor.get("/editions")
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    assert answer.headers["x-frame-options"] == "DENY"


def test_the_root_redirects_to_the_sign_up_page(visit: Make) -> None:
    answer = visit().get("/")
    assert answer.status_code == 302
    assert answer.headers["location"] == "https://news.miasfeed.example/subscribe"
    assert "Disallow: /unsubscribe/" in visit().get("/robots.txt").text


TYPED = [
    "</script><script>alert(1)</script>",
    "`${alert(1)}`\\",
    "{{ 7*'7' }}{% raw %}",
    '" onmouseover="alert(1)',
]


@pytest.mark.parametrize("words", TYPED, ids=range(len(TYPED)))
def test_texts_of_settings_and_headlines_are_escaped(visit: Make, words: str) -> None:
    names = ("name", "tagline", "postal_address", "box_headline", "box_sentence", "box_note")
    visitor = visit(archive=True, **dict.fromkeys(names, words))
    visitor.add("bob@readers.example")
    slug = visitor.publish(words)
    visitor.sign_up()
    visitor.post(visitor.path("confirm"))
    manage = visitor.link(Purpose.MANAGE)
    for path in ("/subscribe", manage, f"/editions/{slug}", "/editions", "/editions/feed.xml"):
        text = visitor.get(path).text
        assert _runs(text) == [], path
        assert "7777777" not in text, path
    script = visitor.get("/embed.js").text
    assert "</script>" not in script
    assert "7777777" not in script
    for letter in visitor.letters():
        assert len(letter.keys()) == len(set(letter.keys()))
        assert "\n" not in letter["Subject"]
        html = letter.get_body(("html",))
        assert html is not None
        assert _runs(html.get_content()) == []
        assert "7777777" not in html.get_content()


class _Running(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [name for name, _ in attrs if name.startswith("on")]
        self.found += [tag] if tag in {"script", "iframe", "object"} else []


def _runs(html: str) -> list[str]:
    """Return the parts of a page that a browser would execute."""
    parser = _Running()
    parser.feed(html)
    return parser.found
