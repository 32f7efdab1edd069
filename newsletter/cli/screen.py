"""Output drawn by rich: tables that fold, progress bars and spinners."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
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

from newsletter.cli import streams
from newsletter.cli.cells import Cell


class _Console(Console):
    """A console that drops output if the reader of a pipe has ended; rich would end the process."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        streams.discard(self.file)


_err = _Console(stderr=True, soft_wrap=True, highlight=False)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str, *, width: int | None
) -> None:
    """Print rows under their columns, folded to `width` or to the terminal."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, header_style="bold", overflow="fold")
    for row in rows:
        made.add_row(*map(Cell, row))
    _Console(highlight=False, width=width).print(made)


def progress() -> Progress:
    """Return a progress bar with rate and remaining time; silent without a terminal."""
    return _progress(BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())


@contextmanager
def waiting() -> Iterator[Callable[[str], None]]:
    """Show a spinner with the reason of waiting; silent without a terminal."""
    with _progress() as shown:
        task = shown.add_task("", total=None)
        yield lambda words: shown.update(task, description=words)


@contextmanager
def live() -> Iterator[Callable[[list[str]], None]]:
    """Yield a function that replaces the shown lines; the last ones remain."""
    with Live(console=_Console(highlight=False), auto_refresh=False) as shown:
        yield lambda lines: shown.update(_column(lines), refresh=True)


def _column(lines: Sequence[str]) -> Table:
    made = Table.grid()
    for line in lines:
        made.add_row(Cell(line))
    return made


def _progress(*columns: ProgressColumn) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *columns,
        console=_err,
        disable=not _err.is_terminal,
        transient=True,
    )


class _Rate(ProgressColumn):
    """A column with the steps per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")
