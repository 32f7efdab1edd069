"""The mailbox of returned mails: opened, and a test mail waited for, in real mailboxes."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ledgers
import pytest
import trustme
from dovecot import PASSWORD, Dovecot, dovecot
from sqlalchemy import Engine

from newsletter.clock import utc_now
from newsletter.db.election import LeaderLock
from newsletter.doctor import returns
from newsletter.doctor.findings import Level
from newsletter.settings import Settings

ID = "<a.b@miasfeed.example>"
OURS = f"From: digest@miasfeed.example\r\nMessage-ID: {ID}\r\n\r\nHello\r\n".encode()
OTHER = b"From: x@y.example\r\nMessage-ID: <other@y.example>\r\n\r\nAnother one\r\n"


def settings(feedback_url: str | None, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "sender": "digest@miasfeed.example",
        "secret_keys": [ledgers.SECRET],
        "feedback_url": feedback_url,
        "return_path": "bounces+{token}@miasfeed.example",
        **changes,
    }
    return Settings(**values)


def look(engine: Engine, feedback_url: str | None) -> list[tuple[str, Level]]:
    found = returns.examine(engine, settings(feedback_url), now=utc_now())
    return [(one.id, one.level) for one in found.findings]


@pytest.fixture(scope="module")
def _dovecot() -> Iterator[Dovecot]:
    with dovecot(trustme.CA()) as running:
        yield running


@pytest.fixture
def server(_dovecot: Dovecot) -> Dovecot:
    _dovecot.empty()
    return _dovecot


def test_without_a_mailbox_nothing_is_opened(sqlite_engine: Engine) -> None:
    assert look(sqlite_engine, None) == [("returnpath.mailbox", Level.INFO)]


def test_a_maildir_and_an_mbox_can_be_read(sqlite_engine: Engine, tmp_path: Path) -> None:
    mailbox.Maildir(tmp_path / "maildir", create=True).close()
    (tmp_path / "mbox").write_bytes(b"From x Mon Nov 30 07:00:00 2026\n" + OTHER)

    assert look(sqlite_engine, str(tmp_path / "maildir")) == []
    assert look(sqlite_engine, str(tmp_path / "mbox")) == []
    assert look(sqlite_engine, str(tmp_path / "nowhere")) == [("returnpath.mailbox", Level.WARNING)]


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_a_mailbox_on_a_server_is_opened_and_not_changed(
    sqlite_engine: Engine, server: Dovecot, scheme: str
) -> None:
    server.put(OTHER)
    url = server.url(scheme)
    wrong = url.replace(quote(PASSWORD, safe=""), "wrong")

    assert look(sqlite_engine, url) == []
    refused = returns.examine(sqlite_engine, settings(wrong), now=utc_now()).findings
    assert [(one.id, one.level) for one in refused] == [("returnpath.mailbox", Level.WARNING)]
    assert "does not let us in" in refused[0].sentence
    assert len([*(server.maildir / "new").iterdir(), *(server.maildir / "cur").iterdir()]) == 1


def test_while_another_process_reads_it_the_mailbox_is_left_alone(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    with LeaderLock(sqlite_engine, "mailbox") as lock:
        assert lock.is_elected()
        assert look(sqlite_engine, str(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_the_mail_that_was_waited_for_is_taken_and_no_other(
    sqlite_engine: Engine, server: Dovecot, scheme: str
) -> None:
    server.put(OTHER, OURS)
    chosen = settings(server.url(scheme))

    found = returns.wait_for(sqlite_engine, chosen, ID, now=utc_now())

    assert found is not None
    assert ID.encode() in found
    left = [*(server.maildir / "new").iterdir(), *(server.maildir / "cur").iterdir()]
    assert [b"Another one" in path.read_bytes() for path in left] == [True]


def test_a_mail_that_does_not_come_is_given_up(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.Maildir(tmp_path / "maildir", create=True).close()
    monkeypatch.setattr(returns, "ARRIVAL_SECONDS", 0.0)
    chosen = settings(str(tmp_path / "maildir"))

    assert returns.wait_for(sqlite_engine, chosen, ID, now=utc_now()) is None


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (OURS, None),
        (None, "did not come to the mailbox"),
        (OTHER.replace(b"Another one", ID.encode()), "came back as a bounce"),
    ],
)
def test_what_came_says_whether_the_return_path_is_read(
    octets: bytes | None, words: str | None
) -> None:
    found = returns.arrival(octets, ID, "bounces@miasfeed.example")

    assert [one.level for one in found.findings] == ([Level.WARNING] if words else [])
    assert not words or words in found.findings[0].sentence


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bounces@miasfeed.example", True),
        ("Mia@mailbox.example", True),
        ("digest@miasfeed.example", False),
    ],
)
def test_whose_mail_comes_to_the_mailbox_is_known(address: str, expected: bool) -> None:
    chosen = settings("imaps://mia%40mailbox.example:x@imap.example")

    assert returns.is_read_at(chosen, address) is expected
    assert not returns.is_read_at(settings(None), address)
