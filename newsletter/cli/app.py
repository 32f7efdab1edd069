"""Runs a command and maps errors to a sentence, a hint and an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from newsletter import logs
from newsletter.cli import context, exits, garbage, output
from newsletter.cli.commands import Commands
from newsletter.errors import NewsletterError

app = typer.Typer(
    name="newsletter",
    cls=Commands,
    help="Digests from feeds, one per reader and period, delivered without losing or doubling any.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Without rich, whose import takes longer than everything else that `--help` needs.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say(on: bool) -> None:
    if on:
        # Imported late: reading the package's metadata takes longer than parsing a command line.
        from newsletter.version import VERSION

        output.say(f"newsletter {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The settings file, if not ./newsletter.toml."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_say)
    ] = False,
) -> None:
    """Run one command of the newsletter."""
    ctx.obj = context.Context(config=config)


def program() -> Commands:
    """Return all commands, imported, to generate their documentation."""
    found = typer.main.get_command(app)
    assert isinstance(found, Commands)
    found.load_all()
    return found


def main() -> None:
    """Run the command line; an error is printed as a sentence and a hint, without a traceback."""
    _print_anything()
    garbage.defer()
    try:
        app()
    except NewsletterError as exc:
        output.error(exc.message, exc.hint)
        sys.exit(exits.of(exc))
    except BrokenPipeError:
        # The reader of the output has closed the pipe (`| head`); flushing must not fail again at
        # exit.
        sys.stdout = None
        sys.exit(exits.FAILED)
    except OSError as exc:
        place = f"{exc.filename}: " if exc.filename else ""
        _give_up_output()
        hint = "Look at the folder, its owner and its space."
        output.error(f"{place}{exc.strerror or exc}.", hint)
        sys.exit(exits.FAILED)
    except Exception as exc:  # noqa: BLE001 - the last net
        output.error(
            f"The program failed: {type(exc).__name__}: {_first_line(exc)} ({output.place(exc)}).",
            "That should not be: please report it. Nothing is lost; the ledger says what has left.",
        )
        sys.exit(exits.FAILED)
    finally:
        logs.end()
        # Otherwise the interpreter would traverse all objects twice more at exit.
        garbage.resume()


def _print_anything() -> None:
    """Escape characters that the output's encoding does not have, so that printing never fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Drop output that cannot be written (a full disk), so that it does not fail at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = None


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), "")
