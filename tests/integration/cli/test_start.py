"""What a command imports before it does anything: cron starts 288 times a day."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from newsletter.cli import garbage
from newsletter.cli.context import Context

_TABLES = {"sqlalchemy", "sqlmodel", "pydantic", "email_validator"}
_RENDERING = {"jinja2", "premailer", "markdown_it", "cssutils"}
_FETCHING = {"httpx", "feedparser", "lxml", "nh3"}
_SENDING = {"aiosmtplib", "uvloop"}
_SERVING = {"fastapi", "starlette", "uvicorn"}
#: Tables of Unicode, and what lays out a terminal.
_LAYOUT = {"rich", "wcwidth", "idna", "email_validator"}
_HEAVY = {"alembic", "asyncpg", "psycopg", *_RENDERING, *_SENDING, *_SERVING}


def imported(folder: Path, *words: str, code: int = 0) -> set[str]:
    """Return the packages that a run of the command, which exits with `code`, imports."""
    command = [sys.executable, "-X", "importtime", "-m", "newsletter", *words]
    run = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    names = (line.rpartition("|")[2].strip() for line in run.stderr.splitlines())
    return {name.partition(".")[0] for name in names}


def prepared(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "newsletter", "init"], cwd=folder, check=True, capture_output=True
    )
    return folder


def test_the_overview_of_commands_imports_none_of_them(tmp_path: Path) -> None:
    assert not imported(tmp_path, "--help") & {*_TABLES, *_FETCHING, *_HEAVY}


def test_what_cron_finds_nothing_to_do_for_is_not_imported(tmp_path: Path) -> None:
    found = imported(prepared(tmp_path), "cron", "--force")

    assert "sqlalchemy" in found
    assert not found & {*_FETCHING - {"nh3"}, *_HEAVY}


def test_the_version_of_the_schema_is_read_without_what_upgrades_it(tmp_path: Path) -> None:
    found = imported(prepared(tmp_path), "subscribers", "list")

    assert "sqlalchemy" in found
    assert not found & {"httpx", "feedparser", "lxml", *_HEAVY}


def test_a_look_at_the_newsletter_imports_nothing_that_lays_out_or_sends(tmp_path: Path) -> None:
    found = imported(prepared(tmp_path), "status", code=3)

    assert "sqlalchemy" in found
    assert not found & {*_LAYOUT, *_FETCHING - {"nh3"}, *_HEAVY}


@pytest.mark.parametrize("command", ["watchdog", "metrics"])
def test_what_runs_every_minute_imports_little(tmp_path: Path, command: str) -> None:
    found = imported(prepared(tmp_path), command)

    assert "sqlalchemy" in found
    assert not found & {"rich", "wcwidth", *_FETCHING - {"nh3"}, *_HEAVY}


@pytest.mark.parametrize("typo", ["feed", "sned", "statsu"])
def test_a_command_that_is_not_there_is_told_with_those_that_are_like_it(typo: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "newsletter", typo], check=False, capture_output=True, text=True
    )

    assert run.returncode == 2
    assert "Did you mean" in run.stderr


def test_no_line_of_an_overview_is_cut_off() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "newsletter", "editions", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert "..." not in run.stdout.partition("Commands:")[2]


def test_work_on_the_database_leaves_its_garbage_to_the_collector_as_usual(
    monkeypatch: pytest.MonkeyPatch, migrated_url: str
) -> None:
    """A long import makes cycles that each hold thousands of addresses."""
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", migrated_url)
    usual = gc.get_threshold()
    garbage.defer()
    assert gc.get_threshold()[0] > usual[0]

    with Context().database():
        assert gc.get_threshold() == usual
