"""Runs commands in this process, with the output that a terminal would show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ledgers
import pytest

from newsletter.cli import app, commands


class Ran(NamedTuple):
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]
#: The commands, each built once: that takes longer than most of them run.
loaded = cache(commands.load)


def complete() -> dict[str, str]:
    """Return the settings that are required for sending mail and signing links."""
    return {
        "sender": "Mia's Feed <digest@miasfeed.example>",
        "base_url": "https://news.miasfeed.example",
        "postal_address": "Mia's Feed, 12 Harbour Street, Portsmouth",
        "secret_keys": ledgers.SECRET,
    }


def placed(migrated: Path, folder: Path) -> None:
    """Put a copy of a migrated database where the commands of a folder look for theirs.

    `newsletter database upgrade` takes most of the time of such a test.
    """
    shutil.copy(migrated, folder / "newsletter.db")


def at(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command, on a wide terminal, with the database in a folder."""
    monkeypatch.chdir(folder)
    for name, value in complete().items():
        monkeypatch.setenv(f"NEWSLETTER_{name.upper()}", value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(commands, "load", loaded)

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["newsletter", *arguments])
        with pytest.raises(SystemExit) as caught:
            app.main()
        printed = capsys.readouterr()
        code = caught.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run
