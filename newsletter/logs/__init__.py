"""Structured logs: a closed list of events, as text or as JSON, with no secret in any of them.

Every package emits events (`logs.events`); a long-running command configures once the level and
format of the log (`configure`). Without that, only errors are printed, as plain text, because
other commands print their progress themselves.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import NamedTuple

from newsletter.logs import masking
from newsletter.logs.lines import NAME, Json, Text
from newsletter.logs.stream import Stream

logging.getLogger(NAME).setLevel(logging.ERROR)


class Configuration(NamedTuple):
    """The log configuration of a process, also for its child processes."""

    form: str
    level: str
    secrets: tuple[str, ...]


_configuration: Configuration | None = None
_stream: Stream | None = None
#: The level of the events before `configure`.
_before = logging.ERROR


def configure(configuration: Configuration) -> None:
    """Write events from a given level up, and warnings of libraries, to standard error.

    `form` is "text" or "json". Replaces an earlier configuration.
    """
    global _configuration, _stream, _before  # noqa: PLW0603 - as the loggers of a process are
    _configuration = configuration
    hide(configuration.secrets)
    root, level = logging.getLogger(), logging.getLevelNamesMapping()[configuration.level.upper()]
    if _stream is None:
        _before = logging.getLogger(NAME).level
        _stream = Stream()
        root.addHandler(_stream)
    _stream.setFormatter(Json() if configuration.form == "json" else Text())
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger(NAME).setLevel(level)


def end() -> None:
    """Flush the log, and restore the state before `configure`, which logs only errors."""
    global _configuration, _stream  # noqa: PLW0603 - see `configure`
    if _stream is not None:
        _stream.flush()
        logging.getLogger().removeHandler(_stream)
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger(NAME).setLevel(_before)
    _configuration = _stream = None


def configured() -> Configuration | None:
    """Return the log configuration of this process; None before `configure`."""
    return _configuration


def hide(secrets: Iterable[str]) -> None:
    """Mask these secrets wherever they occur in an event; see also `logs.masking`."""
    masking.hide(secrets)


def trace(exc: BaseException) -> str:
    """Return the traceback of an error, for the field of that name."""
    return "".join(traceback.format_exception(exc)).rstrip()


def in_words(sentence: str, hint: str | None = None) -> str:
    """Return a sentence and its hint, as the value of the field `message`."""
    return f"{sentence} {hint or ''}".rstrip()
