"""Other mail servers, Postfix above all: every octet arrives, for every reader."""

from __future__ import annotations

import asyncio
import re
import smtplib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import claimants
import ledgers
import pytest
import relays
from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Envelope as Parcel
from aiosmtpd.smtp import Session as Visit
from journey import free_port, until
from sqlalchemy import Engine, select

from newsletter import tokens
from newsletter.cli.catcher import ClosingController
from newsletter.db import session as sessions
from newsletter.ledger import reconcile
from newsletter.ledger.queue import Claim
from newsletter.models import Delivery
from newsletter.rendering.message import CompiledMessage
from newsletter.sender import worker
from newsletter.sender.personalize import SlotValues
from newsletter.smtp import pool
from newsletter.smtp.outcome import Kind, Outcome, Phase, Scope
from newsletter.smtp.session import Envelope, Mail, Session
from newsletter.smtp.tls import Trust

# One Postfix for all of them.
pytestmark = pytest.mark.xdist_group("postfix")

#: Recipients that the strict port of each server refuses, and the replies.
STRANGERS = {
    "reader3@example.com": "550 5.1.1 there is no such reader",
    "reader4@example.com": "550 5.1.1 there is no such reader",
    "reader8@example.com": "450 4.2.0 come back later",
}
#: A message that leaves together with the commands of the one after it.
GROUP = re.compile(rb"(?:\A|\n)\.\r\n(?:RSET\r\n)?MAIL FROM:[^\r]*\r\nRCPT TO:[^\r]*\r\nDATA\r\n\Z")
HEADER = (
    b"From: Mia <digest@miasfeed.example>\r\n"
    b"To: Reader <reader@example.com>\r\n"
    b"Subject: News\r\n"
    b"Date: Tue, 01 Sep 2026 08:00:00 +0200\r\n"
    b"Message-ID: <1.2@miasfeed.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n"
)
#: The longest line that there may be (RFC 5322 2.1.1), and eight bits.
WIDE = b"x" * 998 + b"\r\n" + "grüße, ünïcode: 8 bits\r\n".encode()
#: Bodies as a reader sees them.
BODIES = {
    "of one line": b"Hello\r\n",
    "empty": b"",
    "of an empty line": b"\r\n",
    "of dots": b".\r\n..\r\n...\r\n.dot\r\n..dots\r\n. \r\n.\r\n\r\n.\r\n",
    "that looks like the end": b"one\r\n.\r\nMAIL FROM:<mallory@example.com>\r\nQUIT\r\n",
    "that ends with dots": b"Hello...\r\n...\r\n.\r\n.\r\n",
    "of one dot": b".\r\n",
    "of 998 octets a line": (b"x" * 998 + b"\r\n") * 3 + b"." * 998 + b"\r\n",
    "of eight bits": "grüße, ünïcode\r\n\xa0 \x85\r\n漢字 \U0001f4f0\r\n".encode()
    + b"\xff\xe4\r\n",
    "with blanks at the ends": b" leading\r\ntrailing \t \r\n\t\r\n \r\n",
    "of two million octets": (b"." + b"y" * 988 + b"\r\n") * 2_000,
    "after that": b"Bye\r\n",
}


# The servers


@dataclass
class Inbox:
    """The final server, and what it received: recipient and octets."""

    pipelines: bool = False
    strangers: Mapping[str, str] = field(default_factory=dict)
    arrived: list[tuple[str, bytes]] = field(default_factory=list)

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, visit: Visit, _parcel: Parcel, name: str, replies: list[str]
    ) -> list[str]:
        visit.host_name = name
        # It reads line by line from a stream, whatever has come already; it only does not say so.
        return [*replies[:-1], *["250-PIPELINING"] * self.pipelines, replies[-1]]

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _visit: Visit, parcel: Parcel, address: str, _options: list[str]
    ) -> str:
        if address in self.strangers:
            return self.strangers[address]
        parcel.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, _server: SMTP, _visit: Visit, parcel: Parcel) -> str:  # noqa: N802
        assert isinstance(parcel.content, bytes)
        (address,) = parcel.rcpt_tos
        self.arrived.append((address, parcel.content))
        return "250 2.0.0 kept"


@dataclass
class Server:
    """Two ports of one server, and the inbox behind them."""

    port: int
    picky_port: int
    pipelines: bool
    arrived: list[tuple[str, bytes]]
    #: Its log file, if it has one.
    log: Path | None = None

    def mails(self, count: int) -> dict[str, bytes]:
        """Wait for as many messages as were accepted; return them without a relay's headers."""
        until(lambda: len(self.arrived) >= count)
        found = {address: _without_trace(octets) for address, octets in self.arrived}
        assert len(found) == len(self.arrived) == count
        return found


def _without_trace(octets: bytes) -> bytes:
    return re.sub(rb"\A(?:Received:.*\r\n(?:[ \t].*\r\n)*)+", b"", octets)


@contextmanager
def catching(inbox: Inbox) -> Iterator[int]:
    """Run aiosmtpd on a free port of 127.0.0.1."""
    port = free_port()
    controller = ClosingController(inbox, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def postfix() -> Iterator[Server]:
    """A Postfix of this module's own that relays everything to an inbox."""
    inbox = Inbox()
    port, picky_port = free_port(), free_port()
    strangers = ", ".join(f"{{ {address} = {said} }}" for address, said in STRANGERS.items())
    doors = {port: "", picky_port: "smtpd_recipient_restrictions=$picky_restrictions"}
    with catching(inbox) as behind:
        parameters = (
            f"relayhost = [127.0.0.1]:{behind}\n"
            f"picky_restrictions = check_recipient_access inline:{{ {strangers} }}\n"
        )
        with relays.postfix(doors, parameters=parameters) as log:
            yield Server(port, picky_port, pipelines=True, arrived=inbox.arrived, log=log)


@pytest.fixture(params=["aiosmtpd", "aiosmtpd that pipelines", "postfix"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each kind of server in turn, with nothing in its inbox."""
    if request.param == "postfix":
        found: Server = request.getfixturevalue("postfix")
        found.arrived.clear()
        yield found
        return
    pipelines = request.param != "aiosmtpd"
    with ExitStack() as stack:
        arrived: list[tuple[str, bytes]] = []
        doors = [
            stack.enter_context(catching(Inbox(pipelines, strangers, arrived)))
            for strangers in ({}, STRANGERS)
        ]
        yield Server(*doors, pipelines=pipelines, arrived=arrived)


# The sender


@pytest.fixture(params=["asyncio", "uvloop"], autouse=True)
def new_loop(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], asyncio.AbstractEventLoop]:
    """The loop that everything is sent on."""
    made: Callable[[], asyncio.AbstractEventLoop]
    made = pytest.importorskip(request.param).new_event_loop
    monkeypatch.setattr(worker, "new_event_loop", made)
    return made


@dataclass
class Tap:
    """A transport that records each write."""

    transport: asyncio.Transport
    writes: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


@dataclass
class Wire:
    """All connections of one test."""

    taps: list[Tap] = field(default_factory=list)

    def tapped(self, transport: asyncio.Transport, extensions: frozenset[str]) -> Session:
        self.taps.append(Tap(transport))
        return Session(self.taps[-1], extensions)  # type: ignore[arg-type]

    @property
    def groups(self) -> int:
        """Number of messages written together with the commands of the next one."""
        return sum(bool(GROUP.search(octets)) for tap in self.taps for octets in tap.writes)

    def said(self, verb: bytes) -> int:
        """Number of writes of a command."""
        octets = b"".join(octets for tap in self.taps for octets in tap.writes)
        return len(re.findall(rb"^%s\b" % verb, octets, re.MULTILINE))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Record everything that is written from here on."""
    found = Wire()
    monkeypatch.setattr(pool, "Session", found.tapped)
    return found


def send_all(
    new_loop: Callable[[], asyncio.AbstractEventLoop], port: int, mails: Sequence[Mail]
) -> list[Outcome | None]:
    """Send mails in sequence on one connection, as a worker does."""

    async def yes() -> bool:
        return True

    async def converse() -> list[Outcome | None]:
        session = await pool.connect(ledgers.relay(port), trust=Trust())
        waiting, outcomes = deque(mails), []
        try:
            while waiting:
                current = waiting.popleft()
                # A mail whose envelope was pipelined must be sent next.
                outcomes.append(
                    await session.send(
                        current, may_send=yes, following=lambda: waiting[0] if waiting else None
                    )
                )
        finally:
            await session.quit()
        return outcomes

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(converse())


def mail(recipient: str, content: bytes) -> Mail:
    """Make one mail, its dots stuffed (RFC 5321 4.5.2)."""
    stuffed = re.sub(rb"^\.", b"..", content, flags=re.MULTILINE)
    return Mail(Envelope(f"bounces@{ledgers.DOMAIN}", recipient), stuffed)


# What arrives


def test_every_octet_of_every_body_arrives(
    server: Server, wire: Wire, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    sent = {f"r{n}@example.com": HEADER + body for n, body in enumerate(BODIES.values())}
    sent["jörg@exämple.example"] = HEADER + BODIES["of dots"]

    outcomes = send_all(new_loop, server.port, [mail(*each) for each in sent.items()])

    assert [outcome and outcome.kind for outcome in outcomes] == [Kind.ACCEPTED] * len(sent)
    arrived = server.mails(len(sent))
    for name, (address, octets) in zip([*BODIES, "for Jörg"], sent.items(), strict=True):
        assert arrived[address] == octets, f"the body {name}"
    assert len(wire.taps) == 1
    assert wire.groups == (len(sent) - 1 if server.pipelines else 0)


def test_a_worker_sends_many_over_four_connections(
    sqlite_engine: Engine, server: Server, wire: Wire
) -> None:
    usual = ledgers.compiled(size=2_000)
    message = CompiledMessage(usual.subject, (*usual.pieces, WIDE))
    ledgers.fill(sqlite_engine, 200, message=message)

    worker.run(sqlite_engine, ledgers.plan(server.port, connections=4))

    assert ledgers.states(sqlite_engine) == {"accepted": 200}
    arrived = server.mails(200)
    for number in range(1, 201):
        claim = _claim(number)
        filled = ledgers.filler().fill(message, slot_values=ledgers.STAMP, claim=claim)
        assert arrived[claim.address] == filled.replace(b"\r\n..", b"\r\n.")
    assert len(wire.taps) == 4
    # The first message of a connection, and one after an empty prefetch, is not pipelined.
    assert 100 < wire.groups <= 196 if server.pipelines else wire.groups == 0
    assert wire.said(b"DATA") == 200


def _claim(number: int) -> Claim:
    """Return how a worker gets the reader of this number."""
    return Claim(
        id=number,
        mailing_id=1,
        address=f"reader{number}@example.com",
        reference=f"reader{1_000_000_000 + number}",
        generation=1,
        since_at=None,
        created_at=ledgers.NOW,
        attempts=0,
    )


# Refusals


def test_a_reader_refused_in_a_group_is_refused_alone(
    server: Server, wire: Wire, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    addresses = [f"reader{number}@example.com" for number in range(1, 11)]
    mails = [mail(address, HEADER + address.encode() + b"\r\n") for address in addresses]

    outcomes = send_all(new_loop, server.picky_port, mails)

    for address, outcome in zip(addresses, outcomes, strict=True):
        assert outcome is not None
        assert outcome.scope is Scope.READER
        if address in STRANGERS:
            code, enhanced, _ = STRANGERS[address].split(maxsplit=2)
            kind = Kind.REFUSED if code == "550" else Kind.DEFERRED
            assert outcome[:2] == (kind, Phase.RCPT)
            assert (outcome.code, outcome.enhanced) == (int(code), enhanced)
        else:
            assert outcome[:2] == (Kind.ACCEPTED, Phase.BODY)
    kept = [address for address in addresses if address not in STRANGERS]
    assert server.mails(len(kept)) == {each: HEADER + each.encode() + b"\r\n" for each in kept}
    assert len(wire.taps) == 1
    # The mail after a message is pipelined with it; the mail after a refusal is not.
    assert wire.groups == (6 if server.pipelines else 0)
    assert wire.said(b"RSET") == len(STRANGERS)


def test_a_worker_blames_nobody_but_those_who_were_refused(
    sqlite_engine: Engine, server: Server, wire: Wire
) -> None:
    ledgers.fill(sqlite_engine, 40)

    worker.run(sqlite_engine, ledgers.plan(server.picky_port, connections=2))

    with sessions.reading(sqlite_engine) as session:
        found = session.execute(select(Delivery.address, Delivery.state)).all()
    others = {each.address: each.state for each in found if each.state != "accepted"}
    assert others == {
        address: "refused" if said.startswith("550") else "deferred"
        for address, said in STRANGERS.items()
    }
    assert set(server.mails(37)) == {each.address for each in found} - set(STRANGERS)
    assert len(wire.taps) == 2
    assert wire.groups > 20 if server.pipelines else wire.groups == 0


# Lost replies


def test_the_log_of_a_postfix_settles_what_it_took_and_nothing_that_broke_off(
    sqlite_engine: Engine, postfix: Server
) -> None:
    # Its log is that of every test here.
    slot_values = replace(ledgers.STAMP, public_id=tokens.new_public_id())
    message = ledgers.compiled(size=20_000)
    ledgers.fill(sqlite_engine, 6, public_id=slot_values.public_id, message=message)
    claims = claimants.claim(sqlite_engine, limit=6, now=ledgers.NOW)
    claimants.mark(sqlite_engine, [each.id for each in claims], now=ledgers.NOW)
    claimants.take_over(sqlite_engine, 1, policy="hold", now=ledgers.NOW)
    for claim in claims:
        octets = ledgers.filler().fill(message, slot_values=slot_values, claim=claim)
        _leave(postfix.port, claim.address, octets + b".\r\n" if claim.id <= 4 else octets[:10_000])

    log = postfix.log
    assert log is not None
    until(lambda: log.read_text().count(f"message-id=<{slot_values.public_id}.") == 6)
    until(lambda: len(_accepted(log, slot_values)) == 4)
    with log.open("rb") as stream:
        tally = reconcile.run(sqlite_engine, stream, now=ledgers.NOW, actor="test")

    assert (tally.unknown_before, tally.accepted, tally.still_unknown) == (6, 4, 2)
    with sessions.reading(sqlite_engine) as session:
        found = session.execute(select(Delivery.id, Delivery.state, Delivery.reply)).all()
    assert {each.id for each in found if each.state == "accepted"} == {1, 2, 3, 4}
    queue_ids = _accepted(log, slot_values)
    assert {each.reply.rpartition(" ")[2] for each in found if each.reply} == queue_ids


def _leave(port: int, recipient: str, octets: bytes) -> None:
    """Send a message or a part of it, and disconnect before the reply."""
    server = smtplib.SMTP("127.0.0.1", port)
    server.ehlo()
    server.mail(f"bounces@{ledgers.DOMAIN}")
    server.rcpt(recipient)
    assert server.docmd("DATA")[0] == 354
    server.send(octets)
    server.close()


def _accepted(log: Path, slot_values: SlotValues) -> set[str]:
    """Return the queue ids of a mailing that became active, by the eye of this test."""
    text = log.read_text()
    named = re.findall(rf"(\w+): message-id=<{slot_values.public_id}\.", text)
    return {each for each in named if re.search(rf" {each}: from=<.*queue active", text)}
