"""`newsletter metrics`: all metrics as Prometheus reads them, printed or written to a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli import context, output
from newsletter.errors import InvalidInput

#: The textfile collector runs as another user.
_MODE = 0o644


def metrics(
    ctx: typer.Context,
    *,
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Write them to this file, which is replaced whole: for the textfile collector of "
            "Prometheus' node_exporter, where its name has to end in .prom.",
        ),
    ] = None,
) -> None:
    """Print all metrics of the newsletter, in the text format of Prometheus.

    `newsletter desk` serves the same at /metrics.
    """
    from newsletter.metrics import exposition
    from newsletter.sender.limits import Limits

    found = context.of(ctx)
    with found.database() as engine:
        octets, _ = exposition.scrape(engine, found.publication, Limits.of(found.settings))
    if output_file is None:
        output.say(octets.decode().rstrip("\n"))
    else:
        _replace(output_file, octets)


def _replace(file: Path, octets: bytes) -> None:
    """Write a file under another name and rename it, so that nobody reads half of a file."""
    try:
        # Another suffix, because the collector reads every *.prom in the folder.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(octets)
                os.fchmod(stream.fileno(), _MODE)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise InvalidInput(
            f"{file} cannot be written: {exc.strerror}.",
            hint="Look at its folder, at who owns that, and at the space there.",
        ) from exc
