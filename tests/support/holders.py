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
    """Run a program that says a line once it holds what it is for, and reads its input to the end.

    `environment` is what it has beside this process's variables.
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
