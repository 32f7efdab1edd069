"""Relays as a worker meets them: real SMTP on loopback, with certificates of the test's own."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import https_server
import pytest
import trustme
from journey import submission
from scripted_smtp import DROP, ScriptedServer, Turn, running

from newsletter.clock import utc_now
from newsletter.doctor import relays
from newsletter.doctor.findings import Finding, Level
from newsletter.smtp.server import SmtpServer

# The scripted server may end while it still takes a connection that was given up.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def to(port: int, security: str = "plain", **changes: Any) -> SmtpServer:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "username": None,
        "password": None,
        "security": security,
        "hostname": "sender.test",
    }
    return SmtpServer(**{**values, **changes})


def look(*servers: SmtpServer) -> list[tuple[str, Level]]:
    return [(one.id, one.level) for one in found(*servers)]


def found(*servers: SmtpServer) -> tuple[Finding, ...]:
    return relays.examine(servers, now=utc_now()).findings


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_relay_that_is_right_has_no_finding(authority: trustme.CA, security: str) -> None:
    context = https_server.context(authority)
    server = ScriptedServer(
        starttls=context if security == "starttls" else None,
        implicit_tls=context if security == "tls" else None,
    )
    with running(server):
        examined = relays.examine([to(server.port, security)], now=utc_now())

    assert examined.findings == ()
    assert examined.passed == ("relay", "tls.relay")
    # Nothing was sent.
    assert server.commands[-1] == "QUIT"
    assert not server.phases["mail"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("names", "days", "words"),
    [
        (["other.example"], 60, "IP address mismatch"),
        (["127.0.0.1"], -1, "expired"),
        (["127.0.0.1"], 5, "ends in 4 days"),
    ],
)
def test_a_certificate_that_is_wrong_or_ends_soon_is_found(
    authority: trustme.CA, security: str, names: list[str], days: float, words: str
) -> None:
    ends = datetime.now(UTC) + timedelta(days=days)
    context = https_server.context(
        authority, *names, not_before=ends - timedelta(days=90), not_after=ends
    )
    server = ScriptedServer(
        starttls=context if security == "starttls" else None,
        implicit_tls=context if security == "tls" else None,
    )
    with running(server):
        (one,) = found(to(server.port, security))

    assert (one.id, one.level, one.subject) == (
        "tls.relay",
        Level.ERROR,
        f"127.0.0.1:{server.port}",
    )
    assert words in one.sentence


def test_a_relay_without_starttls_is_found(authority: trustme.CA) -> None:
    with running(ScriptedServer()) as server:
        assert look(to(server.port, "starttls")) == [("tls.relay", Level.ERROR)]


def test_a_password_that_is_refused_is_found_and_shown_nowhere(
    authority: trustme.CA, tmp_path: Path
) -> None:
    with submission(tmp_path / "mail", authority, is_implicit=False) as (port, _):
        wrong = found(to(port, "starttls", username="mia", password="guessed it"))
        right = found(to(port, "starttls", username="mia", password="open sesame"))

    assert [(one.id, one.level) for one in wrong] == [("relay", Level.ERROR)]
    assert "NEWSLETTER_SMTP_URL" in wrong[0].hint
    assert "guessed" not in wrong[0].sentence + wrong[0].hint
    assert right == ()


def test_a_relay_that_is_not_there_leaves_its_certificate_unchecked() -> None:
    assert look(to(1, "tls")) == [("relay", Level.ERROR), ("tls.relay", Level.NOT_CHECKED)]
    assert look(to(1)) == [("relay", Level.ERROR)]


def test_a_relay_that_hangs_up_is_found() -> None:
    def hang_up(turn: Turn) -> object:
        return DROP if turn.phase == "connect" else None

    with running(ScriptedServer(hang_up)) as server:  # type: ignore[arg-type]
        assert look(to(server.port)) == [("relay", Level.ERROR)]


def test_each_of_several_relays_is_looked_at(authority: trustme.CA) -> None:
    server = ScriptedServer(starttls=https_server.context(authority))
    with running(server):
        assert look(to(server.port, "starttls"), to(1)) == [("relay", Level.ERROR)]


def test_plain_text_to_this_machine_is_right() -> None:
    with running(ScriptedServer()) as server:
        assert look(to(server.port)) == []


def test_a_relay_on_this_machine_only_has_to_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert list(relays.local([to(listening.getsockname()[1])])) == []


def test_without_a_network_only_relays_on_this_machine_are_called() -> None:
    servers = [to(1), to(25, host="relay.example")]

    assert [(one.id, one.subject) for one in relays.local(servers)] == [
        ("relay.local", "127.0.0.1:1")
    ]
