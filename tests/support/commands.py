"""Runs commands in forks of one interpreter, since starting one takes longer than most commands.

python commands.py PATH

The interpreter imports every command with its dependencies, listens on the UNIX socket PATH, and
takes one order per connection: a command or a script with its arguments, a folder, an environment,
the limit of open files, and three descriptors. It replies with the id of the process, and with the
exit code at its end. Differences of a fresh interpreter are covered by tests that start one:
tests/integration/cli/test_start.py, test_install.py, test_project.py.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self, TextIO

_TIMEOUT_SECONDS = 300
_LONGEST_ORDER = 1_000_000
#: Octets of a number in a reply.
_NUMBER = 8
_ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def run(words: list[str], *, folder: Path, env: dict[str, str], stdin: str | None = None) -> Done:
    """Run one command to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source = _source(stdin)
        channel = _ordered(_order(words, folder, env), [source, out.fileno(), err.fileno()])
        os.close(source)
        with channel:
            channel.settimeout(_TIMEOUT_SECONDS)
            _number(channel)
            code = _number(channel)
        assert code is not None, f"{words} ended without an exit code"
        for file in (out, err):
            file.seek(0)
        return Done(code, *(file.read().decode(errors="replace") for file in (out, err)))


class Running:
    """A command or a script that runs in a fork, with the interface of `subprocess.Popen`."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        env: Mapping[str, str],
        folder: Path = _ROOT,
        script: Path | None = None,
        is_group: bool = False,
        has_input: bool = False,
        stderr: int | None = None,
    ) -> None:
        """Start a script, or else a command of the newsletter.

        With `is_group` the process has its own process group, and with `has_input` a pipe as
        standard input. Standard error is the descriptor `stderr`, or else a pipe.
        """
        order = _order(words, folder, env, script=script, is_group=is_group)
        with ExitStack() as theirs:
            source, self.stdin = os.open(os.devnull, os.O_RDONLY), None
            theirs.callback(os.close, source)
            if has_input:
                source, ours = os.pipe()
                theirs.callback(os.close, source)
                self.stdin = os.fdopen(ours, "w", encoding="utf-8")
            out, self.stdout = _output(theirs)
            err, self.stderr = (stderr, None) if stderr is not None else _output(theirs)
            self._channel = _ordered(order, [source, out, err])
        self.returncode: int | None = None
        pid = _number(self._channel)
        assert pid is not None, f"{words} could not be started"
        self.pid = pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; TimeoutExpired after `timeout` seconds."""
        if self.returncode is None:
            self._channel.settimeout(timeout)
            try:
                self.returncode = _number(self._channel)
            except (BlockingIOError, TimeoutError):
                raise self._late(timeout) from None
            assert self.returncode is not None, "the interpreter for commands has ended"
            self._channel.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return the output and errors that were not read before."""
        said = ["", ""]

        def read(number: int, file: TextIO) -> None:
            said[number] = file.read()

        readers = [
            threading.Thread(target=read, args=(number, file), daemon=True)
            for number, file in enumerate((self.stdout, self.stderr))
            if file is not None
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise self._late(timeout)
        self.wait(timeout)
        self._close()
        return said[0], said[1]

    def _late(self, timeout: float | None) -> subprocess.TimeoutExpired:
        return subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)

    def _close(self) -> None:
        for file in (self.stdin, self.stdout, self.stderr):
            if file is not None:
                # The process may have closed the other end of the pipe.
                with suppress(BrokenPipeError):
                    file.close()


def _output(theirs: ExitStack) -> tuple[int, TextIO]:
    """Return both ends of a pipe: the fork's, which the stack closes, and a file to read from."""
    ours, end = os.pipe()
    theirs.callback(os.close, end)
    return end, os.fdopen(ours, encoding="utf-8")


def _order(words: Sequence[str], folder: Path, env: Mapping[str, str], **more: Any) -> bytes:
    # Not imported above, because child processes of commands import this file without this folder
    # in their path.
    import canaries

    canaries.learn_of(env)
    kept = {"canaries": canaries.place()}
    order = {"words": [*words], "folder": folder, "env": {**env}, **kept, **more}
    order["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
    return json.dumps(order, default=str).encode()


def _ordered(order: bytes, descriptors: list[int]) -> socket.socket:
    """Send an order to the interpreter; return the connection on which it replies."""
    assert len(order) < _LONGEST_ORDER
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(_server())
    socket.send_fds(channel, [order], descriptors)
    channel.shutdown(socket.SHUT_WR)
    return channel


def _number(channel: socket.socket) -> int | None:
    """Return the next number in the reply to an order; None at its end."""
    octets = channel.recv(_NUMBER)
    return int.from_bytes(octets, signed=True) if octets else None


def _source(text: str | None) -> int:
    """Return a descriptor for standard input: /dev/null, or a pipe with a text."""
    if text is None:
        return os.open(os.devnull, os.O_RDONLY)
    source, target = os.pipe()

    def write() -> None:
        # A command with invalid options ends without reading its input.
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
    # Frozen, because the garbage collector of a fork would copy the pages of all objects.
    gc.collect()
    gc.freeze()
    # Ignored, so that forks that have ended leave no zombies.
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
    """Run one order in a fork, and reply with its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    octets, descriptors = b"", []
    while True:
        more, found, _, _ = socket.recv_fds(channel, _LONGEST_ORDER, 3)
        octets, descriptors = octets + more, descriptors + found
        if not more:
            break
    order = json.loads(octets)
    child = os.fork()
    if child == 0:
        channel.close()
        _become(order, descriptors)
    if order.get("is_group"):
        os.setpgid(child, child)
    # Closed here, because otherwise the child's pipes would not end with it.
    for descriptor in descriptors:
        os.close(descriptor)
    # The test process may have ended.
    with suppress(BrokenPipeError):
        channel.sendall(child.to_bytes(_NUMBER, signed=True))
        _, status = os.waitpid(child, 0)
        channel.sendall(os.waitstatus_to_exitcode(status).to_bytes(_NUMBER, signed=True))
    os._exit(0)


def _become(order: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Make this process like a fresh interpreter, run the command or script, and exit."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, order["files"])
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
    if place := order.get("canaries"):
        sys.path.insert(0, str(_ROOT / "tests/support"))
        import canaries

        sys.stdout = canaries.tee(sys.stdout, f"{place}.out")
        sys.stderr = canaries.tee(sys.stderr, f"{place}.err")
        canaries.keep(place)
    script = order.get("script")
    sys.argv = [script or "newsletter", *order["words"]]
    code = 1
    try:
        if script:
            sys.path.insert(0, str(Path(script).parent))
            runpy.run_path(script, run_name="__main__")
        else:
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
