"""Whatever an operator types, and wherever: one sentence and a way out, never a traceback."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from newsletter.cli import app, demo

if TYPE_CHECKING:
    from terminal import Run

ENORMOUS = "9" * 30


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["articles", "show", ENORMOUS], 2),
        (["articles", "approve", ENORMOUS], 2),
        (["articles", "list", "--feed", ENORMOUS], 2),
        (["articles", "list", "--offset", ENORMOUS], 2),
        (["delivery", "retry", ENORMOUS], 2),
        (["delivery", "list", "--limit", ENORMOUS], 2),
        (["editions", "list", "--limit", ENORMOUS], 2),
        (["subscribers", "list", "--limit", ENORMOUS], 2),
        (["suppression", "list", "--limit", ENORMOUS], 2),
        (["feeds", "remove", ENORMOUS], 1),
        (["feeds", "remove", "9" * 5_000], 1),
    ],
)
def test_a_number_that_no_database_can_hold_is_refused(
    run: Run, command: list[str], code: int
) -> None:
    ran = run(*command)

    assert (ran.code, ran.out) == (code, "")
    assert "The program failed" not in ran.err


@pytest.mark.parametrize("reason", ["\udcff", "a\x1b[31mb", "two\nlines"])
def test_a_reason_that_no_list_can_show_is_refused(run: Run, reason: str) -> None:
    assert run("suppression", "add", "a@example.org", "--reason", reason).code == 2
    assert run("editions", "cancel", "weekly-2026-11-23", "--reason", reason).code == 2


@pytest.mark.parametrize("day", ["9999-12-31", "2250-01-01"])
def test_a_pause_that_no_calendar_holds_is_refused_and_changes_nothing(run: Run, day: str) -> None:
    run("subscribers", "add", "a@example.org")

    refused = run("subscribers", "change", "a@example.org", "--pause-until", day)

    assert refused.code == 2
    assert "within a hundred years" in refused.err
    shown = run("subscribers", "show", "a@example.org", "--json")
    assert json.loads(shown.out)["status"] == "active"


def test_an_imported_pause_that_no_calendar_holds_is_a_rejected_line(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "readers.csv").write_text(
        "address,status,paused until\na@example.org,paused,9999-12-31\n"
        "b@example.org,paused,2999-12-31\n"
    )

    imported = json.loads(run("subscribers", "import", "readers.csv", "--json").out)

    assert (imported["added"], imported["rejected"]) == (1, 1)
    assert imported["first_rejected"][0]["line"] == 2
    assert run("subscribers", "show", "b@example.org").code == 0


# Folders and files


@pytest.mark.parametrize(
    "command",
    [
        ["--config", "nowhere/newsletter.toml", "init"],
        ["demo", "--folder", "file"],
        ["demo", "--folder", "file/below"],
    ],
)
def test_what_cannot_be_written_is_said_in_words(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("something")
    (tmp_path / "readers.csv").write_text("address\nnobody\n")

    ran = run(*command)

    assert ran.code == 1
    assert "The program failed" not in ran.err
    assert "Look at the folder" in ran.err


def test_rejected_lines_go_to_no_device(run: Run, tmp_path: Path) -> None:
    (tmp_path / "readers.csv").write_text("address\nnobody\n")

    ran = run("subscribers", "import", "readers.csv", "--rejects", "/dev/full")

    assert ran.code == 2
    assert "/dev/full is no file." in ran.err


@pytest.mark.parametrize("place", ["pipe", "."])
def test_an_export_takes_the_place_of_no_device_and_no_folder(
    run: Run, tmp_path: Path, place: str
) -> None:
    os.mkfifo(tmp_path / "pipe")

    ran = run("subscribers", "export", place)

    assert ran.code == 2
    assert "is no file" in ran.err
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_behind_the_output_is_said_in_words(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(app, "app", full)

    assert run("status").err.startswith("No space left on device.")


def test_an_error_that_nobody_expected_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong() -> None:
        raise RuntimeError("a\nb")

    monkeypatch.setattr(app, "app", wrong)

    ran = run("status")

    assert ran.code == 1
    assert "The program failed: RuntimeError: a (app.py, line" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", [["status"], ["database", "upgrade"], ["send", "weekly"]])
def test_a_file_that_is_no_database_is_said_in_words(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader, " * 1_000)
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", "sqlite:///letter.txt")

    ran = run(*command)

    assert ran.code == 1
    assert "file is not a database" in ran.err
    assert "NEWSLETTER_DATABASE_URL" in ran.err


def test_an_upgrade_where_nothing_can_be_written_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", "sqlite:////proc/newsletter.db")

    ran = run("database", "upgrade")

    assert ran.code == 75
    assert "unable to open database file" in ran.err


def test_options_in_the_url_of_a_file_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", "sqlite:///what?.db")

    ran = run("status")

    assert (ran.code, ran.out) == (2, "")
    assert "A SQLite URL takes no options" in ran.err
    assert "%3F" in ran.err
    assert not (tmp_path / "what").exists()


def test_a_new_database_is_its_owners_alone(run: Run, tmp_path: Path) -> None:
    run("subscribers", "add", "a@example.org")

    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("newsletter.db*")}
    assert modes
    assert set(modes.values()) == {0o600}


def test_a_language_nobody_speaks_is_refused_before_anything_is_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_LANGUAGE", "klingon")

    ran = run("status")

    assert (ran.code, ran.out) == (2, "")
    assert "NEWSLETTER_LANGUAGE" in ran.err
    assert "'klingon' is not a language" in ran.err


def test_a_newer_schema_is_not_to_be_upgraded(run: Run, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    for command in (["status"], ["database", "upgrade"]):
        ran = run(*command)
        assert ran.code == 1
        assert "does not know" in ran.err
        assert "a newer one" in ran.err
    shown = run("database", "status")
    assert shown.code == 3
    assert "database upgrade" not in shown.out


# What a terminal cannot show


@pytest.fixture
def latin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bytes]:
    """Print to a terminal in Latin-1, and return the octets that it was sent."""
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, encoding="latin-1", errors="strict", write_through=True)

    def begin() -> bytes:
        monkeypatch.setattr(sys, "stdout", terminal)
        return raw.getvalue()

    return begin


def test_a_title_that_the_terminal_cannot_show_fails_no_command(
    run: Run, latin: Callable[[], bytes]
) -> None:
    run("articles", "add", "--title", "مرحبا 👋", "--link", "https://example.org/1")
    latin()

    assert run("articles", "list").code == 0
    assert b"\\u0645" in latin()


def test_json_is_json_in_every_encoding(run: Run, latin: Callable[[], bytes]) -> None:
    run("articles", "add", "--title", "é مرحبا 👋", "--link", "https://example.org/1")
    latin()

    assert run("articles", "list", "--json").code == 0
    assert json.loads(latin())["articles"][0]["title"] == "é مرحبا 👋"


def test_an_export_is_utf8_whatever_the_terminal_is(run: Run, latin: Callable[[], bytes]) -> None:
    run("subscribers", "add", "jörg@example.org")
    latin()

    assert run("subscribers", "export").code == 0
    assert "jörg@example.org".encode() in latin()


def test_an_export_without_a_file_has_nothing_to_report_on(run: Run) -> None:
    ran = run("subscribers", "export", "--json")

    assert (ran.code, ran.out) == (2, "")


# The demo stands alone


def test_the_demo_touches_no_newsletter_that_the_environment_names(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", f"sqlite:///{tmp_path / 'real.db'}")
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://real.example:25")
    monkeypatch.setenv("NEWSLETTER_BASE_URL", "https://real.example")
    run("database", "upgrade")
    run("subscribers", "add", "real@example.org")

    ran = run("demo", "--json")

    assert ran.code == 0
    assert len(json.loads(ran.out)["mails"]) == 9
    assert json.loads(run("subscribers", "list", "--json").out)["total"] == 1
    assert json.loads(run("editions", "list", "--json").out)["editions"] == []
    mail = next((tmp_path / "demo" / "mails").glob("*.eml")).read_text()
    assert "real.example" not in mail


@pytest.mark.parametrize(
    "name",
    [
        "50%25 what? b#c",
        *(pytest.param(name, marks=pytest.mark.torture) for name in ("50%25", "what?", "a b#c")),
    ],
)
def test_the_demo_runs_in_a_folder_of_any_name(run: Run, tmp_path: Path, name: str) -> None:
    ran = run("demo", "--folder", name, "--json")

    assert ran.code == 0
    assert (tmp_path / name / "newsletter.db").exists()


def test_the_demo_replaces_an_older_demo_but_no_newsletter(run: Run, tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "mails").mkdir(parents=True)
    run("--config", str(real / "newsletter.toml"), "init")

    ran = run("demo", "--folder", str(real))

    assert ran.code == 1
    assert "something else" in ran.err
    assert (real / "newsletter.toml").exists()
    older = tmp_path / "older"
    (older / "mails").mkdir(parents=True)
    (older / "newsletter.toml").write_text(f'sender = "{demo._SENDER}"\n')
    with demo._fresh(older):
        assert not (older / "newsletter.toml").exists()


def test_the_version_is_said_even_where_nothing_is_installed() -> None:
    program = """
import sys
from importlib import metadata

known = metadata.version

def version(name):
    if name == "newsletter-delivery":
        raise metadata.PackageNotFoundError(name)
    return known(name)

metadata.version = version
sys.argv = ["newsletter", "--version"]
from newsletter.cli.app import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert ended.stdout == "newsletter (not installed)\n"
