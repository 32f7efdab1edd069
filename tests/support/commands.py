"""Runs commands in forks of one interpreter: starting one takes longer than most commands.

    python commands.py PATH

It imports every command and what they are built on, listens on the UNIX socket PATH, and for each
connection takes one order: a folder, an environment, the words of a command, and three descriptors.
The answer is the exit code, as a shell has it. What a fresh interpreter does differently is tried
by the tests that start one: tests/integration/cli/test_start.py, test_install.py, test_project.py.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

_TIMEOUT_SECONDS = 300
_LONGEST_ORDER = 1_000_000
_ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def run(words: list[str], *, folder: Path, env: dict[str, str], stdin: str | None = None) -> Done:
    """Run one command to its end."""
    order = json.dumps({"words": words, "folder": str(folder), "env": env}).encode()
    assert len(order) < _LONGEST_ORDER
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX) as channel,
    ):
        channel.settimeout(_TIMEOUT_SECONDS)
        channel.connect(_server())
        source = _source(stdin)
        socket.send_fds(channel, [order], [source, out.fileno(), err.fileno()])
        channel.shutdown(socket.SHUT_WR)
        os.close(source)
        code = channel.recv(16)
        assert code, f"{words} ended without an exit code"
        for file in (out, err):
            file.seek(0)
        return Done(int(code), *(file.read().decode(errors="replace") for file in (out, err)))


def _source(text: str | None) -> int:
    """Return a descriptor to read from: nothing, or a pipe that a text comes through."""
    if text is None:
        return os.open(os.devnull, os.O_RDONLY)
    source, target = os.pipe()

    def write() -> None:
        # A command that refuses its options reads nothing.
        with suppress(BrokenPipeError), os.fdopen(target, "w", encoding="utf-8") as pipe:
            pipe.write(text)

    threading.Thread(target=write, daemon=True).start()
    return source


@cache
def _server() -> str:
    """Start the interpreter whose forks run the commands of this test process."""
    path = Path(tempfile.mkdtemp(prefix="newsletter-commands-")) / "socket"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-P", __file__, str(path)]
    running = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
    atexit.register(running.kill)
    while not path.exists():
        assert running.poll() is None, "the interpreter for commands has ended"
        time.sleep(0.02)
    return str(path)


def serve(path: str) -> NoReturn:
    """Import everything, then fork for each connection."""
    _import_all()
    # Forks that have answered are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen(64)
        Path(f"{path}.new").rename(path)
        while True:
            channel, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _attend(channel)
            channel.close()


def _import_all() -> None:
    import feedparser  # noqa: F401
    import premailer  # noqa: F401
    import psycopg  # noqa: F401
    import sqlalchemy.dialects.postgresql.psycopg
    import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401
    from alembic import command  # noqa: F401
    from sqlalchemy.orm import configure_mappers

    from newsletter.articles import ingest  # noqa: F401
    from newsletter.cli.app import program
    from newsletter.doctor import daily, standing  # noqa: F401
    from newsletter.editions import correct, restore, schedule, send  # noqa: F401
    from newsletter.sender import worker  # noqa: F401
    from newsletter.subscribers import exports, forget, imports, suppression_lists  # noqa: F401

    program()
    configure_mappers()


def _attend(channel: socket.socket) -> NoReturn:
    """Run one order in a fork, and answer how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    octets, descriptors = b"", []
    while True:
        more, found, _, _ = socket.recv_fds(channel, _LONGEST_ORDER, 3)
        octets, descriptors = octets + more, descriptors + found
        if not more:
            break
    child = os.fork()
    if child == 0:
        channel.close()
        _become(json.loads(octets), descriptors)
    _, status = os.waitpid(child, 0)
    channel.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be what a fresh interpreter would be, run the command, and end."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering, "utf-8", errors, closefd=False)
        for number, mode, errors, buffering in (
            (0, "r", "surrogateescape", -1),
            (1, "w", "surrogateescape", -1),
            (2, "w", "backslashreplace", 1),
        )
    )
    sys.argv = ["newsletter", *order["words"]]
    code = 1
    try:
        from newsletter.cli.app import main

        main()
        code = 0
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
