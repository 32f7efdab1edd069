"""Sessions with PIPELINING (RFC 2920): groups of commands and their replies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
import waits
from hypothesis import given
from hypothesis import strategies as st

from newsletter.smtp import session as sessions
from newsletter.smtp.outcome import Kind, Outcome, Phase, Scope
from newsletter.smtp.session import Envelope, Mail, Session

GROUP = ["MAIL", "RCPT", "DATA"]


def mail(number: int) -> Mail:
    envelope = Envelope("bounces@miasfeed.example", f"reader{number}@example.com")
    return Mail(envelope, f"Subject: News\r\n\r\nHello {number}\r\n".encode())


@dataclass
class Server(asyncio.Transport):
    """An in-memory server that parses the written lines as an SMTP server does."""

    #: Returns the reply to a line of a phase; None for that of a correct server.
    rule: Callable[[str, str], bytes | None] = lambda phase, line: None
    writes: list[bytes] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    is_closed: bool = False
    #: Seconds of delay before each refusal.
    tarpit: float = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.session = Session(self, frozenset({"pipelining"}))
        self.recipient = ""
        self.content: list[bytes] | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        said = b"".join(self.hear(line) for line in bytes(data).splitlines(keepends=True))
        loop, after = asyncio.get_running_loop(), 0.0
        if not self.tarpit:
            loop.call_soon(self.say, said)
            return
        for answer in said.splitlines(keepends=True):
            after += self.tarpit * answer.startswith(b"5")
            loop.call_later(after, self.say, answer)

    def hear(self, line: bytes) -> bytes:
        if self.content is not None:
            if line != b".\r\n":
                self.content.append(line)
                return b""
            content, self.content = b"".join(self.content), None
            self.heard.append("body")
            said = self.rule("body", self.recipient)
            if said is None or said.startswith(b"2"):
                self.taken.append(content)
            return b"250 2.0.0 queued\r\n" if said is None else said
        verb = line.split()[0].decode()
        self.heard.append(verb)
        return self.answer(verb, line.decode())

    def answer(self, verb: str, line: str) -> bytes:
        said = self.rule(verb, line)
        if verb == "RCPT":
            is_taken = said is None or said.startswith(b"2")
            self.recipient = line if is_taken else ""
        if verb == "DATA":
            usual = b"354 go on\r\n" if self.recipient else b"554 5.5.1 no valid recipients\r\n"
            said = usual if said is None else said
            self.content = [] if said.startswith(b"354") else None
            return said
        return b"250 ok\r\n" if said is None else said

    def say(self, octets: bytes) -> None:
        if not self.is_closed:
            self.session.data_received(octets)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.session.connection_lost, None)

    abort = close


async def yes() -> bool:
    return True


def send_all(
    rule: Callable[[str, str], bytes | None] = lambda phase, line: None,
    *,
    count: int = 3,
    may_send: Callable[[], Awaitable[bool]] = yes,
    tarpit: float = 0,
) -> tuple[list[Outcome | None], Server]:
    """Send mails in sequence, as a worker does, until the connection ends."""

    async def converse() -> tuple[list[Outcome | None], Server]:
        server = Server(rule, tarpit=tarpit)
        waiting = [mail(number) for number in range(count)]
        outcomes, upcoming = [], None
        while (upcoming or waiting) and server.session.is_open:
            current = upcoming or waiting.pop(0)
            upcoming = None

            def following() -> Mail | None:
                nonlocal upcoming
                upcoming = waiting.pop(0) if waiting else None
                return upcoming

            outcomes.append(
                await server.session.send(current, may_send=may_send, following=following)
            )
        return outcomes, server

    return asyncio.run(converse())


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits.shorten(monkeypatch, 0.05)


def kinds(outcomes: Sequence[Outcome | None]) -> list[Kind | None]:
    return [outcome and outcome.kind for outcome in outcomes]


def test_each_message_takes_one_round_trip() -> None:
    outcomes, server = send_all()

    assert kinds(outcomes) == [Kind.ACCEPTED] * 3
    assert server.taken == [mail(number).content for number in range(3)]
    first, second, third, last = server.writes
    assert [line.split()[0].decode() for line in first.splitlines()] == GROUP
    for number, write in enumerate((second, third)):
        assert write.startswith(mail(number).content + b".\r\nMAIL FROM:")
        assert f"RCPT TO:<reader{number + 1}@example.com>\r\nDATA\r\n".encode() in write
    assert last == mail(2).content + b".\r\n"


def test_a_message_leaves_only_after_its_mark() -> None:
    written: list[int] = []

    async def may_send() -> bool:
        written.append(len(server_of[0].writes))
        return True

    server_of: list[Server] = []
    original = Server.__post_init__

    def remembered(self: Server) -> None:
        original(self)
        server_of.append(self)

    Server.__post_init__ = remembered  # type: ignore[method-assign]
    try:
        _, server = send_all(may_send=may_send)
    finally:
        Server.__post_init__ = original  # type: ignore[method-assign]

    assert written == [1, 2, 3]
    assert len(server.writes) == 4


def test_a_denied_mark_closes_a_pipelined_connection() -> None:
    answers = iter([True, False])

    async def may_send() -> bool:
        return next(answers)

    outcomes, server = send_all(may_send=may_send)

    assert kinds(outcomes) == [Kind.ACCEPTED, None]
    assert server.taken == [mail(0).content]
    assert server.is_closed


def test_a_mark_that_fails_closes_the_connection() -> None:
    """QUIT would be read as part of the message."""

    async def may_send() -> bool:
        raise LookupError

    server = None

    async def converse() -> None:
        nonlocal server
        server = Server()
        try:
            await server.session.send(mail(1), may_send=may_send)
        finally:
            await server.session.quit()

    with pytest.raises(LookupError):
        asyncio.run(converse())

    assert server is not None
    assert server.is_closed
    assert b"QUIT" not in b"".join(server.writes)


def test_a_denied_mark_in_steps_keeps_the_connection() -> None:
    async def no() -> bool:
        return False

    async def converse() -> Server:
        server = Server()
        for number in range(3):
            assert await server.session.send(mail(number), may_send=no, in_steps=True) is None
        return server

    server = asyncio.run(converse())

    assert not server.is_closed
    assert server.heard == ["MAIL", "RCPT", "RSET"] * 3


@pytest.mark.parametrize("phase", ["MAIL", "RCPT"])
@pytest.mark.parametrize("data", [None, b"503 5.5.1 bad sequence\r\n"])
def test_a_refusal_in_a_group_concerns_one_reader_only(phase: str, data: bytes | None) -> None:
    def rule(verb: str, line: str) -> bytes | None:
        nonlocal refused
        if verb == "MAIL":
            refused = False
        if verb == phase and server_counts(verb) == 2:
            refused = True
            return b"451 4.7.1 later\r\n"
        if refused and verb == "RCPT":
            return b"503 5.5.1 bad sequence\r\n"
        if refused and verb == "DATA":
            return data or b"554 5.5.1 no valid recipients\r\n"
        return None

    refused = False
    counts: dict[str, int] = {}

    def server_counts(verb: str) -> int:
        counts[verb] = counts.get(verb, 0) + 1
        return counts[verb]

    outcomes, server = send_all(rule)

    assert kinds(outcomes)[::2] == [Kind.ACCEPTED] * 2
    assert outcomes[1] is not None
    assert (outcomes[1].code, outcomes[1].phase) == (451, Phase(phase.lower()))
    assert server.taken == [mail(0).content, mail(2).content]
    assert server.heard.count("RSET") == 1


def test_slow_refusals_do_not_make_the_previous_message_uncertain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in {"MAIL": 60, "RCPT": 60, "DATA": 60, "STEP": 0.3}.items():
        monkeypatch.setattr(sessions, f"{name}_SECONDS", seconds)

    def rule(verb: str, line: str) -> bytes | None:
        return b"550 5.1.1 no such user\r\n" if verb == "RCPT" and "reader1@" in line else None

    outcomes, server = send_all(rule, tarpit=0.2)

    assert kinds(outcomes) == [Kind.ACCEPTED, Kind.REFUSED, Kind.ACCEPTED]
    assert server.taken == [mail(0).content, mail(2).content]


def test_data_granted_without_a_recipient_gets_an_empty_message() -> None:
    """RFC 2920 3.1: a server that refuses the recipient and grants DATA all the same."""

    def rule(verb: str, line: str) -> bytes | None:
        if verb == "RCPT" and "reader1@" in line:
            return b"550 5.1.1 no such user\r\n"
        return b"354 go on\r\n" if verb == "DATA" else None

    outcomes, server = send_all(rule)

    assert kinds(outcomes) == [Kind.ACCEPTED, Kind.REFUSED, Kind.ACCEPTED]
    assert server.taken == [mail(0).content, b"", mail(2).content]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_a_421_in_a_group_is_not_charged_and_earlier_replies_count(verb: str) -> None:
    said = 0

    def rule(phase: str, _line: str) -> bytes | None:
        nonlocal said
        said += phase == verb
        return b"421 4.3.2 going down\r\n" if (phase, said) == (verb, 2) else None

    outcomes, server = send_all(rule)

    assert kinds(outcomes)[0] is Kind.ACCEPTED
    assert all(one is None or one.scope is Scope.CONNECTION for one in outcomes[1:])
    assert server.taken == [mail(0).content]


def test_a_missing_reply_makes_the_message_unknown() -> None:
    """The reply to MAIL would be matched to the message, whose outcome is unknown."""

    def rule(phase: str, _line: str) -> bytes | None:
        return b"" if phase == "body" else None

    outcomes, server = send_all(rule)

    assert kinds(outcomes) == [Kind.UNKNOWN]
    assert server.is_closed


def test_an_extra_reply_ends_the_session() -> None:
    def rule(phase: str, _line: str) -> bytes | None:
        return b"250 ok\r\n250 and again\r\n" if phase == "body" else None

    outcomes, server = send_all(rule)

    assert Kind.ACCEPTED not in kinds(outcomes)[1:]
    assert len(server.taken) <= 1
    assert server.is_closed


CODES = st.sampled_from(
    ["250 ok", "354 go", "450 later", "550 no", "421 bye", "250-a\r\n250 b", ""]
)


@given(answers=st.lists(CODES, max_size=24))
def test_no_replies_make_an_untaken_message_accepted(
    answers: list[str],
) -> None:
    """Random replies: at most the last message is uncertain."""
    script = iter(answers)

    def rule(_phase: str, _line: str) -> bytes | None:
        said = next(script, None)
        return None if said is None else f"{said}\r\n".encode() if said else b""

    outcomes, _ = send_all(rule, count=4)

    unknown = [n for n, one in enumerate(outcomes) if one and one.kind is Kind.UNKNOWN]
    assert len(unknown) <= 1
    assert not unknown or unknown == [len(outcomes) - 1]
