"""One session on an in-memory transport: matching of replies to commands, time-outs, safety."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
import waits
from hypothesis import given
from hypothesis import strategies as st

from newsletter.smtp import session as sessions
from newsletter.smtp.outcome import Kind, Outcome, Phase, Scope
from newsletter.smtp.session import Envelope, Mail, Session

ENVELOPE = Envelope("bounces@miasfeed.example", "reader@example.com")
MESSAGE = b"Subject: News\r\n\r\n..dots\r\n"
HAPPY = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 2.0.0 queued as 1\r\n"]


class Wire(asyncio.Transport):
    """Records writes, and replies to the n-th complete command with the n-th answer."""

    def __init__(self, answers: list[bytes | None]) -> None:
        super().__init__()
        self.answers = iter(answers)
        self.written = b""
        self.commands: list[bytes] = []
        self.session: Session
        self.is_closed = False
        self.has_dot = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)
        if self.written.endswith(b"\r\n.\r\n"):
            self.has_dot.set()
        if data.endswith(b"\r\n") and bytes(data) != MESSAGE:
            self.commands.append(bytes(data).rstrip())
            asyncio.get_running_loop().call_soon(self.answer, next(self.answers, None))

    def answer(self, octets: bytes | None) -> None:
        if octets is None:
            self.lose()
        elif not self.is_closed:
            self.session.data_received(octets)

    def lose(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.session.connection_lost(None)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self.lose)

    abort = close


def on_wire(answers: list[bytes | None], *extensions: str) -> tuple[Wire, Session]:
    wire = Wire(answers)
    wire.session = Session(wire, frozenset(extensions))
    return wire, wire.session


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


def send(
    answers: list[bytes | None],
    *extensions: str,
    envelope: Envelope = ENVELOPE,
    may_send: Callable[[], Awaitable[bool]] = yes,
) -> tuple[Outcome | None, Wire]:
    async def converse() -> tuple[Outcome | None, Wire]:
        wire, session = on_wire(answers, *extensions)
        return await session.send(Mail(envelope, MESSAGE), may_send=may_send), wire

    return asyncio.run(converse())


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    waits.shorten(monkeypatch, 0.05)
    return


def test_a_message_goes_out_in_the_order_of_rfc_5321() -> None:
    outcome, wire = send([*HAPPY])

    assert outcome == Outcome(
        Kind.ACCEPTED, Phase.BODY, code=250, enhanced="2.0.0", text="queued as 1"
    )
    assert wire.written == (
        b"MAIL FROM:<bounces@miasfeed.example>\r\n"
        b"RCPT TO:<reader@example.com>\r\nDATA\r\n" + MESSAGE + b".\r\n"
    )


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Abc-_9.x@miasfeed.example", b" RET=HDRS ENVID=Abc-_9.x@miasfeed.example"),
        ("", b" RET=HDRS"),
        # These have to be escaped in xtext, or are not allowed.
        ("a+b=c@miasfeed.example", b" RET=HDRS"),
        ("a" * 101, b" RET=HDRS"),
        ("a b", b" RET=HDRS"),
    ],
)
def test_a_server_with_dsn_is_asked_for_the_headers_and_told_the_name(
    name: str, written: bytes
) -> None:
    _, wire = send([*HAPPY], "dsn", envelope=ENVELOPE._replace(id=name))

    assert wire.commands[0] == b"MAIL FROM:<bounces@miasfeed.example>" + written


def test_the_size_is_declared_to_a_server_with_size() -> None:
    _, wire = send([*HAPPY], "size")

    assert wire.commands[0].endswith(f" SIZE={len(MESSAGE)}".encode())


def test_nothing_of_the_message_leaves_before_it_is_permitted() -> None:
    outcome, wire = send([*HAPPY[:2], b"250 ok\r\n"], may_send=no)

    assert outcome is None
    assert wire.commands[2:] == [b"RSET"]
    assert b"Subject" not in wire.written


def test_the_mark_is_requested_after_the_recipient_is_accepted() -> None:
    asked = []

    async def ask() -> bool:
        asked.append(True)
        return True

    send([HAPPY[0], b"550 5.1.1 no\r\n", b"250 ok\r\n"], may_send=ask)

    assert not asked


@pytest.mark.parametrize(
    ("said", "phase"),
    [(0, Phase.MAIL), (1, Phase.RCPT), (2, Phase.DATA), (3, Phase.BODY)],
)
@pytest.mark.parametrize("loss", ["disconnect", "silence", "nonsense"])
def test_a_loss_is_safe_before_the_body_and_unknown_after_it_trap_5(
    said: int, phase: Phase, loss: str
) -> None:
    last = {"disconnect": None, "silence": b"", "nonsense": b"wat\r\n"}[loss]

    outcome, wire = send([*HAPPY[:said], last])

    assert outcome is not None
    assert outcome.phase is phase
    expected = Kind.UNKNOWN if phase is Phase.BODY else Kind.DEFERRED
    assert (outcome.kind, outcome.is_charged) == (expected, phase is Phase.BODY)
    assert not wire.session.is_open


def test_the_answer_to_the_final_dot_is_waited_for_ten_minutes_trap_6(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()

    assert sessions.BODY_SECONDS >= 600
    assert (sessions.MAIL_SECONDS, sessions.RCPT_SECONDS) == (300, 300)
    assert sessions.DATA_SECONDS == 120


@pytest.mark.parametrize("said", [0, 1, 2, 3])
def test_a_421_at_any_time_ends_the_session_uncharged(said: int) -> None:
    outcome, wire = send([*HAPPY[:said], b"421 4.3.2 closing\r\n"])

    assert outcome is not None
    assert (outcome.kind, outcome.scope) == (Kind.DEFERRED, Scope.CONNECTION)
    assert not wire.session.is_open


@pytest.mark.parametrize("code", [450, 452, 550])
@pytest.mark.parametrize("said", [1, 2])
def test_after_a_refusal_the_session_is_reset_and_goes_on(said: int, code: int) -> None:
    async def converse() -> tuple[Outcome | None, Outcome | None, Wire]:
        refusal = f"{code} no\r\n".encode()
        wire, session = on_wire([*HAPPY[:said], refusal, b"250 ok\r\n", *HAPPY])
        first = await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)
        second = await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)
        return first, second, wire

    first, second, wire = asyncio.run(converse())

    assert first is not None
    assert first.code == code
    assert wire.commands[said + 1] == b"RSET"
    assert second is not None
    assert second.kind is Kind.ACCEPTED


def test_after_a_refused_message_the_next_one_follows_at_once() -> None:
    async def converse() -> tuple[Outcome | None, Outcome | None, Wire]:
        wire, session = on_wire([*HAPPY[:3], b"550 5.7.1 no\r\n", *HAPPY])
        first = await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)
        return first, await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes), wire

    first, second, wire = asyncio.run(converse())

    assert first is not None
    assert second is not None
    assert (first.kind, second.kind) == (Kind.REFUSED, Kind.ACCEPTED)
    assert b"RSET" not in wire.commands
    assert wire.session.carried == 1


# Matching of replies


@pytest.mark.parametrize("extra", [b"250 ok\r\n", b"550 no\r\n", b"354 go\r\n"])
@pytest.mark.parametrize("said", [0, 1, 2])
def test_a_reply_too_many_is_never_taken_for_the_next_commands_trap_7(
    said: int, extra: bytes
) -> None:
    answers: list[bytes | None] = [*HAPPY]
    answers[said] = HAPPY[said] + extra

    outcome, wire = send(answers)

    assert outcome is not None
    assert (outcome.kind, outcome.is_charged) == (Kind.DEFERRED, False)
    assert b"Subject" not in wire.written
    assert not wire.session.is_open


def test_a_late_answer_to_one_message_is_never_taken_for_the_next_ones_trap_7() -> None:
    async def converse() -> tuple[Outcome | None, Outcome | None]:
        wire, session = on_wire([*HAPPY[:3], b"", *HAPPY])
        first = await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)
        session.data_received(b"250 2.0.0 after all\r\n")
        second = await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)
        assert wire.written.count(b"MAIL") == 1
        return first, second

    first, second = asyncio.run(converse())

    assert first is not None
    assert first.kind is Kind.UNKNOWN
    assert second is not None
    assert (second.kind, second.is_charged) == (Kind.DEFERRED, False)


def test_a_reply_between_two_messages_ends_the_session() -> None:
    async def converse() -> bool:
        _, session = on_wire([*HAPPY])
        await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)
        session.data_received(b"250 hello again\r\n")
        return session.is_open

    assert not asyncio.run(converse())


def test_data_is_never_followed_by_a_body_unless_the_server_asked_for_it() -> None:
    outcome, wire = send([*HAPPY[:2], b"250 ok\r\n"])

    assert outcome is not None
    assert (outcome.kind, outcome.phase) == (Kind.DEFERRED, Phase.DATA)
    assert b"Subject" not in wire.written
    assert wire.commands[-1] == b"DATA", "out of step: not even RSET"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
def test_replies_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    reply = b"250-first\r\n250-\r\n250 last\r\n"

    async def converse() -> Outcome | None:
        wire, session = on_wire([*HAPPY[:3], b""])
        sending = asyncio.create_task(session.send(Mail(ENVELOPE, MESSAGE), may_send=yes))
        await wire.has_dot.wait()
        position, sizes = 0, iter(cuts * len(reply))
        while position < len(reply):
            size = next(sizes)
            session.data_received(reply[position : position + size])
            position += size
        return await sending

    outcome = asyncio.run(converse())

    assert outcome is not None
    assert (outcome.kind, outcome.text) == (Kind.ACCEPTED, "first last")


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"250 ok\r\n", b"354 go\r\n", b"250-x\r\n", b"421 bye\r\n", b"550 no\r\n", b"\n"]
            ),
        ),
        max_size=8,
    ),
    st.integers(0, 4),
)
def test_no_server_output_crashes_or_accepts_without_a_2xx(noise: list[bytes], said: int) -> None:
    answers = [*HAPPY[:said], *noise]

    outcome, wire = send([*answers])

    assert outcome is not None
    if outcome.kind is Kind.ACCEPTED:
        assert wire.written.endswith(b"\r\n.\r\n")
        assert outcome.code is not None
        assert 200 <= outcome.code < 300
        assert str(outcome.code).encode() in b"".join(answers)
    if b"Subject" not in wire.written:
        assert outcome.kind is not Kind.UNKNOWN


@pytest.mark.parametrize(
    "flood",
    [b"250" + b"x" * 10_000, b"250-\r\n" * 20_000, b"250-" + b"x" * 60 + b"\r\n"],
    ids=["a line without an end", "empty lines without an end", "one line, again and again"],
)
def test_a_reply_without_an_end_is_cut_off(flood: bytes) -> None:
    async def converse() -> tuple[Session, int]:
        _, session = on_wire([])
        for _ in range(2_000):
            session.data_received(flood)
            if not session.is_open:
                break
        return session, sum(map(len, session._lines)) + len(session._buffer)

    session, kept = asyncio.run(converse())

    assert not session.is_open
    assert kept < 400_000


@pytest.mark.parametrize(
    "line", [b"250ok", b"2500 ok", b"25 ok", b"150 ok", b"650 ok", b" 250 ok", b"", b"\xff\xfe"]
)
def test_malformed_reply_lines_end_the_session(line: bytes) -> None:
    outcome, _ = send([*HAPPY[:3], line + b"\r\n"])

    assert outcome is not None
    assert outcome.kind is Kind.UNKNOWN


def test_the_lines_of_one_reply_have_one_code() -> None:
    outcome, _ = send([*HAPPY[:3], b"250-taken\r\n550 not taken\r\n"])

    assert outcome is not None
    assert outcome.kind is Kind.UNKNOWN


# What must not be written


@pytest.mark.parametrize("character", ["\r", "\n", "\0", " ", "<", ">", "\x7f", "\x85", "\u2028"])
def test_an_address_cannot_smuggle_in_a_command_trap_14(character: str) -> None:
    recipient = f"reader{character}@example.com"

    outcome, wire = send([*HAPPY], envelope=Envelope(ENVELOPE.sender, recipient))

    assert outcome is not None
    assert (outcome.kind, outcome.code) == (Kind.REFUSED, 501)
    assert wire.written == b""


def test_a_non_ascii_local_part_waits_for_smtputf8_trap_3() -> None:
    outcome, wire = send([*HAPPY], envelope=Envelope(ENVELOPE.sender, "jörg@example.com"))

    assert outcome is not None
    assert (outcome.kind, outcome.enhanced) == (Kind.REFUSED, "5.6.7")
    assert wire.written == b""


def test_a_non_ascii_local_part_is_sent_with_smtputf8() -> None:
    envelope = Envelope(ENVELOPE.sender, "jörg@example.com")

    outcome, wire = send([*HAPPY], "smtputf8", "8bitmime", envelope=envelope)

    assert outcome is not None
    assert outcome.kind is Kind.ACCEPTED
    assert wire.commands[0].endswith(b" SMTPUTF8 BODY=8BITMIME")
    assert wire.commands[1] == "RCPT TO:<jörg@example.com>".encode()


# Closing


@pytest.mark.parametrize("answer", [b"221 bye\r\n", b"", None, b"wat\r\n"])
def test_quit_closes_whatever_the_server_replies(answer: bytes | None) -> None:
    async def converse() -> Wire:
        wire, session = on_wire([answer])
        await session.quit()
        await session.quit()
        return wire

    wire = asyncio.run(converse())

    assert wire.commands == [b"QUIT"]
    assert not wire.session.is_open


def test_abandoning_a_session_fails_pending_replies() -> None:
    async def converse() -> Outcome | None:
        wire, session = on_wire([*HAPPY[:3], b""])
        sending = asyncio.create_task(session.send(Mail(ENVELOPE, MESSAGE), may_send=yes))
        await wire.has_dot.wait()
        session.abandon()
        return await sending

    outcome = asyncio.run(converse())

    assert outcome is not None
    assert outcome.kind is Kind.UNKNOWN


def test_a_server_that_stops_reading_does_not_hold_a_message_for_ever() -> None:
    async def converse() -> Outcome | None:
        _, session = on_wire([*HAPPY])
        session.pause_writing()
        return await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)

    outcome = asyncio.run(converse())

    assert outcome is not None
    assert outcome.kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    ("said", "kind", "scope"),
    [
        (b"552 5.3.4 too large\r\n", Kind.REFUSED, Scope.READER),
        (b"421 4.3.2 going down\r\n", Kind.DEFERRED, Scope.CONNECTION),
        (b"250 2.0.0 so soon?\r\n", Kind.UNKNOWN, Scope.READER),
    ],
)
def test_an_early_reply_counts_only_if_it_is_a_refusal(
    said: bytes, kind: Kind, scope: Scope
) -> None:
    async def converse() -> Outcome | None:
        _, session = on_wire([*HAPPY[:3], said])
        session.pause_writing()
        asyncio.get_running_loop().call_later(0.01, session.connection_lost, None)
        return await session.send(Mail(ENVELOPE, MESSAGE), may_send=yes)

    outcome = asyncio.run(converse())

    assert outcome is not None
    assert (outcome.kind, outcome.scope) == (kind, scope)
