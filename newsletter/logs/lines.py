"""The two formats of a log line: text for people, and JSON for log collectors.

Both escape control characters, line separators and bidirectional controls, so that no value can
forge a line or change its appearance.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from newsletter.logs import masking

#: The logger of all events.
NAME = "newsletter"
#: C1 controls, line separators, bidirectional controls (UAX 9), and surrogates.
ABOVE_ASCII = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_ACTING = re.compile(f"[\x00-\x1f{ABOVE_ASCII}]")
_ACTING_IN_JSON = re.compile(f"[{ABOVE_ASCII}]")
_BREAK = re.compile(r"[\r\n\t]+")
#: A value that needs no quotes in the text form.
_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x20\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
#: The fields at the end of a text line that need no quotes: our own sentence, and a traceback.
MESSAGE, TRACE = "message", "trace"


def printable(text: str) -> str:
    """Return a text on one line, without characters that a terminal interprets.

    The text may come from mail servers, feeds and readers. Line breaks are replaced by spaces;
    other control characters, including bidirectional ones, by their escapes.
    """
    return _ACTING.sub(lambda found: ascii(found[0])[1:-1], _BREAK.sub(" ", text))


def safe_json(text: str) -> str:
    """Escape the control characters above ASCII that JSON itself does not escape."""
    return _ACTING_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def text_of(name: str, values: Mapping[str, Any]) -> str:
    """Return an event without time and level: the first field without its name, the others with."""
    words, said = [name], ""
    for number, (field, value) in enumerate(values.items()):
        if field == MESSAGE:
            said = f": {printable(str(value))}"
        elif field != TRACE:
            words.append(f"{f'{field}=' if number else ''}{_quoted(value)}")
    lines = printable_lines(values.get(TRACE, ""))
    return "".join([" ".join(words), said, *(f"\n    {line}" for line in lines)])


def printable_lines(text: str) -> list[str]:
    """Return the lines of a text, each made printable."""
    return [printable(line) for line in text.splitlines()]


class Text(logging.Formatter):
    """Formats lines: `2026-11-30T22:00:00Z INFO edition.frozen daily-2026-11-30 variants=2`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line; a traceback follows on lines of its own, indented."""
        name, values = parts(record)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return f"{at} {record.levelname} {text_of(name, values)}"


class Json(logging.Formatter):
    """Formats one JSON object per line, with time (UTC), level, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        name, values = parts(record)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        found = {"time": f"{at}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        written = json.dumps({**found, "event": name, **values}, ensure_ascii=False)
        return safe_json(written)


def parts(record: logging.LogRecord) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the masked fields of an event, or of what a library has logged."""
    if record.name == NAME and (values := getattr(record, "values", None)) is not None:
        return record.event, values  # type: ignore[attr-defined]
    found = {"logger": record.name, MESSAGE: masking.masked(_message(record))}
    if record.exc_info:
        trace = logging.Formatter().formatException(record.exc_info)
        found[TRACE] = masking.masked_lines(trace)
    return "library", found


def _message(record: logging.LogRecord) -> str:
    """Return a library's message, or its format if the arguments do not fit it.

    A handler that raises would fail what the library was doing.
    """
    try:
        return record.getMessage()
    except Exception as exc:  # noqa: BLE001 - a library's objects may raise anything
        said = record.msg if isinstance(record.msg, str) else "a message that cannot be read"
        return f"{said} ({type(exc).__name__})"


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return safe_json(json.dumps(text, ensure_ascii=False))
