"""Joins the commands and maps what went wrong to a sentence, a way out and an exit code.

Exit codes: 0 done or nothing to do, 1 failed, 2 usage, 3 findings, 75 try again later.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli import (
    articles,
    context,
    database,
    delivery,
    demo,
    editions,
    feeds,
    init,
    output,
    preview,
    send,
    serve,
    status,
    subscribers,
    suppression,
)
from newsletter.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    NewsletterError,
    TransportUnavailable,
)

FAILED = 1
USAGE = 2
#: EX_TEMPFAIL of sysexits.h: the same command will work later.
TRY_AGAIN = 75

app = typer.Typer(
    name="newsletter",
    help="Digests from feeds, one per reader and period, delivered without losing or doubling any.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    init.init,
    demo.demo,
    send.send,
    send.cron,
    serve.serve,
    preview.preview,
    status.status,
):
    app.command()(verb)
for noun in (subscribers, feeds, articles, editions, delivery, suppression, database):
    app.add_typer(noun.app, name=noun.__name__.rpartition(".")[2])


def _say(on: bool) -> None:
    if on:
        output.say(f"newsletter {version('newsletter-delivery')}")
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


def main() -> None:
    """Run the command line; what goes wrong is one sentence and a hint, never a traceback."""
    try:
        app()
    except NewsletterError as exc:
        output.err.print(exc.message, style="bold red", markup=False)
        if exc.hint:
            output.err.print(exc.hint, markup=False)
        sys.exit(_exit_code(exc))
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); the descriptor must not fail again at exit.
        sys.stdout = None
        sys.exit(FAILED)


def _exit_code(exc: NewsletterError) -> int:
    if isinstance(exc, ConfigurationError | InvalidInput):
        return USAGE
    if isinstance(exc, TransportUnavailable | DatabaseUnavailable):
        return TRY_AGAIN
    return FAILED
