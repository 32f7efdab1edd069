from __future__ import annotations

from datetime import date
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Literal

import jinja2
import pytest
from babel import Locale
from babel.localedata import locale_identifiers

from newsletter.errors import InvalidInput, RenderError
from newsletter.rendering import compile as compiling
from newsletter.rendering import environment
from newsletter.rendering.compile import Rendered


def override(folder: Path, name: str, text: str) -> Path:
    path = folder / "email" / "digest" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def render(digests: SimpleNamespace, folder: Path) -> Rendered:
    return compiling.digest(
        digests.WEEKLY,
        brand=digests.BRAND,
        links=digests.LINKS,
        markers=digests.MARKERS,
        environment=environment.build(folder, "en"),
        feedback_id="x",
    )


def test_a_publishers_template_comes_before_ours(digests: SimpleNamespace, tmp_path: Path) -> None:
    override(tmp_path, "subject.txt", "{{ brand.name }} for you")

    rendered = render(digests, tmp_path)

    assert rendered.message.subject == "Mia’s Feed for you"
    assert "In this edition" in rendered.html


def test_an_override_can_extend_what_it_replaces(digests: SimpleNamespace, tmp_path: Path) -> None:
    override(
        tmp_path,
        "body.html",
        '{% extends "original/email/digest/body.html" %}'
        "{% block ending %}<tr><td>Good night.</td></tr>{% endblock %}",
    )

    html = render(digests, tmp_path).html

    assert "Good night." in html
    assert "That is all for now" not in html
    assert "Read the full story" in html


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("fine\n{% if %}", 2, "Expected"),
        ("fine\n\n{{ brand.nam }}", 3, "nam"),
        ("{{ nobody }}", 1, "nobody"),
        ("a\nb\n\n{{ 1 / 0 }}", 4, "division"),
        ("\n{{ content.stories[99] }}", 2, "no element 99"),
        ("\n{{ content.cadence|nofilter }}", 2, "nofilter"),
        ("\n{{ content.stories + 1 }}", 2, "concatenate"),
        ('{% extends "email/nothing.txt" %}', 1, "nothing.txt"),
    ],
)
def test_a_mistake_in_a_template_names_file_and_line(
    digests: SimpleNamespace, tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = override(tmp_path, "body.txt", text)

    with pytest.raises(RenderError) as caught:
        render(digests, tmp_path)

    assert f"{path}, line {line}: " in caught.value.message
    assert words in caught.value.message


def test_a_template_that_is_missing_is_named() -> None:
    with pytest.raises(RenderError, match="nowhere"):
        environment.render(environment.build(None, "en"), "email/nowhere.txt", {})


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that fails to be read")
def test_a_template_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    # Root reads everything but this.
    (tmp_path / "words.txt").symlink_to("/proc/self/mem")

    with pytest.raises(
        RenderError, match=r"words\.txt cannot be read: Input/output error"
    ) as caught:
        environment.render(environment.build(tmp_path, "en"), "words.txt", {})
    assert caught.value.hint == "Let the newsletter's own user read its templates."


def test_a_mistake_of_ours_stays_what_it_is() -> None:
    class Broken:
        def get_template(self, _: str) -> None:
            raise ValueError("ours")

        loader = environment.build(None, "en").loader

    with pytest.raises(ValueError, match="ours"):
        environment.render(Broken(), "x", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["", "english please", "xx-yy-zz", "zz"])
def test_a_language_nobody_speaks_is_refused(language: str) -> None:
    with pytest.raises(InvalidInput, match="is not a language"):
        environment.build(None, language)


@pytest.mark.parametrize(
    ("language", "first", "last", "expected"),
    [
        ("en_001", date(2026, 11, 16), date(2026, 11, 22), "16–22 November 2026"),
        ("en_001", date(2026, 10, 30), date(2026, 11, 5), "30 October – 5 November 2026"),
        ("en_001", date(2026, 12, 28), date(2027, 1, 3), "28 December 2026 – 3 January 2027"),
        ("en_001", date(2026, 11, 22), date(2026, 11, 22), "22 November 2026"),
        ("de", date(2026, 11, 16), date(2026, 11, 22), "16.–22. November 2026"),
    ],
)
def test_a_span_of_days_is_written_as_one_says_it(
    language: str, first: date, last: date, expected: str
) -> None:
    found = environment.span(first, last, locale=Locale.parse(language))

    assert found.replace("\u2009", " ") == expected


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (0, "0 minutes"),
        (1, "1 minute"),
        (21, "21 minutes"),
        (60, "1 hour"),
        (125, "2 hours 5 minutes"),
    ],
)
def test_a_reading_time_is_written_in_words(minutes: int, expected: str) -> None:
    assert environment.reading_time(minutes, Locale.parse("en_001")) == expected


def test_a_month_is_the_calendar_month_before_a_first() -> None:
    november = date(2026, 11, 30)

    assert environment.month_of(date(2026, 12, 1), date(2026, 11, 1)) == november
    assert environment.month_of(date(2026, 12, 1), date(2026, 10, 2)) is None
    assert environment.month_of(date(2026, 12, 15), date(2026, 11, 15)) is None


def test_a_template_without_end_is_a_mistake_too(digests: SimpleNamespace, tmp_path: Path) -> None:
    path = override(tmp_path, "body.html", '{% include "email/digest/body.html" %}')

    with pytest.raises(RenderError, match="recursion") as caught:
        render(digests, tmp_path)

    assert f"{path}, line 1: " in caught.value.message


def test_a_template_that_is_not_utf8_is_named(digests: SimpleNamespace, tmp_path: Path) -> None:
    override(tmp_path, "subject.txt", "").write_bytes("Für Sie".encode("latin-1"))

    with pytest.raises(RenderError, match=r"subject\.txt, .* is not UTF-8"):
        render(digests, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("subject.txt", " \n", "no subject"),
        ("body.html", "<p>Hello</p>", "body.html has no link to unsubscribe"),
        ("body.html", "<p>{{ links.unsubscribe|upper }}</p>", "body.html has no link"),
        ("body.txt", "Hello", "body.txt has no link to unsubscribe"),
    ],
)
def test_a_mail_that_no_reader_may_be_sent_is_refused(
    digests: SimpleNamespace, tmp_path: Path, name: str, text: str, words: str
) -> None:
    override(tmp_path, name, text)

    with pytest.raises(RenderError, match=words) as caught:
        render(digests, tmp_path)

    assert f"email/digest/{name}" in (caught.value.hint or "")


def test_a_template_is_compiled_once_in_a_process_and_again_when_it_was_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = 0
    original = jinja2.Environment._compile

    def counted(self: jinja2.Environment, source: str, filename: str) -> CodeType:
        nonlocal compiled
        compiled += 1
        return original(self, source, filename)

    monkeypatch.setattr(jinja2.Environment, "_compile", counted)

    def rendered(name: str) -> str:
        return environment.render(environment.build(tmp_path, "en"), name, {"word": "<b>"})

    (tmp_path / "words.txt").write_text("{{ word }}")
    (tmp_path / "words.html").write_text("{% include 'words.txt' %}")
    assert [rendered("words.txt") for _ in range(3)] == ["<b>"] * 3
    assert compiled == 1
    # Imported by HTML, the same file is compiled once more, with autoescaping.
    assert [rendered("words.html") for _ in range(3)] == ["&lt;b&gt;"] * 3
    assert compiled == 3

    (tmp_path / "words.txt").write_text("now {{ word }}")
    assert (rendered("words.txt"), rendered("words.html")) == ("now <b>", "now &lt;b&gt;")
    assert compiled == 5


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("ja", "2 分"),
        ("th", "2 นาที"),
        ("zh", "2分钟"),
        ("ko", "2분"),
        ("vi", "2 phút"),
        ("fa", "2 دقیقه"),
    ],
)
def test_a_reading_time_has_words_in_languages_without_a_long_form(
    language: str, expected: str
) -> None:
    assert environment.reading_time(2, Locale.parse(language)) == expected


@pytest.mark.parametrize("length", ["short", "long"])
def test_no_language_shows_the_name_of_a_unit(length: Literal["short", "long"]) -> None:
    for language in (Locale.parse(one) for one in locale_identifiers() if len(one) == 2):
        for name in ("minute", "hour"):
            assert "duration" not in environment._unit(2, name, length, language)
