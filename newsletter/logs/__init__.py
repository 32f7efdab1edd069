"""Structured logs: a closed list of events, as text or as JSON, with no secret in any of them.

Rooms emit events (`logs.events`); a door that runs for long says once where they go and from which
level on (`configure`). Until then only errors are printed, as their bare text: what else happens
in a command, the command itself prints.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import NamedTuple

from newsletter.logs import masking
from newsletter.logs.lines import Json, Text
from newsletter.logs.stream import Stream

#: The logger of all events.
NAME = "newsletter"
logging.getLogger(NAME).setLevel(logging.ERROR)


class Configuration(NamedTuple):
    """Where the events of a process go; for the processes that it starts, too."""

    form: str
    level: str
    secrets: tuple[str, ...]


_configuration: Configuration | None = None
_stream: Stream | None = None
#: The level of the events before `configure`.
_before = logging.ERROR


def configure(configuration: Configuration) -> None:
    """Write events from a level on to standard error, and warnings of libraries with them.

    `form` is "text" or "json". Takes the place of an earlier configuration.
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
    """Write what is still to be written, and log nothing but errors any more, as before."""
    global _configuration, _stream  # noqa: PLW0603 - see `configure`
    if _stream is not None:
        _stream.flush()
        logging.getLogger().removeHandler(_stream)
        logging.getLogger().setLevel(logging.WARNING)
        logging.getLogger(NAME).setLevel(_before)
    _configuration = _stream = None


def configured() -> Configuration | None:
    """Return where the events of this process go; None before `configure`."""
    return _configuration


def hide(secrets: Iterable[str]) -> None:
    """Replace these wherever they occur in an event; see also `logs.masking`."""
    masking.hide(secrets)


def trace(exc: BaseException) -> str:
    """Return the traceback of an error, for the field of that name."""
    return "".join(traceback.format_exception(exc)).rstrip()


def in_words(sentence: str, hint: str | None = None) -> str:
    """Return a sentence and what to do, as the field `message` has them."""
    return f"{sentence} {hint or ''}".rstrip()
