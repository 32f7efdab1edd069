"""Runs commands as an operator does, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import terminal
from terminal import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command, in a folder with a database of this test's own."""
    run = terminal.at(tmp_path, monkeypatch, capsys)
    assert run("database", "upgrade").code == 0
    return run
