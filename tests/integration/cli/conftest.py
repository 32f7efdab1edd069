"""Somebody at a terminal, in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import terminal
from terminal import Run

SECRET = "0123456789abcdef0123456789abcdef-for-tests"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, in a folder with a database of this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEWSLETTER_SECRET_KEYS", SECRET)

    run = terminal.at(monkeypatch, capsys)
    assert run("database", "upgrade").code == 0
    return run
