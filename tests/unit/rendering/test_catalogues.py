"""Every word of templates is in every catalogue, and says the same things."""

from __future__ import annotations

import re
import runpy
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from babel import Locale
from babel.messages.catalog import Message

from newsletter import paths
from newsletter.errors import RenderError
from newsletter.rendering import environment

TRANSLATE = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[3] / "docs" / "translate.py"))
)
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
MOMENT = datetime(2026, 11, 23, 7)  # noqa: DTZ001 - as the publication's clock shows it


def messages(language: str) -> list[Message]:
    return [message for message in TRANSLATE.read(language) if message.id]


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


def test_there_are_two_languages_beside_english_and_one_is_written_from_the_right() -> None:
    languages = TRANSLATE.languages()

    assert languages == ["ar", "de"]
    assert Locale.parse("ar").text_direction == "rtl"


@pytest.mark.parametrize("language", TRANSLATE.languages())
def test_every_word_of_the_templates_is_translated_and_no_other(language: str) -> None:
    assert len(messages(language)) > 150
    assert list(TRANSLATE.missing(language)) == []


@pytest.mark.parametrize("language", TRANSLATE.languages())
def test_a_translation_has_the_placeholders_of_its_source(language: str) -> None:
    for message in messages(language):
        if isinstance(message.id, str):
            assert placeholders(message.string) == placeholders(message.id), message.id
            continue
        # "One more" and "two more" may be words; the general form, the last, has them all.
        wanted = placeholders(message.id[1])
        assert all(placeholders(form) <= wanted for form in message.string), message.id
        assert placeholders(message.string[-1]) == wanted, message.id


@pytest.mark.parametrize("language", TRANSLATE.languages())
def test_a_translation_begins_and_ends_as_its_source_does(language: str) -> None:
    for message in messages(language):
        if isinstance(message.id, str):
            assert message.string == message.string.strip()
            assert message.id.endswith(".") == message.string.endswith("."), message.id
            assert "<" not in message.string


def test_no_template_says_a_word_outside_the_catalogues() -> None:
    """What remains of a page without tags, expressions and styles is punctuation."""
    said = re.compile(
        r"\{% block (?:style|media) %\}.*?\{% endblock %\}|\{#.*?#\}"
        r"|\{% trans.*?endtrans %\}|\{%.*?%\}|\{\{.*?\}\}",
        re.DOTALL,
    )
    markup = re.compile(r"<style.*?</style>|<!--.*?-->|<[^>]*>|&#?\w+;", re.DOTALL)
    # The desk is in English, as the command line is.
    for path in sorted(set(paths.TEMPLATES.rglob("*.html")) - set(paths.TEMPLATES.glob("desk/*"))):
        rest = markup.sub(" ", said.sub("", path.read_text("utf-8")))
        assert re.findall(r"[A-Za-z]{2,}", rest) == [], path


def test_arabic_counts_in_six_ways() -> None:
    template = environment.build(None, "ar").from_string(
        '{{ ngettext("%(num)s story", "%(num)s stories", n) }}'
    )

    found = [template.render(n=n) for n in (0, 1, 2, 3, 11, 100)]

    assert found == ["لا مقالات", "مقال واحد", "مقالان", "3 مقالات", "11 مقالاً", "100 مقال"]


def test_a_country_of_a_language_reads_that_language() -> None:
    assert environment.build(None, "de-AT").from_string('{{ _("Save") }}').render() == "Speichern"


def test_a_language_without_a_catalogue_says_the_templates_own_words() -> None:
    assert environment.build(None, "fr").from_string('{{ _("Save") }}').render() == "Save"


def catalogue(folder: Path, language: str, text: str) -> Path:
    path = folder / "locale" / language / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
    path.write_text(head + text, "utf-8")
    return path


def words(built: jinja2.Environment, *texts: str) -> list[str]:
    return [built.from_string("{{ _(text) }}").render(text=text) for text in texts]


def test_a_publishers_words_come_before_ours_one_by_one(tmp_path: Path) -> None:
    catalogue(tmp_path, "de", 'msgid "Save"\nmsgstr "Sichern"\n')
    catalogue(tmp_path, "fr", 'msgid "Save"\nmsgstr "Enregistrer"\n')

    assert words(environment.build(tmp_path, "de"), "Save", "Undo") == [
        "Sichern",
        "Rückgängig machen",
    ]
    assert words(environment.build(tmp_path, "fr"), "Save", "Undo") == ["Enregistrer", "Undo"]


def test_a_country_comes_before_its_language(tmp_path: Path) -> None:
    catalogue(tmp_path, "de_AT", 'msgid "Save"\nmsgstr "Speichern, bitte"\n')

    assert words(environment.build(tmp_path, "de-AT"), "Save") == ["Speichern, bitte"]


def test_a_catalogue_that_is_none_is_named(tmp_path: Path) -> None:
    path = catalogue(tmp_path, "de", "Save = Sichern\n")

    with pytest.raises(RenderError, match=re.escape(str(path))):
        environment.build(tmp_path, "de")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "Monday 23 November"),
        ("en-US", "Monday, November 23"),
        ("de", "Montag, 23. November"),
        ("fr", "lundi 23 novembre"),
        ("ar", "\u2068الاثنين، 23 نوفمبر\u2069"),
        ("ja", "11月23日(月曜日)"),
    ],
)
def test_a_day_that_is_near_is_written_without_its_year(language: str, expected: str) -> None:
    built = environment.build(None, language)

    assert built.from_string("{{ at|date }}").render(at=MOMENT) == expected
    assert built.from_string("{{ at|date }}").render(at=date(2026, 11, 23)) == expected


@pytest.mark.parametrize(
    ("language", "length", "lasts", "comes"),
    [
        ("en", timedelta(minutes=12), "12 minutes", "in 12 minutes"),
        ("en", timedelta(seconds=5), "1 minute", "in 1 minute"),
        ("en", timedelta(days=4, hours=2), "4 days", "in 4 days"),
        ("en", timedelta(hours=80), "3 days", "in 3 days"),
        ("de", timedelta(days=4), "4 Tage", "in 4 Tagen"),
    ],
)
def test_lengths_of_time_are_written_in_words(
    language: str, length: timedelta, lasts: str, comes: str
) -> None:
    built = environment.build(None, language)

    assert built.from_string("{{ length|length_of_time }}").render(length=length) == lasts
    assert built.from_string("{{ length|from_now }}").render(length=length) == comes
