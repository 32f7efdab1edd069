from __future__ import annotations

import hashlib
import re
import runpy
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest

from newsletter.errors import RenderError
from newsletter.rendering.content import Image
from newsletter.web import pages
from newsletter.web.pages import Site, Words

SAMPLES = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "samples" / "pages.py")))
NAMES = list(SAMPLES.gallery("en"))
LARGEST_PAGE = 30_000
LARGEST_SCRIPT = 6_000
HOSTILE = "\"'><script>alert(1)</script>{{ 7*7 }}\u202e"


class Page(HTMLParser):
    """A page's forms with their fields, its tags and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.forms: list[tuple[str, str, dict[str, list[str]]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag == "form":
            self.forms.append((values["method"] or "", values["action"] or "", {}))
        elif tag == "input" and values.get("name"):
            fields = self.forms[-1][2]
            fields.setdefault(values["name"] or "", []).append(values.get("value") or "")

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] != "style":
            self.text += data

    def links(self) -> list[str]:
        return [values["href"] or "" for tag, values in self.tags if tag == "a"]

    def fields(self, number: int = 0) -> tuple[str, dict[str, list[str]]]:
        """The action of each form and its fields; all forms are POST."""
        method, action, fields = self.forms[number]
        assert method == "post"
        return action.removeprefix(SAMPLES.BASE_URL), fields


@pytest.fixture(scope="module")
def templates() -> jinja2.Environment:
    built = SAMPLES.build("en")
    assert isinstance(built, jinja2.Environment)
    return built


def seen(name: str, templates: jinja2.Environment | None = None) -> Page:
    return Page(SAMPLES.page(name, "en", templates))


def every() -> Iterator[tuple[str, str, str]]:
    for language in SAMPLES.LANGUAGES:
        built = SAMPLES.build(language)
        for name in NAMES:
            yield language, name, SAMPLES.page(name, language, built)


def test_every_page_is_small_runs_nothing_and_loads_nothing() -> None:
    for language, name, html in every():
        page = Page(html)
        assert len(html.encode()) < LARGEST_PAGE, (language, name)
        for tag, values in page.tags:
            assert tag not in {"script", "iframe", "object"}, name
            assert not any(key.startswith("on") or key == "style" for key in values), name
            assert values.get("href") == "data:," or tag != "link" or "alternate" in values.values()
        assert "english" not in html or language == "en"


def test_every_page_says_its_language_and_way_and_gives_no_referrer() -> None:
    for language, name, html in every():
        page = Page(html)
        assert page.tags[0] == (
            "html",
            {"lang": language, "dir": "rtl" if language == "ar" else "ltr"},
        )
        assert ("meta", {"name": "referrer", "content": "no-referrer"}) in page.tags, name


def test_only_the_open_pages_may_be_found_by_search_engines() -> None:
    hidden = {name for _, name, html in every() if 'content="noindex' in html}

    assert hidden == {name for name in NAMES if not name.startswith(("subscribe", "archive"))}


def test_every_template_of_a_page_is_looked_at() -> None:
    from newsletter import paths

    found = {path.stem for path in (paths.TEMPLATES / "web").glob("*.html")}

    assert found - {"box", "edition"} == {name for name, _ in SAMPLES.gallery("en").values()}


def test_the_policy_allows_one_style_by_its_hash_and_no_script(
    templates: jinja2.Environment,
) -> None:
    html = SAMPLES.page("subscribe", "en", templates)
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()

    policy = pages.policy(templates)

    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_a_logo_is_allowed_from_its_own_host_alone() -> None:
    logo = Image(url="https://cdn.miasfeed.example/a/logo.svg", alt="Mia", width=160, height=40)
    site = Site(brand=replace(SAMPLES.BRANDS["en"], logo=logo), base_url=SAMPLES.BASE_URL)

    built = pages.build(site)

    assert "img-src data: https://cdn.miasfeed.example;" in pages.policy(built)
    assert 'alt="Mia" width="160" height="40"' in pages.render(built, "asked", pages.Asked())


def test_signing_up_asks_for_an_address_and_a_cadence(templates: jinja2.Environment) -> None:
    page = seen("subscribe", templates)

    action, fields = page.fields()

    assert action == "/subscribe"
    assert fields == {
        "form": [SAMPLES.TOKEN],
        "homepage": [""],
        "address": [""],
        "cadence": ["daily", "weekly", "monthly"],
    }
    assert "How often would you like updates?" in page.text
    assert "We respect your privacy. Unsubscribe at any time." in page.text
    assert "Daily: Your first digest comes Monday 23 November, 07:00." in page.text
    checked = [values["value"] for _, values in page.tags if "checked" in values]
    assert checked == ["weekly"]


@pytest.mark.parametrize(
    ("name", "field", "words"),
    [
        ("subscribe-address", "address", "Please write your whole email address"),
        ("subscribe-cadence", "cadence", "Please choose one of the three."),
        ("preferences-until", "until", "Please choose a day from 23 November 2026"),
    ],
)
def test_a_problem_is_shown_beside_its_field(
    templates: jinja2.Environment, name: str, field: str, words: str
) -> None:
    html = SAMPLES.page(name, "en", templates)

    assert f'id="{field}-problem">{words}' in html
    assert f'aria-describedby="{field}-problem"' in html
    assert "<title>Error: " in html


def test_what_was_typed_comes_back_escaped(templates: jinja2.Environment) -> None:
    form = replace(SAMPLES.gallery("en")["subscribe"][1], address=HOSTILE, problem="address")

    page = Page(pages.render(templates, "subscribe", form))

    assert "script" not in [tag for tag, _ in page.tags]
    (typed,) = [values["value"] for _, values in page.tags if values.get("name") == "address"]
    assert typed == HOSTILE


def test_the_answer_to_a_sign_up_depends_on_nothing(templates: jinja2.Environment) -> None:
    html = SAMPLES.page("asked", "en", templates)

    assert html == pages.render(templates, "asked", pages.Asked())
    assert "only then does a subscription begin" in html


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        ("asked", []),
        ("confirm", [(f"/confirm/{SAMPLES.TOKEN}", {})]),
        ("confirmed", []),
        ("expired", [(f"/confirm/{SAMPLES.TOKEN}/again", {})]),
        ("goodbye", [(f"/unsubscribe/{SAMPLES.TOKEN}/undo", {})]),
        ("own-data", [(f"/data/{SAMPLES.TOKEN}", {})]),
        ("own-data-erase", [(f"/erase/{SAMPLES.TOKEN}", {})]),
        ("mailed-erase", []),
        ("expired-own-data", []),
        ("goodbye-again", []),
        ("forgotten", []),
        (
            "saved",
            [(f"/preferences/{SAMPLES.TOKEN}", {"action": ["cadence"], "cadence": ["daily"]})],
        ),
        ("saved-pause", [(f"/preferences/{SAMPLES.TOKEN}", {"action": ["resume"]})]),
        ("saved-open", []),
        (
            "unsubscribe",
            [
                (f"/preferences/{SAMPLES.TOKEN}", {"action": ["cadence"], "cadence": ["weekly"]}),
                (f"/preferences/{SAMPLES.TOKEN}", {"action": ["pause"], "until": ["2026-12-22"]}),
                (f"/unsubscribe/{SAMPLES.TOKEN}", {}),
            ],
        ),
        ("unsubscribe-monthly", [(f"/unsubscribe/{SAMPLES.TOKEN}", {})]),
    ],
)
def test_forms_post_what_the_contract_says(
    templates: jinja2.Environment, name: str, forms: list[tuple[str, dict[str, list[str]]]]
) -> None:
    page = seen(name, templates)

    assert [page.fields(number) for number in range(len(page.forms))] == forms


def test_preferences_can_be_changed_paused_taken_along_and_erased(
    templates: jinja2.Environment,
) -> None:
    page = seen("preferences", templates)

    address = f"/preferences/{SAMPLES.TOKEN}"
    assert [page.fields(number) for number in range(5)] == [
        (address, {"action": ["cadence"], "cadence": ["daily", "weekly", "monthly"]}),
        (
            address,
            {
                "action": ["pause"],
                "until": ["2026-11-29", "2026-12-22", "2027-02-22", "other"],
                "until_date": [""],
            },
        ),
        (f"{address}/address", {"address": [""]}),
        (f"{address}/data", {}),
        (f"{address}/erase", {}),
    ]
    assert f"{SAMPLES.BASE_URL}/unsubscribe/{SAMPLES.TOKEN}" in page.links()
    assert "m…@example.org, on our list since 2 September 2025." in page.text


def test_a_paused_reader_can_come_back_at_once(templates: jinja2.Environment) -> None:
    page = seen("preferences-paused", templates)

    assert page.fields() == (f"/preferences/{SAMPLES.TOKEN}", {"action": ["resume"]})
    assert "Paused until Tuesday, 22 December 2026." in page.text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("confirm", "Once a week. Your first digest comes Monday 30 November, 07:00."),
        ("confirmed", "Your first digest comes Monday 30 November, 07:00. After that"),
        ("confirmed-again", "Your next digest comes Monday 30 November, 07:00."),
        ("expired", "It is 4 days old, and a link to confirm works for 72 hours."),
        ("saved", "You get this once a month. Your next digest comes Tuesday 1 December, 07:00."),
        (
            "saved-pause",
            "no mail until Tuesday, 22 December 2026. Your next digest comes Wednesday 23",
        ),
        ("saved-open", "You get no mail until you come back."),
        ("unsubscribe", "Your next digest comes Monday 30 November, 07:00."),
        ("too-many-in", "Please try again in 12 minutes."),
        ("archive", "Weekly, 16 November 2026"),
        ("outdated", "You have subscribed again since that mail was sent"),
        ("ended", "That subscription has ended or has not begun"),
    ],
)
def test_a_page_says_what_happens_next_and_when(
    templates: jinja2.Environment, name: str, words: str
) -> None:
    assert words in seen(name, templates).text


def test_a_long_wait_is_shown_in_hours(templates: jinja2.Environment) -> None:
    page = pages.render(templates, "too_many", pages.TooMany(retry_after=timedelta(hours=5)))

    assert "Please try again in 5 hours." in page


def test_alternatives_are_offered_before_unsubscribing(templates: jinja2.Environment) -> None:
    text = seen("unsubscribe", templates).text

    assert text.index("Once a week instead") < text.index("Pause until") < text.index("Or leave")
    assert "Or leave" not in seen("unsubscribe-monthly", templates).text


def test_the_plain_box_is_a_form_without_a_token(templates: jinja2.Environment) -> None:
    page = Page(pages.render(templates, "box", pages.Box(cadence="monthly")))

    action, fields = page.fields()

    assert action == "/subscribe"
    assert fields == {
        "address": [""],
        "cadence": ["daily", "weekly", "monthly"],
        "homepage": [""],
    }
    assert "Stay updated with Mia’s Feed" in page.text


@pytest.mark.parametrize("language", SAMPLES.LANGUAGES)
@pytest.mark.parametrize("has_proof", [False, True])
def test_the_script_is_small(language: str, has_proof: bool) -> None:
    script = SAMPLES.script(language, has_proof=has_proof)
    assert len(script.encode()) < LARGEST_SCRIPT


def test_texts_in_the_script_are_escaped() -> None:
    words = Words(headline=HOSTILE + "`${alert(1)}</script>", note="\u2028\\")
    built = pages.build(Site(brand=SAMPLES.BRANDS["en"], base_url=SAMPLES.BASE_URL, words=words))

    script = pages.script(built, pages.Script(choices=SAMPLES.CHOICES))

    assert "</script" not in script
    assert "<script" not in script
    assert "innerHTML" not in script
    assert "eval(" not in script
    (line,) = [line for line in script.splitlines() if "alert" in line]
    assert line.startswith('const words = {"headline":"\\"\\u0027\\u003e\\u003cscript')


def test_the_words_of_the_box_are_settings_everywhere() -> None:
    words = Words(headline="Heart news", sentence="One mail.", button="Yes", note="No spam.")
    built = pages.build(Site(brand=SAMPLES.BRANDS["en"], base_url=SAMPLES.BASE_URL, words=words))
    shown = (
        SAMPLES.page("subscribe", "en", built),
        pages.render(built, "box", pages.Box()),
        pages.script(built, pages.Script(choices=SAMPLES.CHOICES)),
    )

    for page in shown:
        for said in ("Heart news", "One mail.", "Yes", "No spam."):
            assert said in page
        assert "Stay updated" not in page


def test_an_archived_mail_has_a_bar_and_keeps_the_rest() -> None:
    html = SAMPLES.edition("en")

    assert re.search(r"<body[^>]*>\n<style>.newsletter-bar", html)
    assert f"{SAMPLES.BASE_URL}/editions" in html
    assert 'role="main"' in html
    assert SAMPLES.DIGESTS.NONCE not in html


def test_a_mail_seen_while_the_archive_is_closed_leads_to_no_archive() -> None:
    html = pages.edition(SAMPLES.build("en"), "<body><p>Mail</p></body>", pages.Edition())

    assert "/editions" not in html
    assert html.index("<body>") < html.index("/subscribe") < html.index("<p>Mail</p>")


def test_archived_mail_may_not_run_a_script() -> None:
    assert "default-src 'none'" in pages.MAIL_POLICY
    assert "script" not in pages.MAIL_POLICY
    assert "sandbox" in pages.MAIL_POLICY
    assert "allow-scripts" not in pages.MAIL_POLICY


def test_a_publishers_template_overrides_ours(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "asked.html").write_text(
        '{% extends "original/web/asked.html" %}{% block heading %}Off it goes{% endblock %}',
        "utf-8",
    )
    (folder / "forgotten.html").write_text("\n{{ nobody }}", "utf-8")
    site = Site(brand=SAMPLES.BRANDS["en"], base_url=SAMPLES.BASE_URL)

    built = pages.build(site, templates=tmp_path)

    assert "<h1>Off it goes</h1>" in pages.render(built, "asked", pages.Asked())
    with pytest.raises(RenderError, match=r"forgotten\.html, line 2"):
        pages.render(built, "forgotten", pages.Forgotten())
