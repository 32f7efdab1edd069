"""Separate processes that hold a resource until they are ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def holding(
    program: str, *arguments: str, says: str, **environment: object
) -> Iterator[subprocess.Popen[str]]:
    """Run a program that prints a line once it holds a resource, and ends when its input ends.

    `environment` has variables in addition to those of this process.
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == f"{says}\n"
            yield process
        finally:
            process.kill()
