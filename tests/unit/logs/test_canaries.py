"""Deliberate leaks are found: by an event, by a record of a try, by what a command prints."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import canaries
import ledgers
import pytest
from commands import Running
from sqlalchemy import Engine, text

from newsletter import logs
from newsletter.clock import utc_now
from newsletter.logs import events
from newsletter.settings import Settings
from newsletter.tokens import Keyring, Purpose, new_public_id

pytestmark = pytest.mark.leaks

#: Of nothing but this file.
PASSWORD = "caged-bird-5521"


def test_a_signed_link_in_an_event_is_found_though_it_is_masked() -> None:
    token = Keyring([canaries.KEY]).issue(Purpose.UNSUBSCRIBE, new_public_id(), 1)
    events.NOTICE(message=f"See https://news.example/unsubscribe/{token}")

    assert any(token in one for one in canaries.leaks())


def test_a_password_in_an_error_that_is_logged_is_found() -> None:
    settings = Settings(smtp_url=f"smtps://mia:{PASSWORD}@mail.example")
    try:
        raise ConnectionError(f"no login by {settings.smtp_url}")  # noqa: TRY301 - as a room would
    except ConnectionError as exc:
        events.CRASHED(trace=logs.trace(exc))

    assert any(PASSWORD in one for one in canaries.leaks())


def test_an_address_and_a_text_in_a_line_above_debug_are_found() -> None:
    logging.getLogger(logs.NAME).warning("%s", "plain", extra={"event": "a", "values": {"a": "b"}})
    assert canaries.leaks() == []
    values = {"who": "ann@readers.example", "what": canaries.TEXT}
    logging.getLogger(logs.NAME).warning("%s", "plain", extra={"event": "a", "values": values})

    assert len(canaries.leaks()) == 2


def test_a_secret_in_the_record_of_a_try_is_found(sqlite_engine: Engine) -> None:
    ledgers.fill(sqlite_engine, 1)
    with sqlite_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO attempt (delivery_id, number, at, outcome, phase, reply) "
                "SELECT id, 1, :at, 'refused', 'rcpt', :reply FROM delivery"
            ),
            {"at": utc_now().isoformat(" "), "reply": f"535 {canaries.KEY} is wrong"},
        )

    canaries.look_at_records(sqlite_engine)

    assert any(canaries.KEY in one for one in canaries.leaks())


def test_a_secret_that_a_process_prints_is_found(tmp_path: Path) -> None:
    script = tmp_path / "leaking.py"
    script.write_text("import os, sys; sys.stderr.write(os.environ['NEWSLETTER_API_KEYS'])")
    env = {"PATH": os.environ["PATH"], "NEWSLETTER_API_KEYS": f"{PASSWORD}-of-the-api"}
    with canaries.watched() as found:
        with Running([], env=env, folder=tmp_path, script=script) as running:
            running.communicate(timeout=60)
        assert not found

    assert any(f"{PASSWORD}-of-the-api" in one for one in found)
