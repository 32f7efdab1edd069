"""Somebody at a terminal, in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from newsletter.cli import app

SECRET = "0123456789abcdef0123456789abcdef-for-tests"


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, in a folder with a database of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEWSLETTER_SECRET_KEYS", SECRET)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["newsletter", *arguments])
        with pytest.raises(SystemExit) as caught:
            app.main()
        printed = capsys.readouterr()
        code = caught.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    assert run("database", "upgrade").code == 0
    return run
