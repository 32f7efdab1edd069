"""The log of a working house, at debug and in both forms, holds no secret, address or text.

The canaries of tests/support/canaries.py are looked for in every test; here texts have them, too.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import canaries
import httpx2
import journey
import pytest
import scripted_smtp
from journey import Newsletter
from scripted_smtp import ScriptedServer, Turn

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) ([\w.]+)( .*|:.*|)")


@pytest.fixture
def house(sqlite_newsletter: Newsletter, write_feed: Callable[..., Path]) -> Newsletter:
    """A newsletter with an article, a note and readers, whose texts are canaries."""
    newsletter = sqlite_newsletter
    newsletter.run("feeds", "add", write_feed(f"{canaries.TEXT}-of-an-article"))
    newsletter.run("note", "weekly", f"A {canaries.TEXT} of a note")
    newsletter.add(ann="weekly", bob="weekly", cyd="weekly")
    return newsletter


@contextmanager
def delivering(newsletter: Newsletter) -> Iterator[None]:
    """Run a mail server that takes ann, puts bob off and refuses cyd, with their addresses."""

    def rule(turn: Turn) -> str | None:
        if turn.phase == "rcpt" and "bob" in turn.line:
            return "450 4.2.1 <bob@readers.example> is busy"
        if turn.phase == "rcpt" and "cyd" in turn.line:
            return "550 5.7.1 cyd@readers.example takes no mail from us"
        return None

    server = ScriptedServer(rule)
    with scripted_smtp.running(server):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        yield


def tries(said: list[dict[str, Any]]) -> set[tuple[object, ...]]:
    found = [one for one in said if one["event"] == "smtp.try"]
    assert all(isinstance(one["delivery"], int) and one["ms"] >= 0 for one in found)
    return {(one["outcome"], one["phase"], one.get("code"), one["domain"]) for one in found}


def test_every_try_is_a_line_at_debug_without_address_or_text(house: Newsletter) -> None:
    house.env |= {"NEWSLETTER_LOG_LEVEL": "debug", "NEWSLETTER_LOG_FORMAT": "json"}
    with delivering(house):
        done = house._run("send", "weekly")

    said = [json.loads(line) for line in done.err.splitlines()]
    assert tries(said) == {
        ("accepted", "body", 250, "readers.example"),
        ("deferred", "rcpt", 450, "readers.example"),
        ("refused", "rcpt", 550, "readers.example"),
    }
    events = [one["event"] for one in said]
    assert events.count("edition.frozen") == events.count("worker.signed_out") == 1
    assert "@readers.example" in done.err
    assert not re.search(r"(ann|bob|cyd)@", done.err)
    assert canaries.TEXT not in done.err


def test_without_a_level_a_command_prints_words_and_a_worker_logs_no_message(
    house: Newsletter,
) -> None:
    with delivering(house):
        done = house._run("send", "weekly")
        running = house.start("worker")
        assert running.stderr
        first = running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        _, rest = running.communicate(timeout=60)

    assert done.err == ""
    lines = [LINE.fullmatch(line) for line in [first.rstrip(), *rest.splitlines()]]
    assert all(lines), [first, rest]
    names = [line[2] for line in lines if line]
    assert names[0] == "worker.signed_in"
    assert names[-2:] == ["worker.stopping", "worker.signed_out"]
    assert "smtp.try" not in names


def test_a_visit_is_logged_without_the_visitor_or_their_link(house: Newsletter) -> None:
    house.env |= {"NEWSLETTER_LOG_LEVEL": "debug", "NEWSLETTER_LOG_FORMAT": "json"}
    with delivering(house), journey.serving(house) as (site, running):
        form = {"email": "dan@readers.example", "cadence": "weekly"}
        answer = httpx2.post(f"{site}/subscribe", data=form, timeout=30)
        assert answer.status_code < 500
        running.send_signal(signal.SIGTERM)
        assert running.stderr
        said = [json.loads(line) for line in running.stderr]

    assert {"worker.signed_in", "worker.signed_out"} <= {one["event"] for one in said}
    assert not any("dan@" in str(one) for one in said)
