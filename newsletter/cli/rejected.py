"""Messages of the commands that import CSV, about lines that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.cli import output
from newsletter.errors import InvalidInput

if TYPE_CHECKING:
    from newsletter.subscribers.csv_rows import Rejection


def file_beside(file: Path, chosen: Path | None) -> Path:
    """Return the path of the file for the rejected lines."""
    if chosen is None:
        return Path("stdin.rejected.csv") if str(file) == "-" else Path(f"{file}.rejected.csv")
    if chosen.exists() and file.exists() and chosen.samefile(file):
        raise InvalidInput("The rejected lines would overwrite the file that is imported.")
    return chosen


def as_json(lines: Iterable[Rejection]) -> list[dict[str, object]]:
    return [{"line": one.line, "reason": one.reason} for one in lines]


def say(lines: Iterable[Rejection], target: Path | None = None) -> None:
    """Print the first rejected lines, and the file that has all of them, if there is one."""
    for one in lines:
        output.warn(f"Line {one.line}: {one.reason}")
    if target is not None:
        output.warn(f"All rejected lines are in {target}: mend them there, and import that file.")
