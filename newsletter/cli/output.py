"""The output of commands: tables for people, one JSON object for scripts, progress bars."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from newsletter.cli.cells import Cell

#: The option of everything that lists or reports.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]

#: The largest integer of a database column; no id is larger.
LARGEST = 2**63 - 1

_LOG_WIDTH = 200
#: C1 controls, line separators, bidirectional controls, and surrogates.
_ABOVE_ASCII = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_ACTING = re.compile(f"[\x00-\x1f{_ABOVE_ASCII}]")
_ACTING_IN_JSON = re.compile(f"[{_ABOVE_ASCII}]")
_BREAK = re.compile(r"[\r\n\t]+")


class _Console(Console):
    """A console that drops its output once its reader has ended, as `tee` has after Ctrl-C.

    rich would end the process, and mails may be in flight.
    """

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # For what is still in the stream's buffer when the command ends.
        with suppress(OSError), open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor
            os.dup2(nothing.fileno(), self.file.fileno())


out = _Console(soft_wrap=True, highlight=False)
err = _Console(stderr=True, soft_wrap=True, highlight=False)


def say(sentence: str) -> None:
    """Print a sentence for the operator; markup in it is text."""
    out.print("\n".join(map(printable, sentence.split("\n"))), markup=False)


def warn(sentence: str, hint: str | None = None) -> None:
    """Print a sentence, and the way out where there is one, to standard error."""
    err.print(printable(f"{sentence} {hint or ''}".rstrip()), markup=False, style="yellow")


def trace() -> None:
    """Print the traceback of the error that is handled, to standard error."""
    lines = traceback.format_exc().splitlines()
    err.print("\n".join(map(printable, lines)), markup=False)


def printable(text: str) -> str:
    """Return a text on one line that a terminal shows, and does not interpret.

    It may hold text of mail servers, feeds and readers: line breaks become blanks, and other
    control characters, bidirectional ones (UAX 9) among them, become their escapes.
    """
    return _ACTING.sub(lambda found: ascii(found[0])[1:-1], _BREAK.sub(" ", text))


def as_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object: instants in ISO 8601 with their offset, dates as dates."""
    # Where the output is no UTF-8, JSON's own escapes stand for what it cannot hold.
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    written = json.dumps(value, default=_plain, ensure_ascii=not is_utf8, indent=2)
    # Of control characters, JSON itself escapes those below the blank alone.
    sys.stdout.write(_ACTING_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print rows under their columns; text from outside is never read as markup."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, header_style="bold", overflow="fold")
    for row in rows:
        made.add_row(*(Cell(printable(_shown(cell))) for cell in row))
    # Without a terminal a row stays one line, for grep and for logs.
    _Console(highlight=False, width=None if out.is_terminal else _LOG_WIDTH).print(made)


def counted(count: int, thing: str) -> str:
    """Return `1 reader`, `2 readers`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def progress() -> Progress:
    """Return a progress bar with rate and remaining time; silent without a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )


@contextmanager
def waiting() -> Iterator[Callable[[str], None]]:
    """Show a spinner and what is waited for; nothing without a terminal."""
    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )
    with shown:
        task = shown.add_task("", total=None)
        yield lambda words: shown.update(task, description=words)


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.strftime("%Y-%m-%d %H:%M %Z")
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
