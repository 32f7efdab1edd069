"""`newsletter templates`, and previews of sample articles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import terminal
from terminal import Run

DIGEST = "email/digest/body.html"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, in a folder without a database."""
    return terminal.at(tmp_path, monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of templates, set."""
    made = tmp_path / "templates"
    made.mkdir()
    monkeypatch.setenv("NEWSLETTER_TEMPLATES", str(made))
    return made


@pytest.fixture
def in_german(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language that has a catalogue."""
    monkeypatch.setenv("NEWSLETTER_LANGUAGE", "de")


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def test_templates_are_copied_and_not_twice(run: Run, folder: Path) -> None:
    first = run("templates", "copy", "email/digest", "web/box.html")
    write(folder, DIGEST, "mine")
    second = run("templates", "copy", "email/digest")

    assert (first.code, len(first.out.splitlines())) == (0, 4)
    assert (folder / "web" / "box.html").is_file()
    assert (second.code, len(second.err.splitlines())) == (0, 3)
    assert (folder / DIGEST).read_text() == "mine"


def test_a_copy_needs_a_folder_and_a_template_that_is_there(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = run("templates", "copy", "email/digset")
    escaped = run("templates", "copy", "../pyproject.toml")
    monkeypatch.delenv("NEWSLETTER_TEMPLATES")
    homeless = run("templates", "copy", "email/digest")

    assert (unknown.code, "There is no template email/digset." in unknown.err) == (1, True)
    assert (escaped.code, list(folder.iterdir())) == (1, [])
    assert (homeless.code, "No folder of templates is set." in homeless.err) == (2, True)


def test_the_list_says_which_templates_are_replaced_and_which_files_do_nothing(
    run: Run, folder: Path
) -> None:
    write(folder, DIGEST, "{% include 'parts/mine.html' %}")
    write(folder, "parts/mine.html", "mine")
    write(folder, "digest/body.txt", "in the wrong place")
    write(folder, ".DS_Store", "")

    listed = run("templates", "list", "--json").json

    names = {one["name"]: one["replaced"] for one in listed["templates"]}
    assert [name for name, is_replaced in names.items() if is_replaced] == [DIGEST]
    assert listed["unused"] == ["digest/body.txt"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("digest/body.html", "email/digest/body.html is one"),
        ("templates/email/digest/body.html", "email/digest/body.html is one"),
        ("email/digest/body.htm", "email/digest/body.html is one"),
        ("email/digset/body.html", "email/digest/body.html is one"),
        ("Email/Digest/Body.html", "email/digest/body.html is one"),
        ("box.html", "web/box.html is one"),
        ("notes/shopping.md", "used by none."),
        (None, "it is empty"),
    ],
)
def test_a_folder_that_overrides_nothing_is_named_wherever_one_looks(
    run: Run, folder: Path, name: str | None, meant: str
) -> None:
    if name:
        write(folder, name, "mine")
    run("database", "upgrade")

    looked = [run("templates", "check"), run("preview", "weekly", "--sample"), run("status")]

    assert [one.code for one in looked] == [3, 0, 3]
    for one in looked:
        said = " ".join((one.out + one.err).split())
        assert f"The folder of templates {folder} replaces no template" in said
        assert meant in said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (DIGEST, "{% if %}", f"{DIGEST}, line 1: Expected an expression"),
        (DIGEST, "\n{{ digest.leed }}", 'line 2: digest has no "leed"; did you mean "lead"?'),
        (DIGEST, "{{ title|uper }}", "No filter named 'uper'"),
        (DIGEST, "{% include 'none.html' %}", "none.html"),
        (DIGEST, "<p>No way out</p>", "has no link to unsubscribe"),
        (DIGEST, "{% for one in digest.sections %}{{ one.nam }}{% endfor %}", "'nam'"),
        ("email/digest/subject.txt", "", "has no subject"),
        ("email/welcome/body.txt", "{{ letter.firstat }}", 'did you mean "first_at"?'),
        ("email/goodbye/body.html", "{{ 1 / 0 }}", "division by zero"),
        ("web/box.html", "{{ page.cadense }}", 'did you mean "cadence"?'),
        ("web/goodbye.html", "{% block %}", "web/goodbye.html, line 1"),
        ("web/_layout/style.css", "{{ light.inc }}", "'inc'"),
        ("locale/de/LC_MESSAGES/messages.po", 'msgid "', "messages.po is no catalogue"),
    ],
)
@pytest.mark.usefixtures("in_german")
def test_a_mistake_is_found_by_the_check_before_cron_finds_it(
    run: Run, folder: Path, name: str, text: str, said: str
) -> None:
    write(folder, name, text)

    ran = run("templates", "check")

    assert (ran.code, ran.out) == (3, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_template_that_is_not_utf8_is_named(run: Run, folder: Path) -> None:
    write(folder, DIGEST, "")
    (folder / DIGEST).write_bytes(b"\xff\xfe{{")

    ran = run("templates", "check")

    assert (ran.code, "is not UTF-8" in ran.err) == (3, True)


def test_right_templates_pass_the_check(run: Run, folder: Path) -> None:
    assert run("templates", "copy", "email", "web").code == 0

    ran = run("templates", "check", "--json")

    assert (ran.code, ran.json["problems"]) == (0, [])
    assert run("templates", "check").out.endswith("every sample mail can be made with them.\n")


@pytest.mark.parametrize("cadence", ["daily", "weekly", "monthly"])
def test_a_sample_has_every_section_and_needs_no_database(
    run: Run, tmp_path: Path, cadence: str
) -> None:
    ran = run("preview", cadence, "--sample")

    assert (ran.code, ran.err) == (0, "")
    assert not (tmp_path / "newsletter.db").exists()
    page = (tmp_path / "preview" / f"{cadence}.html").read_text()
    for section in (
        "This note stands above",
        "In this edition",
        "and 6 more below",
        "Read the full story",
        ">Related<",
        "More headlines",
        "and 5 more on",
        "data:image/svg+xml",
        'class="title',
        "Unsubscribe",
    ):
        assert section in page, section


def test_a_sample_is_weekly_by_default_and_a_preview_needs_a_cadence(
    run: Run, tmp_path: Path
) -> None:
    assert "preview/weekly.html" in run("preview", "--sample").out
    refused = run("preview")

    assert refused.code == 2
    assert "name a cadence: daily, weekly or monthly" in refused.err


def test_a_typo_is_found_by_the_sample(run: Run, folder: Path, tmp_path: Path) -> None:
    write(folder, DIGEST, "{{ diggest }}")

    ran = run("preview", "weekly", "--sample")

    assert ran.code == 1
    assert f"{folder / DIGEST}, line 1: 'diggest' is undefined" in ran.err
    assert not (tmp_path / "preview").exists()


def test_a_watch_writes_the_mail_again_at_each_change_and_shows_what_is_wrong(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    run("templates", "copy", "email/digest")
    page, template = tmp_path / "preview" / "weekly.html", folder / DIGEST
    source = template.read_text()
    watching = subprocess.Popen(
        [
            *(sys.executable, "-c", "from newsletter.cli.app import main; main()"),
            *("preview", "weekly", "--sample", "--watch"),
        ],
        cwd=tmp_path,
        env=dict(os.environ),
    )
    try:
        until(lambda: "More headlines" in page.read_text() and "refresh" in page.read_text(), page)
        template.write_text(source.replace('_("More headlines")', "typo"))
        until(lambda: "&#x27;typo&#x27; is undefined" in page.read_text(), page)
        template.write_text(source.replace("More headlines", "The rest"))
        until(lambda: "The rest" in page.read_text(), page)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 0
    finally:
        watching.kill()
        watching.wait()


def until(is_so: Callable[[], bool], page: Path) -> None:
    for _ in range(1_200):
        if page.is_file() and is_so():
            return
        time.sleep(0.1)
    pytest.fail(f"{page.name} was not written so")


@pytest.mark.parametrize("with_", [["--json"], ["--to", "ann@example.org"]])
def test_a_watch_sends_nothing_and_is_for_people(run: Run, folder: Path, with_: list[str]) -> None:
    assert folder.is_dir()
    assert run("preview", "weekly", "--sample", "--watch", *with_).code == 2


def test_a_watch_needs_a_folder(run: Run) -> None:
    ran = run("preview", "weekly", "--sample", "--watch")

    assert (ran.code, "there is nothing to watch" in ran.err) == (2, True)
