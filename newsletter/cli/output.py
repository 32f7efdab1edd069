"""The output of commands: tables for people, one JSON object for scripts, progress bars."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from newsletter import logs
from newsletter.cli import streams
from newsletter.logs import events, lines

if TYPE_CHECKING:
    from rich.progress import Progress

#: The option of all commands that list or report.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]

#: The largest integer of a database column; no id is larger.
LARGEST = 2**63 - 1

#: Makes text of strangers printable: one line, without characters that a terminal interprets.
printable = lines.printable

#: Columns of a table without a terminal; wide, so that each row stays one line for grep and logs.
_LOG_WIDTH = 200
_YELLOW, _BOLD_RED = "33", "1;31"
#: Maximum of printed texts that a recording keeps.
_RECORDED = 200


#: The recordings that are running: see `recorded`.
_recordings: list[Recording] = []


@dataclass(frozen=True)
class Recording:
    """The last lines that are printed while the recording runs."""

    #: The thread whose lines are recorded; None for all threads.
    thread: int | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_RECORDED))

    def add(self, text: str) -> None:
        """Add some lines."""
        if self.thread in {None, get_ident()}:
            self.lines.append(text)


@contextmanager
def recorded(*, by_this_thread: bool = False) -> Iterator[Recording]:
    """Record printed lines, and notices that are logged instead, of all threads or this one."""
    recording = Recording(get_ident() if by_this_thread else None)
    _recordings.append(recording)
    try:
        yield recording
    finally:
        _recordings.remove(recording)


def _record(text: str) -> None:
    for recording in tuple(_recordings):
        recording.add(text)


def say(sentence: str) -> None:
    """Print a sentence for the operator."""
    _write(streams.stdout(), "\n".join(map(printable, sentence.split("\n"))))


def warn(sentence: str, hint: str | None = None) -> None:
    """Print a warning to standard error, with a hint if there is one.

    If logging is configured, the warning is a line of the log instead.
    """
    if logs.configured():
        _record(logs.in_words(sentence, hint))
        events.NOTICE(message=logs.in_words(sentence, hint))
    else:
        _write(sys.stderr, printable(logs.in_words(sentence, hint)), colour=_YELLOW)


def trouble(sentence: str, hint: str | None = None) -> None:
    """Print a problem that was also logged; if logging is configured, nothing is printed."""
    if logs.configured():
        _record(logs.in_words(sentence, hint))
    else:
        warn(sentence, hint)


def error(sentence: str, hint: str | None = None) -> None:
    """Print the reason of a failed command to standard error, with a hint if there is one.

    The error is printed as a sentence even if logging is configured, unless the log format is JSON.
    """
    where = logs.configured()
    if where and where.form == "json":
        events.FAILURE(message=logs.in_words(sentence, hint))
        return
    _write(sys.stderr, printable(sentence), colour=_BOLD_RED)
    if hint:
        _write(sys.stderr, printable(hint))


def place(exc: Exception) -> str:
    """Return file and line of the innermost frame of this program in an error's traceback."""
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if f"{Path(__file__).parents[1].name}/" in frame.filename]
    last = (ours or frames)[-1]
    return f"{Path(last.filename).name}, line {last.lineno}"


def as_json(value: Mapping[str, Any], *, is_line: bool = False) -> None:
    """Print one JSON object: instants in ISO 8601 with their offset, dates as dates."""
    # If the output is not UTF-8, characters outside ASCII are written as JSON escapes.
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    indent = None if is_line else 2
    written = json.dumps(value, default=_plain, ensure_ascii=not is_utf8, indent=indent)
    text = lines.safe_json(written)
    _record(text)
    sys.stdout.write(f"{text}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table; text of strangers is never interpreted as markup."""
    cells = [[printable(_shown(cell)) for cell in row] for row in rows]
    stream = streams.stdout()
    if not (title or streams.is_terminal(stream)) and (lines := _aligned([columns, *cells])):
        _write(stream, "\n".join(lines))
        return
    # Imported late: it takes longer than most commands.
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


def live() -> AbstractContextManager[Callable[[list[str]], None]]:
    """Yield a function that replaces the lines shown on the terminal; the last ones remain."""
    from newsletter.cli import screen

    return screen.live()


def waiting() -> AbstractContextManager[Callable[[str], None]]:
    """Show a spinner with the reason of waiting; silent without a terminal."""
    from newsletter.cli import screen

    return screen.waiting()


def _write(stream: TextIO | None, text: str, *, colour: str = "") -> None:
    """Print text, on a terminal in a colour (ECMA-48); drop it if the reader of a pipe has ended.

    `tee` ends at Ctrl-C, but this process must not, because mails may be in flight.
    """
    _record(text)
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
    """Return the lines of a simple table; None if rich has to measure or fold its cells."""
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
