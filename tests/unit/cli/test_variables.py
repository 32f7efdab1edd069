"""What templates can use: the list is what the code fills in, and what the check goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

from newsletter import paths
from newsletter.cli import sample, variables
from newsletter.editions.compose import MailRenderer
from newsletter.publication import Publication
from newsletter.rendering import announcement, correction, letter, overrides
from newsletter.rendering import compile as compiling
from newsletter.settings import Settings
from newsletter.web import pages

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DIGEST = "email/digest/body.html"


@pytest.fixture
def environment(settings: Callable[..., Settings]) -> jinja2.Environment:
    made = settings()
    return pages.build(pages.Site(brand=made.brand(), base_url=made.base_url))


def test_the_list_has_exactly_the_variables_that_mails_are_filled_with(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: dict[str, set[str]] = {}
    render = compiling.render

    def note(templates: jinja2.Environment, name: str, values: Mapping[str, object]) -> str:
        filled.setdefault(name, set()).update(values)
        return render(templates, name, values)

    for module in (compiling, letter, correction, announcement):
        monkeypatch.setattr(module, "render", note)
    made = settings()
    for _ in sample.render_all(MailRenderer(Publication.of(made)), made, NOW):
        pass

    kinds = {name.split("/")[1] for name in filled}
    assert kinds == {*variables.BULK, *variables.LETTERS}
    assert filled == {name: set(variables.of(name) or ()) for name in filled}


@pytest.mark.parametrize("name", overrides.builtin())
def test_no_template_of_ours_uses_what_is_not_listed(
    name: str, environment: jinja2.Environment
) -> None:
    source = (paths.TEMPLATES / name).read_text(encoding="utf-8")

    assert list(variables.mistakes(name, source, environment)) == []


def test_every_page_of_the_web_has_its_values_listed() -> None:
    templates = {path.stem for path in (paths.TEMPLATES / "web").glob("*.html")} | {"embed"}

    assert set(variables.PAGES) == templates


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        (DIGEST, "{{ diggest.lead }}", 'line 1: there is no variable "diggest"; did you mean'),
        (DIGEST, "\n\n{{ xyzzy }}", 'line 3: there is no variable "xyzzy".'),
        (DIGEST, "{{ brand.nam }}", 'line 1: brand has no "nam"; did you mean "name"?'),
        (DIGEST, "{{ digest.lead.titel }}", 'digest.lead has no "titel"; did you mean "title"?'),
        (DIGEST, "{{ digest.lead.image.hight }}", 'digest.lead.image has no "hight"'),
        (DIGEST, "{{ letter.cadence }}", 'there is no variable "letter"'),
        (DIGEST, "{{ page.token }}", 'there is no variable "page"'),
        ("email/confirm/body.txt", "{{ content.stories }}", 'there is no variable "content"'),
        ("email/confirm/body.txt", "{{ letter.first_at }}", 'letter has no "first_at"'),
        ("email/correction/body.txt", "{{ content.stories }}", 'content has no "stories"'),
        ("web/confirm.html", "{{ page.tokn }}", 'page has no "tokn"; did you mean "token"?'),
        ("web/confirm.html", "{{ digest }}", 'there is no variable "digest"'),
    ],
)
def test_what_nobody_fills_is_named_with_its_line_and_the_nearest_name(
    name: str, source: str, said: str, environment: jinja2.Environment
) -> None:
    [mistake] = variables.mistakes(name, source, environment)

    assert said in mistake


@pytest.mark.parametrize(
    "source",
    [
        "{% set brand = {'anything': 1} %}{{ brand.anything }}",
        "{% for story in content.stories %}{{ story.title }}{{ loop.index }}{% endfor %}",
        "{% macro one(thing) %}{{ thing }}{{ caller() }}{% endmacro %}{{ one(1) }}",
        "{% from 'email/_layout/parts.html' import rule as line %}{{ line }}",
        "{% extends 'original/email/digest/body.html' %}{% block lead %}{% endblock %}",
        "{{ _('Related') }} {{ dir }} {{ range(3) }} {{ slots.address }}",
    ],
)
def test_what_a_template_names_itself_is_no_mistake(
    source: str, environment: jinja2.Environment
) -> None:
    assert list(variables.mistakes(DIGEST, source, environment)) == []


def test_each_variable_stands_on_the_page_of_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "templates.md").read_text(encoding="utf-8")

    named: list[Mapping[str, Any]] = [
        variables.MAIL,
        *variables.BULK.values(),
        variables.WEB,
    ]
    assert all(f"| `{name}` |" in page for one in named for name in one)
    for holder, kinds in (("letter", variables.LETTERS), ("page", variables.PAGES)):
        parts = {
            f"| `{holder}.{part}` |" for one in kinds.values() for part in variables.parts(one)
        }
        assert all(part in page for part in parts)
