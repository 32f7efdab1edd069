"""What it costs to start a command: processor time beside the import of what it is built on."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: Each command is measured so often, in turn with the others; the median counts.
TRIES = 9
_PACKAGES = "import typer, rich"
_TABLES = "import sqlmodel, typer, rich"
#: A command, the import that it is compared with, and the ratio that it may have.
LIMITS = {
    "--help": (_PACKAGES, 2.0),
    "status": (_TABLES, 1.5),
    "cron": (_TABLES, 2.0),
}


def costs(folder: Path) -> dict[str, float]:
    """Return the processor seconds of each command, with nothing due, and of each import."""
    folder.mkdir()
    _run(_command("init"), folder)
    commands: dict[str, Sequence[str]] = {
        _PACKAGES: (sys.executable, "-c", _PACKAGES),
        _TABLES: (sys.executable, "-c", _TABLES),
        "--help": _command("--help"),
        "status": _command("status"),
        # The settings are those of `init`, which are not fit for readers.
        "cron": _command("cron", "--force"),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TRIES):
        for name, command in commands.items():
            taken[name].append(_run(command, folder))
    return {name: statistics.median(found) for name, found in taken.items()}


def _command(*words: str) -> Sequence[str]:
    return (sys.executable, "-m", "newsletter", *words)


def _run(command: Sequence[str], folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
