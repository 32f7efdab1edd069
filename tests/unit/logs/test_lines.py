"""Both forms of a line, and that nothing from outside can forge one."""

from __future__ import annotations

import ast
import json
import logging
import math
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from newsletter import logs
from newsletter.logs import events
from newsletter.logs.event import Event
from newsletter.logs.lines import Json, Text

pytestmark = pytest.mark.leaks

ROOT = Path(__file__).parents[3]
HOSTILE = 'a\r\n2026-11-30T22:00:00Z ERROR forged\x00\x1b[31m\x85\u2028\u202e\x9b "x" b=c \\'


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The record of one event, at an instant of the test's choice."""
    with caplog.at_level(logging.DEBUG, "newsletter"):
        events.EDITION_FROZEN(edition="daily-2026-11-30", audience=1200, variants=2)
    record = caplog.records[0]
    record.created, record.msecs = 1796076000.25, 250.0
    return record


def test_the_text_form_is_for_people(written: logging.LogRecord) -> None:
    assert Text().format(written) == (
        "2026-11-30T22:00:00Z INFO edition.frozen daily-2026-11-30 audience=1200 variants=2"
    )


def test_the_json_form_has_one_object_a_line(written: logging.LogRecord) -> None:
    assert json.loads(Json().format(written)) == {
        "time": "2026-11-30T22:00:00.250Z",
        "level": "info",
        "event": "edition.frozen",
        "edition": "daily-2026-11-30",
        "audience": 1200,
        "variants": 2,
    }


def test_no_value_forges_a_line_or_acts_on_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "newsletter"):
        events.SMTP_TRY(delivery=1, domain=HOSTILE, reply=HOSTILE)
        events.NOTICE(message=HOSTILE)
        logging.getLogger("other").warning("%s", HOSTILE)

    for record in caplog.records:
        for form in (Text(), Json()):
            line = form.format(record)
            assert len(line.splitlines()) == 1
            assert all(char.isprintable() for char in line), line
        assert json.loads(Json().format(record))


def test_the_lines_of_a_traceback_are_indented_so_none_looks_like_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        int(HOSTILE + "\nmia:sesame@mail.example")
    except ValueError as exc:
        with caplog.at_level(logging.DEBUG, "newsletter"):
            events.CRASHED(trace=logs.trace(exc))
        logging.getLogger("other").exception("what")

    for record in caplog.records:
        first, *more = Text().format(record).splitlines()
        assert not first.startswith(" ")
        assert len(more) > 3
        assert all(line.startswith("    ") and line.isprintable() for line in more)
        assert "sesame" not in Text().format(record) + Json().format(record)
        assert len(Json().format(record).splitlines()) == 1


def test_fields_are_plain_values_and_those_without_a_value_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    event = Event("a.b", logging.INFO, "", at="", day="", kind="", is_it="", none="")
    with caplog.at_level(logging.INFO, "newsletter"):
        at = datetime(2026, 11, 30, 23, tzinfo=UTC)
        event(at=at, day=date(2026, 1, 2), kind=logs.Configuration, is_it=True, none=None)

    assert caplog.messages[0].startswith("a.b 2026-11-30T23:00:00Z day=2026-01-02 kind=\"<class '")
    assert caplog.messages[0].endswith("is_it=true")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.5, 1.5),
        (2**70, 2**70),
        (True, True),
        # JSON has no NaN and no Infinity (RFC 8259 6).
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (b"\xff", "b'\\xff'"),
        ("\ud800", "\ud800"),
    ],
)
def test_any_value_makes_a_line_of_valid_json(
    caplog: pytest.LogCaptureFixture, value: object, written: object
) -> None:
    with caplog.at_level(logging.DEBUG, "newsletter"):
        events.SMTP_TRY(delivery=value)

    line = Json().format(caplog.records[0])
    assert json.loads(line, parse_constant=pytest.fail)["delivery"] == written


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("message", "arguments", "said"),
    [
        ("%d of mia:sesame@mail.example", ("two",), "%d of …@mail.example (TypeError)"),
        ("to %s", (Unreadable(),), "to %s (RuntimeError)"),
        (Unreadable(), (), "a message that cannot be read (RuntimeError)"),
    ],
)
def test_a_message_of_a_library_that_cannot_be_formatted_fails_nothing(
    message: object, arguments: tuple[object, ...], said: str
) -> None:
    record = logging.LogRecord("other", logging.WARNING, "", 0, message, arguments, None)

    assert json.loads(Json().format(record))["message"] == said


def test_what_a_library_adds_to_its_record_is_no_event() -> None:
    record = logging.LogRecord("other", logging.WARNING, "", 0, "hello", None, None)
    record.values = {"password": "sesame"}

    assert Text().format(record).endswith("WARNING library other: hello")


def test_what_is_not_logged_costs_nothing_but_a_look_at_the_level() -> None:
    class Never:
        def __str__(self) -> str:
            raise AssertionError

    before = logging.getLogger("newsletter").level
    logging.getLogger("newsletter").setLevel(logging.INFO)
    try:
        assert not events.SMTP_TRY.is_on()
        events.SMTP_TRY(reply=Never())
    finally:
        logging.getLogger("newsletter").setLevel(before)


def calls() -> list[tuple[str, ast.Call]]:
    """Return every call of an event in the program, and of what makes one later."""
    nodes = [
        node
        for path in sorted((ROOT / "newsletter").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    return [
        (one.attr, node)
        for node in nodes
        for one in (node.func, *node.args)
        if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "events"
        if one.attr.isupper() and one.attr != "ALL"
    ]


def test_every_call_of_an_event_has_fields_of_that_event_alone() -> None:
    for name, node in calls():
        event = getattr(events, name)
        given = {one.arg for one in node.keywords if one.arg}
        assert given <= set(event.fields), f"{name}, line {node.lineno}: {given}"


def test_names_of_events_are_stable_words_and_each_stands_once() -> None:
    assert len(events.ALL) == sum(isinstance(one, Event) for one in vars(events).values())
    for event in events.ALL.values():
        assert event.name.replace(".", "").replace("_", "").islower()
        assert event.meaning.endswith(".")
        assert not {"time", "level", "event"} & set(event.fields)
