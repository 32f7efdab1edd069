"""Connecting to real servers on loopback: TLS, certificates, credentials, injection."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trustme
from scripted_smtp import DROP, STALL, Act, ScriptedServer, Turn, running

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.sender import worker
from newsletter.smtp import pool
from newsletter.smtp.outcome import Kind, Outcome
from newsletter.smtp.server import SmtpServer
from newsletter.smtp.session import Envelope, Mail
from newsletter.smtp.tls import Trust

ENVELOPE = Envelope("bounces@miasfeed.example", "reader@example.com")
#: Stuffed dots, 8-bit octets, and more than any buffer holds.
WIRE = b"Subject: News\r\n\r\n..\r\n...x\r\n" + "é".encode() * 30 + b"\r\n" + b"x" * 70 + b"\r\n"
LONG = WIRE + (b"y" * 990 + b"\r\n") * 1500

Loop = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class Authority:
    """A certificate authority, and TLS contexts that trust it."""

    ca: trustme.CA

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
        return context

    @property
    def trust(self) -> Trust:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return Trust(context)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(trustme.CA())


def to(server: ScriptedServer, security: str = "plain", **changes: Any) -> SmtpServer:
    values = {
        "host": "127.0.0.1",
        "port": server.port,
        "username": None,
        "password": None,
        "security": security,
        "hostname": "sender.test",
        **changes,
    }
    return SmtpServer(**values)


def deliver(
    server: SmtpServer, *messages: bytes, trust: Trust | None = None, loop: Loop | None = None
) -> list[Outcome | None]:
    """Connect, send the messages one after the other, and quit."""

    async def yes() -> bool:
        return True

    async def converse() -> list[Outcome | None]:
        session = await pool.connect(server, trust=trust or Trust())
        try:
            return [await session.send(Mail(ENVELOPE, each), may_send=yes) for each in messages]
        finally:
            await session.quit()

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(converse())


def unstuffed(wire: bytes) -> bytes:
    return b"".join(line.removeprefix(b".") for line in wire.splitlines(keepends=True))


# Messages


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
def test_the_server_gets_the_very_bytes_over_every_kind_of_connection(
    authority: Authority, security: str
) -> None:
    scripted = ScriptedServer(
        starttls=authority.server() if security == "starttls" else None,
        implicit_tls=authority.server() if security == "tls" else None,
    )
    with running(scripted) as server:
        outcomes = deliver(to(server, security), WIRE, LONG, WIRE, trust=authority.trust)

    assert [outcome.kind for outcome in outcomes if outcome] == [Kind.ACCEPTED] * 3
    assert [each.content for each in server.arrivals] == [unstuffed(w) for w in (WIRE, LONG, WIRE)]
    assert server.commands[-1] == "QUIT"
    assert server.connections == 1


# TLS


def test_after_starttls_ehlo_is_said_again_before_anything_else(authority: Authority) -> None:
    with running(ScriptedServer(starttls=authority.server())) as server:
        deliver(to(server, "starttls"), WIRE, trust=authority.trust)

    verbs = [line.split()[0] for line in server.commands]
    assert verbs[:3] == ["EHLO", "STARTTLS", "EHLO"]


def test_without_starttls_on_offer_nothing_is_said_in_the_clear() -> None:
    with running(ScriptedServer()) as server, pytest.raises(ConfigurationError, match="STARTTLS"):
        deliver(to(server, "starttls", username="mia", password="open sesame"), WIRE)

    assert not {"AUTH", "MAIL"} & {line.split()[0] for line in server.commands}


def test_a_refused_starttls_is_an_error(authority: Authority) -> None:
    def rule(turn: Turn) -> str | None:
        return "454 4.7.0 TLS not available" if turn.phase == "starttls" else None

    scripted = ScriptedServer(rule, starttls=authority.server())
    with running(scripted) as server, pytest.raises(NewsletterError):
        deliver(to(server, "starttls"), WIRE, trust=authority.trust)

    assert not [line for line in server.commands if line.startswith("MAIL")]


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("flaw", ["a stranger's authority", "another name"])
def test_a_certificate_that_cannot_be_verified_is_refused(
    authority: Authority, security: str, flaw: str
) -> None:
    context = authority.server("mail.elsewhere.example")
    if flaw == "a stranger's authority":
        context = Authority(trustme.CA()).server()
    scripted = ScriptedServer(
        starttls=context if security == "starttls" else None,
        implicit_tls=context if security == "tls" else None,
    )

    with running(scripted) as server, pytest.raises(ConfigurationError, match="in safety"):
        deliver(to(server, security), WIRE, trust=authority.trust)

    assert not [line for line in server.commands if line.startswith("MAIL")]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, worker.new_event_loop])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_the_next_connection_to_a_relay_resumes_its_tls_session(
    authority: Authority, security: str, version: ssl.TLSVersion, loop: Loop
) -> None:
    context, trust = authority.server(), authority.trust
    context.maximum_version = version
    scripted = ScriptedServer(
        starttls=context if security == "starttls" else None,
        implicit_tls=context if security == "tls" else None,
    )
    with running(scripted) as server:
        for hits in range(3):
            deliver(to(server, security), WIRE, trust=trust, loop=loop)
            assert context.session_stats()["hits"] == hits
        # What another process has is not known here.
        deliver(to(server, security), WIRE, trust=authority.trust, loop=loop)
        assert context.session_stats()["hits"] == 2
    assert len(server.arrivals) == 4


def test_a_server_that_has_forgotten_the_session_makes_a_new_one(authority: Authority) -> None:
    trust = authority.trust
    for _ in range(2):
        context = authority.server()
        with running(ScriptedServer(starttls=context)) as server:
            deliver(to(server, "starttls"), WIRE, trust=trust)
            deliver(to(server, "starttls"), WIRE, trust=trust)
        assert context.session_stats()["hits"] == 1
        assert len(server.arrivals) == 2


def test_a_session_vouches_for_no_other_certificate(authority: Authority) -> None:
    trust = authority.trust
    with running(ScriptedServer(starttls=authority.server())) as server:
        deliver(to(server, "starttls"), WIRE, trust=trust)
    stranger = ScriptedServer(starttls=Authority(trustme.CA()).server())

    with running(stranger) as server, pytest.raises(ConfigurationError, match="in safety"):
        deliver(to(server, "starttls"), WIRE, trust=trust)

    assert not server.arrivals


def test_the_certificates_are_read_once_and_only_for_tls(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = tmp_path / "store.pem"
    authority.ca.cert_pem.write_to_path(store)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    reads = Mock(wraps=ssl.create_default_context)
    monkeypatch.setattr(ssl, "create_default_context", reads)
    trust = Trust()
    with running(ScriptedServer()) as server:
        deliver(to(server), WIRE, trust=trust)
    assert reads.call_count == 0

    with running(ScriptedServer(starttls=authority.server())) as server:
        for _ in range(3):
            deliver(to(server, "starttls"), WIRE, trust=trust)
    assert reads.call_count == 1


class _Breaking(ssl.SSLObject):
    """A server's end that breaks off where a client resumes a session."""

    def do_handshake(self) -> None:
        super().do_handshake()
        if self.session_reused:
            raise ConnectionResetError


def test_a_relay_that_cannot_resume_a_session_is_connected_to_without(
    authority: Authority,
) -> None:
    context, trust = authority.server(), authority.trust
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with running(ScriptedServer(starttls=context)) as server:
        deliver(to(server, "starttls"), WIRE, trust=trust)
        context.sslobject_class = _Breaking
        with pytest.raises(TransportUnavailable):
            deliver(to(server, "starttls"), WIRE, trust=trust)
        deliver(to(server, "starttls"), WIRE, trust=trust)
    assert len(server.arrivals) == 2


def test_after_an_hour_and_after_a_certificate_that_is_not_trusted_all_is_read_again(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Mock(wraps=ssl.create_default_context)
    monkeypatch.setattr(ssl, "create_default_context", reads)
    now = 0.0
    trust = Trust(clock=lambda: now)

    first = trust.context
    now = 3600
    assert trust.context is first
    now = 3601
    assert trust.context is not first
    assert reads.call_count == 2

    with running(ScriptedServer(starttls=authority.server())) as server:
        for _ in range(2):
            with pytest.raises(ConfigurationError):
                deliver(to(server, "starttls"), WIRE, trust=trust)
    # By the first of these connections what the hour had brought; by the second anew.
    assert reads.call_count == 3


def test_a_key_log_that_cannot_be_written_is_said(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys"))
    scripted = ScriptedServer(starttls=authority.server())
    with running(scripted) as server, pytest.raises(TransportUnavailable, match="No such file"):
        deliver(to(server, "starttls"), WIRE)


def test_the_machines_own_certificate_store_is_asked_by_default(authority: Authority) -> None:
    scripted = ScriptedServer(starttls=authority.server())
    with running(scripted) as server, pytest.raises(ConfigurationError):
        deliver(to(server, "starttls"), WIRE)


def test_plaintext_injected_before_tls_is_discarded_trap_7(
    authority: Authority,
) -> None:
    def rule(turn: Turn) -> str | None:
        if turn.phase == "starttls":
            return "220 go ahead\r\n250-evil.test\r\n250 AUTH PLAIN"
        return None

    scripted = ScriptedServer(rule, starttls=authority.server())
    with running(scripted) as server:
        try:
            outcomes = deliver(to(server, "starttls"), WIRE, trust=authority.trust)
        except NewsletterError:
            outcomes = []

    assert len(server.arrivals) == len(outcomes)
    assert all(outcome and outcome.kind is Kind.ACCEPTED for outcome in outcomes)


# Credentials


def test_credentials_are_given_and_ehlo_is_said_again() -> None:
    extensions = ("PIPELINING", "AUTH PLAIN")
    with running(ScriptedServer(extensions=extensions)) as server:
        deliver(to(server, username="mia", password="open sesame"), WIRE)

    (said,) = [line for line in server.commands if line.startswith("AUTH")]
    assert base64.b64decode(said.split()[-1]) == b"\0mia\0open sesame"
    assert [line.split()[0] for line in server.commands[:3]] == ["EHLO", "AUTH", "EHLO"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("535 5.7.8 bad credentials", ConfigurationError),
        ("534 5.7.9 use an application password", ConfigurationError),
        ("454 4.7.0 temporary failure", TransportUnavailable),
        ("421 4.7.0 not now", TransportUnavailable),
        (DROP, TransportUnavailable),
    ],
)
def test_refused_credentials_are_the_operators_and_a_passing_failure_passes(
    answer: str | Act, error: type[Exception]
) -> None:
    def rule(turn: Turn) -> str | Act | None:
        return answer if turn.phase == "auth" else None

    scripted = ScriptedServer(rule, extensions=("PIPELINING", "AUTH PLAIN"))
    with running(scripted) as server, pytest.raises(error) as raised:
        deliver(to(server, username="mia", password="open sesame"), WIRE)

    assert "sesame" not in str(raised.value)


def test_a_server_that_offers_no_auth_needs_the_operator() -> None:
    with running(ScriptedServer()) as server, pytest.raises(ConfigurationError, match="AUTH"):
        deliver(to(server, username="mia", password="open sesame"), WIRE)


# Servers that are unreachable


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        ("connect", "421 4.3.2 too many connections"),
        ("connect", "554 no mail from you"),
        ("connect", DROP),
        ("connect", STALL),
        ("connect", "nonsense"),
        ("ehlo", "421 4.3.2 closing"),
        ("ehlo", DROP),
        ("ehlo", STALL),
        ("ehlo", "502 what?"),
    ],
    ids=str,
)
def test_a_server_that_cannot_be_used_now_is_told_from_one_that_never_can(
    monkeypatch: pytest.MonkeyPatch, phase: str, answer: str | Act
) -> None:
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 0.3)

    def rule(turn: Turn) -> str | Act | None:
        return answer if turn.phase == phase else None

    with running(ScriptedServer(rule)) as server, pytest.raises(TransportUnavailable):
        deliver(to(server), WIRE)

    assert server.arrivals == []


def test_a_closed_port_is_a_server_that_cannot_be_used_now() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    with pytest.raises(TransportUnavailable, match=f"127.0.0.1:{port}"):
        deliver(to(ScriptedServer(port=port)), WIRE)


def test_connecting_can_be_called_off() -> None:
    """A cancelled connect does not wait for the time-out of the greeting."""

    def rule(turn: Turn) -> Act | None:
        return STALL if turn.phase == "connect" else None

    async def call_off(server: SmtpServer) -> None:
        connecting = asyncio.create_task(pool.connect(server, trust=Trust()))
        await asyncio.sleep(0.1)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    with running(ScriptedServer(rule)) as server:
        asyncio.run(call_off(to(server)))
