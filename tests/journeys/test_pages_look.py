"""The readers' pages and letters in a real browser: in both schemes, narrow and wide, both ways."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import browser
import looking
import pytest
from browser import Answer

PAGES = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "samples" / "pages.py")))
WIDTHS = (320, 1200)
#: A page that is not ours, as strict as pages are.
STRICT = "default-src 'none'; script-src 'self'; require-trusted-types-for 'script'"
#: Axe's rule of all that is seen in one scheme and not in the other.
COLOURS = "color-contrast"
#: In a mail program the mail is one article among the program's own landmarks.
NOT_FOR_MAIL = ("landmark-one-main", "region")

pytestmark = [
    pytest.mark.skipif(browser.CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.xdist_group("browser"),
]

Seen = tuple[str, list[dict[str, Any]]]

VISIT = """
const frame = document.querySelector('iframe');
const open = (path, width) => new Promise(done => {
  frame.style.width = width + 'px';
  frame.onload = () => done(frame.contentDocument);
  frame.src = path;
});
const load = (page, path) => new Promise((done, failed) => {
  const script = Object.assign(page.createElement('script'), { src: path, onload: done });
  script.onerror = failed;
  page.head.append(script);
});
const post = result => fetch('/result', { method: 'POST', body: JSON.stringify(result) });
const main = async () => {
  const found = [];
  for (const [path, width, rules] of TODO) {
    // A page's policy lets no script of ours in.
    const page = await open(rules ? path.replace('/page/', '/bare/') : path, width);
    const one = { path, width, inner: frame.contentWindow.innerWidth, ...measure(page) };
    if (rules) {
      await load(page, '/axe.js');
      const { violations } = await frame.contentWindow.axe.run(page, { ...rules,
        resultTypes: ['violations'] });
      one.axe = violations.map(v => [v.id, v.nodes[0].html.slice(0, 200)]);
    }
    found.push(one);
  }
  await post(found);
};
main().catch(error => post([{ error: String(error) }]));
"""


@cache
def build(language: str) -> Any:
    return PAGES.build(language)


def paths(kind: str) -> list[str]:
    """What is looked at, as /kind/language/name."""
    names = {
        "page": list(PAGES.gallery("en")),
        "letter": list(PAGES.letters("en")),
        "other": ["edition"],
    }
    return [f"/{kind}/{language}/{name}" for language in PAGES.LANGUAGES for name in names[kind]]


def render(path: str) -> Answer | None:
    _, kind, language, name = path.split("/")
    if kind == "page":
        # No page can be framed; here it must be, and all the rest of its policy stays.
        policy = PAGES.pages.policy(build(language)).replace("; frame-ancestors 'none'", "")
        html = PAGES.page(name, language, build(language))
        return Answer(html, {"Content-Security-Policy": policy})
    if kind == "bare":
        return Answer(PAGES.page(name, language, build(language)))
    if kind == "letter":
        return Answer(PAGES.mail(name, language))
    if kind == "other":
        return Answer(PAGES.edition(language))
    return None


def look(scheme: str, todo: Sequence[tuple[Any, ...]], profile: Path) -> list[dict[str, Any]]:
    """Open each path at its width; return what was measured, and found by axe's options, if any."""
    script = f"const TODO = {json.dumps(todo)};"
    source = (script + looking.MEASURE + VISIT).replace("</", "<\\/")
    harness = (
        "<!DOCTYPE html><meta charset='utf-8'><iframe style='border:0;height:900px'></iframe>"
        f"<script>{source}</script>"
    )

    def route(_: str, path: str, __: str) -> Answer | None:
        if path == "/axe.js":
            # Compiled once, and not for each page.
            return Answer(looking.axe(), {"Cache-Control": "max-age=3600"}, kind="text/javascript")
        return Answer(harness) if path == "/" else render(path)

    with browser.serving(route) as site:
        found = browser.see(site, "/", scheme=scheme, profile=profile)
    assert not any("error" in one for one in found), found
    return found


def usual_width(path: str) -> int:
    return min(WIDTHS) if "/ar/" in path else max(WIDTHS)


@pytest.fixture(scope="module", params=list(browser.SCHEMES))
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    scheme = request.param
    every = [*paths("page"), *paths("letter"), *paths("other")]
    if scheme == "light":
        # German has the longest words: it is enough to see where there is the least room.
        todo = [
            (path, width) for path in every for width in WIDTHS if "/de/" not in path or width < 600
        ]
    else:
        # Nothing stands elsewhere than by day.
        todo = [(path, usual_width(path)) for path in every if "/de/" not in path]
    found = look(
        scheme,
        [(path, width, axe_options(scheme, path, width)) for path, width in todo],
        tmp_path_factory.mktemp(scheme),
    )
    assert [(one["path"], one["inner"]) for one in found] == todo
    return scheme, found


def test_nothing_is_wider_than_the_screen(seen: Seen) -> None:
    assert [one["path"] for one in seen[1] if one["needs"] > one["width"]] == []


def test_every_word_and_every_edge_of_a_field_can_be_seen(seen: Seen) -> None:
    for one in seen[1]:
        assert one["worst"] >= 4.5, one
        assert one["smallest"] >= 13, one
        # WCAG 2.2, 1.4.11: what shows where a field is.
        assert one["edge"] >= 3, one


def test_pages_are_light_by_day_and_dark_by_night(seen: Seen) -> None:
    scheme, found = seen

    assert [one["path"] for one in found if (one["ground"] < 0.05) != (scheme == "dark")] == []


def test_headings_are_in_order_and_a_page_has_one_of_each_landmark(seen: Seen) -> None:
    for one in seen[1]:
        levels = one["headings"]
        assert levels[0] == 1, one
        assert levels.count(1) == 1, one
        assert all(after - before <= 1 for before, after in pairwise(levels)), one
        if one["path"].startswith("/page/"):
            assert one["landmarks"] == ["header", "main", "footer"], one


def test_every_control_has_a_name_and_is_tall_enough_for_a_thumb(seen: Seen) -> None:
    for one in seen[1]:
        assert one["nameless"] == [], one
        assert one["low"] == [], one
        assert one["twice"] == [], one
        assert one["lost"] == [], one


def test_choosing_moves_nothing(seen: Seen) -> None:
    assert [one["path"] for one in seen[1] if one["shift"]] == []


def test_arabic_begins_at_the_right(seen: Seen) -> None:
    for one in seen[1]:
        is_arabic = "/ar/" in one["path"]
        assert one["align"] in ({"right", "start"} if is_arabic else {"left", "start"}), one


def axe_options(scheme: str, path: str, width: int) -> dict[str, Any] | None:
    """Return what axe looks for: a scheme changes colours alone, and a language all but colours.

    Each page is looked at once, at its usual width, if there is an axe.
    """
    if not looking.axe() or "/de/" in path or width != usual_width(path):
        return None
    is_english = "/en/" in path
    if scheme == "dark":
        return {"runOnly": [COLOURS]} if is_english else None
    return {"rules": {COLOURS: {"enabled": is_english}}}


def test_axe_finds_nothing(seen: Seen) -> None:
    if not looking.axe():
        pytest.skip("axe-core is not installed; AXE_CORE may name an axe.min.js")
    looked = [one for one in seen[1] if "axe" in one]
    assert {one["path"].split("/")[1] for one in looked} == {"page", "letter", "other"}
    for one in looked:
        excused = NOT_FOR_MAIL if one["path"].startswith("/letter/") else ()
        assert [fault for fault in one["axe"] if fault[0] not in excused] == [], one["path"]


HOST = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>An article</title>
<style>*{{color:red!important;font-size:9px!important}}</style></head>
<body><h1>An article</h1><script src="/embed.js"{attributes}></script><p>More</p></body></html>"""
ACT = """
const wait = time => new Promise(done => setTimeout(done, time));
const frame = document.querySelector('iframe');
const post = result => fetch('/result', { method: 'POST', body: JSON.stringify(result) });
const main = async () => {
  await new Promise(done => { frame.onload = done; frame.src = '/host'; });
  frame.contentWindow.focus();
  const box = frame.contentDocument.querySelector('newsletter-box');
  const root = box.shadowRoot, find = selector => root.querySelector(selector);
  const result = { words: root.textContent, dir: box.dir,
    checked: find('[type=radio]:checked').value,
    colour: getComputedStyle(find('h2')).color, size: getComputedStyle(find('h2')).fontSize,
    follows: box.previousElementSibling.tagName };
  const height = () => find('section').offsetHeight;
  const before = height();
  find('[value=daily]').click();
  result.daily = find('fieldset small').textContent;
  result.shift = height() - before;
  find('button').click();
  result.refused = find('.e').textContent;
  result.invalid = find('[type=email]').getAttribute('aria-invalid');
  result.focused = root.activeElement.name;
  find('[type=email]').value = 'mia@example.org';
  await wait(200);
  const tall = height();
  frame.onload = () => post({ ...result, left: frame.contentDocument.title });
  find('button').click();
  find('.e').textContent = '';
  for (let n = 0; n < 100 && find('form') && !find('.e').textContent; n++) await wait(50);
  if (find('form')) await post({ ...result, reason: find('.e').textContent });
  else await post({ ...result, after: root.textContent, grown: height() - tall,
    focus: root.activeElement.tagName });
};
main().catch(error => post({ error: String(error) }));
"""


def box(
    tmp_path: Path,
    *,
    policy: str,
    language: str = "en",
    attributes: str = "",
    answers: Sequence[str] = ('{"status": "asked"}',),
) -> tuple[dict[str, Any], list[tuple[str, dict[str, list[str]]]]]:
    """Use the box on a page with that policy; return what was seen, and what was posted."""
    posted: list[tuple[str, dict[str, list[str]]]] = []
    site: list[str] = []
    tickets = count(1)
    said = iter(answers)

    def route(method: str, path: str, body: str) -> Answer | None:
        if method == "POST":
            posted.append((path, parse_qs(body, keep_blank_values=True)))
        if path == "/subscriptions":
            return Answer(next(said), kind="application/json")
        if path == "/subscriptions/form":
            return Answer(f'{{"form": "ticket {next(tickets)}"}}', kind="application/json")
        return {
            "/": Answer(f"<!DOCTYPE html><iframe></iframe><script>{ACT}</script>"),
            "/host": Answer(
                HOST.format(attributes=attributes), {"Content-Security-Policy": policy}
            ),
            "/embed.js": Answer(PAGES.script(language, site[0]), kind="text/javascript"),
            "/subscribe": Answer("<!DOCTYPE html><title>Sent as a form</title>"),
        }.get(path)

    with browser.serving(route) as served:
        site.append(served.url)
        found = browser.see(served, "/", scheme="light", profile=tmp_path)
    assert "error" not in found, found
    return found, posted


def test_the_box_works_on_a_page_with_a_strict_policy(tmp_path: Path) -> None:
    seen, posted = box(tmp_path, policy=f"{STRICT}; connect-src 'self'; style-src 'unsafe-inline'")

    assert "Stay updated with Mia’s Feed" in seen["words"]
    assert "We respect your privacy. Unsubscribe at any time." in seen["words"]
    assert seen["daily"] == "Your first digest comes Monday 23 November, 07:00."
    assert seen["follows"] == "SCRIPT"
    assert seen["shift"] == 0
    # What the page says about everything does not reach into the box.
    assert seen["colour"] == "rgb(27, 26, 24)"
    assert seen["size"] == "24px"
    assert seen["invalid"] == "true"
    assert seen["focused"] == "address"
    assert seen["refused"].startswith("Please write your whole email address")
    assert "If a mail can go to this address, it is on its way." in seen["after"]
    assert seen["focus"] == "H2"
    assert seen["grown"] <= 0
    wanted = {"address": "mia@example.org", "cadence": "daily", "homepage": "", "form": "ticket 1"}
    assert posted == [("/subscriptions", {name: [value] for name, value in wanted.items()})]


def test_where_it_may_not_fetch_the_box_sends_a_form_as_any_page_does(tmp_path: Path) -> None:
    seen, posted = box(tmp_path, policy=STRICT)

    assert seen["left"] == "Sent as a form"
    wanted = {"address": "mia@example.org", "cadence": "daily", "homepage": "", "form": ""}
    assert posted == [("/subscribe", {name: [value] for name, value in wanted.items()})]


def test_a_reader_who_was_too_quick_waits_a_moment_and_notices_nothing(tmp_path: Path) -> None:
    seen, posted = box(
        tmp_path,
        policy=f"{STRICT}; connect-src 'self'",
        answers=('{"status": "refused", "problem": "once_more"}', '{"status": "asked"}'),
    )

    assert "If a mail can go to this address, it is on its way." in seen["after"]
    assert [fields["form"] for _, fields in posted] == [["ticket 1"], ["ticket 2"]]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"status": "refused", "problem": "address"}', "Please write your whole email address"),
        ('{"status": "too_many"}', "There have been too many requests."),
    ],
)
def test_the_box_says_why_it_was_refused(tmp_path: Path, answer: str, words: str) -> None:
    seen, _ = box(tmp_path, policy=f"{STRICT}; connect-src 'self'", answers=(answer,))

    assert seen["reason"].startswith(words)


def test_the_box_takes_words_from_its_script_and_speaks_the_language_of_the_site(
    tmp_path: Path,
) -> None:
    seen, _ = box(
        tmp_path,
        policy=f"{STRICT}; connect-src 'self'",
        language="ar",
        attributes=' data-headline="&lt;b&gt;Heart news" data-cadence="monthly"',
    )

    assert "<b>Heart news" in seen["words"]
    assert seen["checked"] == "monthly"
    assert seen["dir"] == "rtl"
    assert seen["daily"].startswith("يصلكم العدد الأول يوم")
