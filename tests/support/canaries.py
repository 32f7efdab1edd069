"""Looks for secrets in what the program writes: its log at debug, its output, its records of tries.

Every secret of settings that a test makes, or gives to a command, is a canary from then on, and so
are signed tokens and passwords in URLs, by their forms. The fixture of tests/conftest.py fails the
test in which one is found: in an event before it is masked, in a line of the log, in what a command
prints, or in the tables of attempts and reports. Addresses are looked for in lines above debug.
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

#: A word in texts of mails: articles and notes of a test that looks for them have it.
TEXT = "canary-of-a-text"
#: The secret of nearly every test.
KEY = "0123456789abcdef0123456789abcdef-for-tests"
_SHORTEST = 6
_FORMS = (
    # Not those of other signers: digests of documents and boundaries look alike.
    re.compile(r"(?<![\w-])[\w-]{20}(?:\.[\w-]{7})?\.[\w-]{43}(?![\w-])", re.ASCII),
    re.compile(r"://[^\s/:@]+:[^\s/@\N{HORIZONTAL ELLIPSIS}]+@"),
)
_ADDRESS = re.compile(r"[\w.+-]{2,}@[\w-]+\.\w")
#: Where a server's words are kept.
_KEPT = ("SELECT reply FROM attempt", "SELECT reply FROM report")
_SECRET_SETTINGS = {name for name, field in Settings.model_fields.items() if not field.repr}

_secrets: set[str] = {KEY}
_leaks: list[str] = []
_numbers = count()
_masked = masking.masked


def learn(secrets: Iterable[str]) -> None:
    """Look for these, too, from now on."""
    _secrets.update(one for one in secrets if len(one) >= _SHORTEST)


def learn_of(env: Mapping[str, str]) -> None:
    """Look for the secrets of a command's settings."""
    for name, value in env.items():
        if name.removeprefix("NEWSLETTER_").lower() in _SECRET_SETTINGS:
            values = [value] if "://" in value else value.split(",")
            learn(secret for one in values for secret in userinfo.secrets(one) if one[:1] != "/")


def leaks() -> list[str]:
    """Return what was found in this test so far."""
    return _leaks


def found(said: str, *, with_forms: bool = True) -> list[str]:
    """Return the canaries in a text; without `with_forms`, only the secrets of settings."""
    forms, texts = (_FORMS, {TEXT}) if with_forms else ((), set[str]())
    return [one for one in _secrets | texts if one in said] + [
        match[0] for form in forms for match in form.finditer(said)
    ]


def look(where: str, said: str, *, with_forms: bool = True) -> None:
    """Note the canaries of a text as leaks."""
    canaries = found(said, with_forms=with_forms)
    _leaks.extend(f"{where}: {one!r} in {said[:300]!r}" for one in canaries)


def look_at_records(engine: Engine) -> None:
    """Note the canaries in what was recorded of tries and reports."""
    for query in _KEPT:
        with suppress(SQLAlchemyError, NewsletterError), engine.connect() as connection:
            for (reply,) in connection.execute(text(query)):
                look("a record", reply or "")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give the leaks of a test, which are complete at its end."""
    _leaks.clear()
    yield _leaks
    for path in sorted(_folder().iterdir()):
        said = path.read_text("utf-8", "replace")
        path.unlink(missing_ok=True)
        # A page or a mail on the standard output has links.
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
    """Hands each line of the log on, as the text form has it."""

    def __init__(self, act: Callable[[str], object]) -> None:
        super().__init__(logging.DEBUG)
        self._act = act
        self.setFormatter(lines.Text())

    def emit(self, record: logging.LogRecord) -> None:
        self._act(self.format(record))


def install() -> None:
    """Look at all that this process logs."""

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
    """Return the beginning of the paths at which a command keeps what it says."""
    return str(_folder() / str(next(_numbers)))


def remove() -> None:
    """Remove the folder of what commands have said."""
    shutil.rmtree(_folder(), ignore_errors=True)


class _Tee(io.TextIOWrapper):
    """A standard stream that keeps what is written to it."""

    keep: Callable[[str], object]

    def write(self, said: str) -> int:
        self.keep(said)
        return super().write(said)


def tee(stream: IO[str], path: str) -> IO[str]:
    """Return a stream that writes to that one, and to a file."""
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
    """Keep what this process logs, all of it, and what its events had before they were masked."""
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
    """Prints what Python prints where no handler is; the one that keeps lines is none of it."""

    def emit(self, record: logging.LogRecord) -> None:
        level = logging.ERROR if record.name == logs.NAME else logging.WARNING
        if logs.configured() is None and record.levelno >= level:
            sys.stderr.write(f"{record.getMessage()}\n")


def _writer(path: str) -> Callable[[str], object]:
    """Return what appends to a file at once: the process may be killed."""
    descriptor: int | None = None

    def write(said: str) -> None:
        nonlocal descriptor
        if not said:
            return
        # The disk of a test may be full, or files limited.
        with suppress(OSError):
            if descriptor is None:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, said.encode("utf-8", "replace"))

    return write
