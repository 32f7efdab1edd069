"""Runs commands as an operator does, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import terminal
from terminal import Run


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    migrated_sqlite: Path,
) -> Run:
    """Run a command, in a folder with a database of this test's own."""
    terminal.placed(migrated_sqlite, tmp_path)
    return terminal.at(tmp_path, monkeypatch, capsys)
