"""The output of commands: tables for people, one JSON object for scripts, progress bars."""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from newsletter.cli import streams

if TYPE_CHECKING:
    from rich.progress import Progress

#: The option of everything that lists or reports.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]

#: The largest integer of a database column; no id is larger.
LARGEST = 2**63 - 1

#: Columns of a table's line that is no terminal's: a row stays one line, for grep and for logs.
_LOG_WIDTH = 200
_YELLOW, _BOLD_RED = "33", "1;31"
#: C1 controls, line separators, bidirectional controls, and surrogates.
_ABOVE_ASCII = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_ACTING = re.compile(f"[\x00-\x1f{_ABOVE_ASCII}]")
_ACTING_IN_JSON = re.compile(f"[{_ABOVE_ASCII}]")
_BREAK = re.compile(r"[\r\n\t]+")


def say(sentence: str) -> None:
    """Print a sentence for the operator."""
    _write(streams.stdout(), "\n".join(map(printable, sentence.split("\n"))))


def warn(sentence: str, hint: str | None = None) -> None:
    """Print a warning to standard error, and a hint what to do if there is one."""
    _write(sys.stderr, printable(f"{sentence} {hint or ''}".rstrip()), colour=_YELLOW)


def error(sentence: str, hint: str | None = None) -> None:
    """Print why a command has failed to standard error, and below it a hint what to do."""
    _write(sys.stderr, printable(sentence), colour=_BOLD_RED)
    if hint:
        _write(sys.stderr, printable(hint))


def trace() -> None:
    """Print the traceback of the error that is handled, to standard error."""
    _write(sys.stderr, "\n".join(map(printable, traceback.format_exc().splitlines())))


def place(exc: Exception) -> str:
    """Name the innermost line of this program in an error's traceback."""
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if f"{Path(__file__).parents[1].name}/" in frame.filename]
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


def printable(text: str) -> str:
    """Return a text on one line that a terminal shows, and does not interpret.

    It may hold text of mail servers, feeds and readers: line breaks become blanks, and other
    control characters, bidirectional ones (UAX 9) among them, become their escapes.
    """
    return _ACTING.sub(lambda found: ascii(found[0])[1:-1], _BREAK.sub(" ", text))


def as_json(value: Mapping[str, Any], *, is_line: bool = False) -> None:
    """Print one JSON object: instants in ISO 8601 with their offset, dates as dates."""
    # Where the output is no UTF-8, JSON's own escapes stand for what it cannot hold.
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    indent = None if is_line else 2
    written = json.dumps(value, default=_plain, ensure_ascii=not is_utf8, indent=indent)
    # Of control characters, JSON itself escapes those below the blank alone.
    sys.stdout.write(_ACTING_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print rows under their columns; text from outside is never read as markup."""
    cells = [[printable(_shown(cell)) for cell in row] for row in rows]
    stream = streams.stdout()
    if not (title or streams.is_terminal(stream)) and (lines := _aligned([columns, *cells])):
        _write(stream, "\n".join(lines))
        return
    # Imported only where needed: it takes longer than most commands.
    from newsletter.cli import screen

    screen.table(columns, cells, title, width=None if streams.is_terminal(stream) else _LOG_WIDTH)


def counted(count: int, thing: str) -> str:
    """Return `1 reader`, `2 readers`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def listed(words: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def progress() -> Progress:
    """Return a progress bar with rate and remaining time; silent without a terminal."""
    from newsletter.cli import screen

    return screen.progress()


def waiting() -> AbstractContextManager[Callable[[str], None]]:
    """Show a spinner and what is waited for; nothing without a terminal."""
    from newsletter.cli import screen

    return screen.waiting()


def _write(stream: TextIO | None, text: str, *, colour: str = "") -> None:
    """Print text, on a terminal in a colour (ECMA-48), and drop it once its reader has ended.

    `tee` ends at Ctrl-C; the process must not, for mails may be in flight.
    """
    if stream is None:
        return
    if colour and streams.is_terminal(stream) and _has_colours():
        text = f"\x1b[{colour}m{text}\x1b[0m"
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        streams.discard(stream)


def _has_colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}


def _aligned(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """Return the lines of a table; None where rich has to measure or to fold them."""
    if not all(cell.isascii() for row in rows for cell in row):
        return None
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > _LOG_WIDTH:
        return None
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


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
