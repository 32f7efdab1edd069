"""Searches for secrets in the output of the program: logs, command output and stored replies.

Canaries are texts that must not occur there: every secret in the settings of a test or a command,
and everything with the form of a signed token or of a password in a URL. A fixture of
tests/conftest.py fails the test if a canary occurs in an event before masking, in a log line, in
the output of a command, or in the tables of attempts and reports. Log lines above DEBUG are also
searched for addresses.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from newsletter import logs, userinfo
from newsletter.errors import NewsletterError
from newsletter.logs import lines, masking
from newsletter.settings import Settings

#: A canary for the text of mails; tests write it into articles and notes.
TEXT = "canary-of-a-text"
#: The secret of nearly every test.
KEY = "0123456789abcdef0123456789abcdef-for-tests"
_SHORTEST = 6
#: Passwords of tests that are also words of messages.
_WORDS = frozenset({"secret", "password"})
_FORMS = (
    # Only our own form of tokens, because digests and boundaries look like those of others.
    re.compile(r"(?<![\w-])[\w-]{20}(?:\.[\w-]{7})?\.[\w-]{43}(?![\w-])", re.ASCII),
    re.compile(r"://[^\s/:@]+:[^\s/@\N{HORIZONTAL ELLIPSIS}]+@"),
)
_ADDRESS = re.compile(r"[\w.+-]{2,}@[\w-]+\.\w")
#: The queries for the stored replies of servers.
_KEPT = ("SELECT reply FROM attempt", "SELECT reply FROM report")
_SECRET_SETTINGS = {name for name, field in Settings.model_fields.items() if not field.repr}

_secrets: set[str] = {KEY}
_leaks: list[str] = []
_numbers = count()
_masked = masking.masked


def learn(secrets: Iterable[str]) -> None:
    """Add secrets to the canaries."""
    _secrets.update(one for one in secrets if len(one) >= _SHORTEST and one not in _WORDS)


def learn_of(env: Mapping[str, str]) -> None:
    """Add the secrets in a command's environment to the canaries."""
    for name, value in env.items():
        if name.removeprefix("NEWSLETTER_").lower() in _SECRET_SETTINGS:
            values = [value] if "://" in value else value.split(",")
            learn(secret for one in values for secret in userinfo.secrets(one) if one[:1] != "/")


def leaks() -> list[str]:
    """Return the canaries that were found in this test so far."""
    return _leaks


def found(said: str, *, with_forms: bool = True) -> list[str]:
    """Return the canaries in a text; without `with_forms`, only the secrets of settings."""
    forms, texts = (_FORMS, {TEXT}) if with_forms else ((), set[str]())
    return [one for one in _secrets | texts if one in said] + [
        match[0] for form in forms for match in form.finditer(said)
    ]


def look(where: str, said: str, *, with_forms: bool = True) -> None:
    """Record the canaries in a text as leaks."""
    canaries = found(said, with_forms=with_forms)
    _leaks.extend(f"{where}: {one!r} in {said[:300]!r}" for one in canaries)


def look_at_records(engine: Engine) -> None:
    """Record the canaries in stored replies as leaks."""
    for query in _KEPT:
        with suppress(SQLAlchemyError, NewsletterError), engine.connect() as connection:
            for (reply,) in connection.execute(text(query)):
                look("a record", reply or "")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Yield the list of a test's leaks, which is complete at the end of the block."""
    _leaks.clear()
    yield _leaks
    for path in sorted(_folder().iterdir()):
        said = path.read_text("utf-8", "replace")
        path.unlink(missing_ok=True)
        # Signed links are allowed on standard output, as in a page or a mail.
        look(f"a command's {path.suffix}", said, with_forms=path.suffix != ".out")
        if path.suffix == ".log":
            _look_for_addresses(said)


def _look_for_addresses(said: str) -> None:
    _leaks.extend(
        f"an address: {match[0]!r} in {line[:300]!r}"
        for line in said.splitlines()
        if " DEBUG " not in line[:40] and (match := _ADDRESS.search(line))
    )


class _Watch(logging.Handler):
    """Calls a function with each log line in the text format."""

    def __init__(self, act: Callable[[str], object]) -> None:
        super().__init__(logging.DEBUG)
        self._act = act
        self.setFormatter(lines.Text())

    def emit(self, record: logging.LogRecord) -> None:
        self._act(self.format(record))


def install() -> None:
    """Search all log lines of this process for canaries."""

    def look_at(line: str) -> None:
        look("the log", line)
        _look_for_addresses(line)

    _watch(look_at, lambda said: look("an event", said))
    init = Settings.__init__

    def learned(self: Settings, **values: Any) -> None:
        init(self, **values)
        learn(self.secrets())

    Settings.__init__ = learned


def _watch(log: Callable[[str], object], event: Callable[[str], object]) -> None:
    logging.getLogger(logs.NAME).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(_Watch(log))

    def looked_at(said: str) -> str:
        event(said)
        return _masked(said)

    masking.masked = looked_at


# Commands, in forks of another interpreter: tests/support/commands.py


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="newsletter-canaries-"))


def place() -> str:
    """Return the prefix of the paths at which a command stores its output."""
    return str(_folder() / str(next(_numbers)))


def remove() -> None:
    """Remove the folder with the output of commands."""
    shutil.rmtree(_folder(), ignore_errors=True)


class _Tee(io.TextIOWrapper):
    """A standard stream that also passes all output to a function."""

    keep: Callable[[str], object]

    def write(self, said: str) -> int:
        self.keep(said)
        return super().write(said)


def tee(stream: IO[str], path: str) -> IO[str]:
    """Return a stream that writes to `stream` and to a file."""
    assert isinstance(stream, io.TextIOWrapper)
    options: dict[str, Any] = {
        "encoding": stream.encoding,
        "errors": stream.errors,
        "line_buffering": stream.line_buffering,
    }
    found = _Tee(stream.detach(), **options)
    found.keep = _writer(path)
    return found


def keep(place: str) -> None:
    """Store all log lines of this process, and the texts of its events before masking."""
    line, raw = _writer(f"{place}.log"), _writer(f"{place}.event")
    _watch(lambda said: line(f"{said}\n"), lambda said: raw(f"{said}\n"))
    configure = logs.configure

    def configured(configuration: logs.Configuration) -> None:
        configure(configuration)
        assert logs._stream is not None
        logs._stream.setLevel(configuration.level.upper())
        logging.getLogger(logs.NAME).setLevel(logging.DEBUG)

    logs.configure = configured
    logging.getLogger().addHandler(_LastResort())


class _LastResort(logging.Handler):
    """Prints what Python's handler of last resort would print, which our other handler disables."""

    def emit(self, record: logging.LogRecord) -> None:
        level = logging.ERROR if record.name == logs.NAME else logging.WARNING
        if logs.configured() is None and record.levelno >= level:
            sys.stderr.write(f"{record.getMessage()}\n")


def _writer(path: str) -> Callable[[str], object]:
    """Return a function that appends to a file without buffering, as the process may be killed."""
    descriptor: int | None = None

    def write(said: str) -> None:
        nonlocal descriptor
        if not said:
            return
        # A test may simulate a full disk, or limit the size of files.
        with suppress(OSError):
            if descriptor is None:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, said.encode("utf-8", "replace"))

    return write
