"""Lines go to standard error from a thread: what logs never waits for who reads."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading

import pytest

from newsletter.logs import stream
from newsletter.logs.lines import Json
from newsletter.logs.stream import Stream


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("newsletter", logging.INFO, "", 0, text, None, None)


class Stuck(io.StringIO):
    """A pipe that nobody reads, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = threading.Event()
        self.is_reached = threading.Event()

    def write(self, text: str) -> int:
        self.is_reached.set()
        self.is_read.wait()
        return super().write(text)


def test_lines_are_written_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    handler = Stream()
    for number in range(100):
        handler.emit(record(str(number)))
    handler.flush()

    assert capsys.readouterr().err.split() == [str(number) for number in range(100)]


def test_what_nobody_reads_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    monkeypatch.setattr(sys, "stderr", stuck)
    monkeypatch.setattr(stream, "_LONGEST", 3)
    monkeypatch.setattr(stream, "_FLUSH_SECONDS", 0.01)
    handler = Stream()
    handler.setFormatter(Json())
    handler.emit(record("first"))
    stuck.is_reached.wait()
    for number in range(5):
        handler.emit(record(str(number)))
    # It does not wait, for the end of the process neither.
    handler.flush()
    stuck.is_read.set()
    monkeypatch.setattr(stream, "_FLUSH_SECONDS", 60)
    while '"2"' not in stuck.getvalue():
        handler.flush()

    lines = [json.loads(line) for line in stuck.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "first",
        "0",
        "2 lines were not written, because nobody read them.",
        "1",
        "2",
    ]
    assert (lines[2]["event"], lines[2]["level"]) == ("notice", "warning")


def test_a_reader_that_has_ended_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    handler = Stream()
    for broken in (Broken(), None):
        monkeypatch.setattr(sys, "stderr", broken)
        handler.emit(record("lost"))
        handler.flush()
    after = io.StringIO()
    monkeypatch.setattr(sys, "stderr", after)
    handler.emit(record("kept"))
    handler.flush()

    assert after.getvalue() == "kept\n"
