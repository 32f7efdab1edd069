"""Where the processor's time goes: samples of one run by py-spy, gathered by room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench import Bench

#: A sample belongs to the first room, from the innermost frame on, of which a part matches.
_ROOMS = (
    ("the database", ("db/dialects.py", "do_execute", "do_commit", "do_begin", "fetchall")),
    ("transactions (SQLAlchemy)", ("sqlalchemy/", "sqlmodel/", "db/session.py", "contextlib.py")),
    (
        "the committer",
        (
            "sender/committer.py",
            "sender/claiming.py",
            "ledger/holding.py",
            "ledger/queue.py",
            "json/",
            "threading.py",
        ),
    ),
    (
        "filling and signing",
        ("personalize.py", "tokens.py", "itsdangerous/", "rendering/", "hmac.py", "base64.py"),
    ),
    ("the event loop and its sockets", ("selector_events.py", "selectors.py")),
    ("the SMTP session", ("smtp/",)),
    (
        "the worker",
        (
            "sender/worker.py",
            "sender/supply.py",
            "sender/connections.py",
            "ledger/retry.py",
            "clock.py",
        ),
    ),
    ("the event loop and its sockets", ("asyncio/",)),
)


def of_sending(bench: Bench) -> dict[str, float]:
    """Return each room's share of the samples of `newsletter send`; nothing without py-spy."""
    from stage import sinking

    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if spy is None:
        return {}
    with sinking() as port, bench.studio.sqlite(50_000) as stage:
        stage.aim(port, 50)
        stage.freeze()
        stage.engine.dispose()
        with tempfile.TemporaryDirectory() as folder:
            samples = Path(folder) / "samples"
            # A low rate: the process is stopped for each sample.
            options = ["--rate", "100", "--format", "raw", "--output", samples]
            done = subprocess.run(
                [
                    spy,
                    "record",
                    *map(str, options),
                    "--",
                    *map(str, stage.command("send", "weekly")),
                ],
                cwd=stage.folder,
                env=stage.env,
                capture_output=True,
                check=False,
            )
            return gathered(samples.read_text()) if done.returncode == 0 else {}


def gathered(samples: str) -> dict[str, float]:
    """Return the share of each room in py-spy's raw samples of the sending itself."""
    found: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        if "worker.py" in stack or "committer.py" in stack:
            found[_room(stack.split(";"))] += int(count)
    total = found.total()
    return {room: count / total for room, count in found.most_common()}


def _room(stack: list[str]) -> str:
    for frame in reversed(stack):
        for room, marks in _ROOMS:
            if any(mark in frame for mark in marks):
                return room
    return "the rest"
