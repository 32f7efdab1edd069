"""One SMTP session: MAIL, RCPT, DATA and the message, on a transport that is ready for them.

Replies pair with their commands by construction: whatever is written puts an expectation of as many
replies as it has commands at the end of a queue; each reply that is read goes to the one in front.

With a server that pipelines (RFC 2920), a message leaves together with MAIL, RCPT and DATA of the
one after it: one round trip for each. Others get one command at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from newsletter.smtp import reply
from newsletter.smtp.reply import Kind, Outcome, Phase, Reply, Scope

# RFC 5321 4.5.3.2: how long to wait for what, in seconds. Ten minutes after the final dot: a
# server that is still filing the message must not be sent it again.
MAIL_SECONDS = 300
RCPT_SECONDS = 300
DATA_SECONDS = 120
BODY_SECONDS = 600
QUIT_SECONDS = 5
#: For the answers behind that to a message, which come with it as a rule: what has been said to the
#: message is not kept from the ledger for longer. Unless one is a refusal: some servers take their
#: time over each (a tarpit), and the rest is on its way.
STEP_SECONDS = 5

#: Octets; a longer reply line or reply is nonsense (RFC 5321 4.5.3.1.5 has 512 for a line).
_LINE_LIMIT = 8_192
_REPLY_LIMIT = 65_536
# RFC 5321 4.2: a code from 200 to 599, and a text after a blank or, in all lines but the last, a
# hyphen.
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
#: What nearly every reply is: a single line, and a single way to read it.
_PLAIN_REPLY = re.compile(rb"([2-5]\d\d) ([\x20-\x7e]*)\r\n")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\x85\u2028\u2029<>]")
#: The commands of a group, and what the hoped-for answer to each begins with.
_GROUP = ((Phase.MAIL, 2), (Phase.RCPT, 2), (Phase.DATA, 3))
_GRANTED = [digit for _, digit in _GROUP]


class Envelope(NamedTuple):
    """From whom, to whom."""

    sender: str
    recipient: str


@dataclass(slots=True, eq=False)
class Mail:
    """One message and its envelope; CRLF, dot-stuffed, without the final dot."""

    envelope: Envelope
    content: bytes


class _Expected:
    """The replies to what was written together; `complete` when all are there, or none will be."""

    __slots__ = ("complete", "replies", "wanted")

    def __init__(self, wanted: int, complete: asyncio.Future[None]) -> None:
        self.wanted = wanted
        self.replies: list[Reply] = []
        self.complete = complete

    @property
    def is_granted(self) -> bool:
        """Tell whether all the answers to a group are such as are hoped for."""
        return [answer.code // 100 for answer in self.replies] == _GRANTED


class _Announced(NamedTuple):
    """A mail whose MAIL, RCPT and DATA were written; their answers may not be here yet."""

    mail: Mail
    #: That of RSET before them, where one was needed.
    reset: _Expected | None
    group: _Expected


class Disconnected(ConnectionError):
    """The server closed the connection, or what it said made no sense."""


class Session(asyncio.Protocol):
    """The commands of one connection; at any time at most one message is on its way."""

    def __init__(self, transport: asyncio.Transport, extensions: frozenset[str]) -> None:
        #: Lower-case EHLO keywords.
        self.extensions = extensions
        #: Messages that this connection has carried.
        self.carried = 0
        self._transport = transport
        self._expected: deque[_Expected] = deque()
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._reply_size = 0
        self._reply_code = b""
        self._closed: Exception | None = None
        #: On the loop's clock: until when to wait for the answer to a message.
        self._patient_until: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._announced: _Announced | None = None
        #: Whether the server still remembers a MAIL of which no message came.
        self._is_dirty = False
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def is_open(self) -> bool:
        """Tell whether another message can be tried on this connection."""
        return self._closed is None and not self._transport.is_closing()

    async def send(
        self,
        mail: Mail,
        *,
        may_send: Callable[[], Awaitable[bool]],
        following: Callable[[], Mail | None] = lambda: None,
        in_steps: bool = False,
    ) -> Outcome | None:
        """Try one mail.

        1. MAIL and RCPT. 2. `may_send` is awaited: it commits that the message is in flight, or
        answers that it must not leave; then nothing of it is sent and None returned. 3. DATA, and
        the message. Every answer, time-out and disconnect is an Outcome that names its phase.

        With a server that pipelines, DATA is asked for before the permission; who then may not send
        closes the connection. `following` is asked for the mail after this one at the moment that
        this one leaves, and is announced with it: what it returns must be the next to be sent.
        Whoever expects to be denied the permission asks `in_steps`, and keeps the connection.
        """
        is_announced = self._announced is not None
        if not is_announced and (refusal := self._refused_here(mail.envelope)) is not None:
            return refusal
        if "pipelining" not in self.extensions or (in_steps and not is_announced):
            return await self._send_in_steps(mail, may_send)
        announced, self._announced = self._announced, None
        if announced is None:
            try:
                octets, announced = self._announce(mail)
            except Disconnected as exc:
                return reply.lost(Phase.MAIL, str(exc))
            self._transport.write(octets)
        assert announced.mail is mail, "another mail was announced"
        may_leave = False
        try:
            outcome = await self._granted(announced)
            may_leave = outcome is not None or await may_send()
        finally:
            if not may_leave:
                # The server waits for a message: nothing else can be said to it any more.
                self.abandon()
        if outcome is not None:
            return outcome
        return await self._body(mail.content, following) if may_leave else None

    async def _send_in_steps(
        self, mail: Mail, may_send: Callable[[], Awaitable[bool]]
    ) -> Outcome | None:
        envelope = mail.envelope
        if self._is_dirty:
            self._is_dirty = False
            await self._reset()
        outcome = await self._try(Phase.MAIL, self._mail(mail), MAIL_SECONDS, 2)
        outcome = outcome or await self._try(Phase.RCPT, _rcpt(envelope), RCPT_SECONDS, 2)
        if outcome is None and not await may_send():
            await self._reset()
            return None
        outcome = outcome or await self._try(Phase.DATA, "DATA", DATA_SECONDS, 3)
        if outcome is None:
            return await self._body(mail.content)
        await self._reset()
        return outcome

    def _announce(self, mail: Mail) -> tuple[bytes, _Announced]:
        """Return what is to be written for a mail before itself, and expect the answers."""
        commands = f"{self._mail(mail)}\r\n{_rcpt(mail.envelope)}\r\nDATA\r\n"
        reset = None
        if self._is_dirty:
            self._is_dirty = False
            commands = "RSET\r\n" + commands
            reset = self._expect()
        return commands.encode(), _Announced(mail, reset, self._expect(len(_GROUP)))

    async def _granted(self, announced: _Announced) -> Outcome | None:
        """Read the answers to a group; return None if the server waits for the message.

        All of them are read, whatever the first ones say, so that none is left for another mail.
        """
        if announced.reset is not None:
            failure = await self._judged(Phase.MAIL, announced.reset, MAIL_SECONDS, 2)
            if failure is not None:
                # Nobody's fault but the connection's.
                self.abandon()
                return reply.lost(Phase.MAIL, f"RSET: {failure.text}")
        group = announced.group
        missing = ""
        if len(group.replies) < group.wanted:
            patience = (MAIL_SECONDS, RCPT_SECONDS, DATA_SECONDS)
            missing = await self._completed(group, patience)
        if group.is_granted:
            return None
        refusal: Outcome | None = None
        is_taken = False
        for i, (phase, digit) in enumerate(_GROUP):
            if i < len(group.replies):
                found = self._meaning(phase, group.replies[i], digit)
            else:
                found = reply.lost(phase, missing)
            is_taken = is_taken or (phase is Phase.RCPT and found is None)
            if found is None and refusal is not None and phase is Phase.DATA:
                await self._nothing(is_taken=is_taken)
            refusal = refusal or found
        self._is_dirty = refusal is not None
        return refusal

    async def _nothing(self, *, is_taken: bool) -> None:
        """Answer a DATA that was granted against the rules (RFC 2920 3.1): by an empty message.

        Unless there is somebody who would get it.
        """
        if is_taken:
            self.abandon()
            return
        try:
            await self._command(".", BODY_SECONDS)
        except (Disconnected, TimeoutError):
            self.abandon()

    async def quit(self) -> None:
        """Say goodbye (RFC 5321 4.1.1.10) and close."""
        try:
            # A server that was asked for DATA hears no command.
            if self.is_open and self._announced is None:
                with contextlib.suppress(Disconnected, TimeoutError):
                    await self._command("QUIT", QUIT_SECONDS)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close at once; a message that is under way is not finished."""
        self._lose(Disconnected("we closed the connection"))
        self._transport.abort()

    def _refused_here(self, envelope: Envelope) -> Outcome | None:
        """Refuse what must not be written to the wire, before anything is."""
        for address in (envelope.sender, envelope.recipient):
            if _UNSAFE.search(address):
                return _local("501", "5.1.3", "the address has forbidden characters in it")
        if not envelope.recipient.isascii() and "smtputf8" not in self.extensions:
            return _local("553", "5.6.7", "the server takes no internationalised addresses")
        return None

    def _mail(self, mail: Mail) -> str:
        envelope = mail.envelope
        line = f"MAIL FROM:<{envelope.sender}>"
        if "size" in self.extensions:
            line += f" SIZE={len(mail.content)}"
        if not envelope.recipient.isascii():
            # RFC 6531 3.4: the header carries the address in UTF-8.
            line += " SMTPUTF8" + (" BODY=8BITMIME" if "8bitmime" in self.extensions else "")
        return line

    async def _try(self, phase: Phase, line: str, seconds: float, digit: int) -> Outcome | None:
        """Say one command; return None if the answer begins with `digit`."""
        try:
            expected = self._expect()
        except Disconnected as exc:
            return reply.lost(phase, str(exc))
        self._transport.write(line.encode() + b"\r\n")
        return await self._judged(phase, expected, seconds, digit)

    async def _judged(
        self, phase: Phase, expected: _Expected, seconds: float, digit: int
    ) -> Outcome | None:
        """Wait for one answer; return None if it begins with `digit`."""
        missing = await self._completed(expected, [seconds])
        if not expected.replies:
            return reply.lost(phase, missing)
        return self._meaning(phase, expected.replies[0], digit)

    async def _completed(self, expected: _Expected, patience: Sequence[float]) -> str:
        """Wait for answers; if one is missing, say why, and expect no more of this connection.

        `patience` is for how many seconds to wait for each of them after the one before.
        """
        try:
            while (answered := len(expected.replies)) < expected.wanted:
                await self._hear(expected, patience[answered])
                if len(expected.replies) == answered:
                    self.abandon()
                    return f"no answer in {patience[answered]:.0f} s"
        except Disconnected as exc:
            return str(exc)
        return ""

    def _meaning(self, phase: Phase, answer: Reply, digit: int) -> Outcome | None:
        """Return what an answer means; None if it begins with `digit`."""
        if answer.code // 100 == digit:
            return None
        if answer.code < 400:
            # Commands and replies are out of step: nothing said here can be trusted any more.
            self.abandon()
        return reply.classify(phase, answer)

    async def _body(
        self, message: bytes, following: Callable[[], Mail | None] = lambda: None
    ) -> Outcome:
        if not self.is_open:
            # Lost before the first octet of the message: a safe loss.
            return reply.lost(Phase.DATA, str(self._closed or "the connection is closed"))
        self._be_patient(BODY_SECONDS)
        try:
            expected = self._expect()
            octets = b""
            upcoming = following()
            if upcoming is not None and self._refused_here(upcoming.envelope) is None:
                octets, self._announced = self._announce(upcoming)
            # In one piece: a copy costs less than a second call of the system.
            self._transport.write(b"".join((message, b".\r\n", octets)))
            if not self._writable.is_set():
                await self._writable.wait()
                if self._closed is not None and not _is_refused(expected):
                    # Whatever else was said, it was not said to the whole of the message.
                    raise self._closed
            await expected.complete
        except Disconnected as exc:
            return reply.lost(Phase.BODY, str(exc))
        finally:
            self._patient_until = None
        outcome = reply.classify(Phase.BODY, expected.replies[0])
        if outcome.kind is Kind.ACCEPTED and not await self._is_in_step():
            outcome = reply.lost(Phase.BODY, "the server's answers are out of step")
        if outcome.kind is Kind.ACCEPTED:
            self.carried += 1
        elif outcome.kind is Kind.UNKNOWN:
            self.abandon()
        return outcome

    def _be_patient(self, seconds: float) -> None:
        """Give up after so long, unless `_patient_until` is put off: one timer for all messages.

        An asyncio.timeout for each costs more than the rest of what is done for it.
        """
        loop = asyncio.get_running_loop()
        self._patient_until = loop.time() + seconds
        if self._alarm is None:
            self._alarm = loop.call_at(self._patient_until, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        self._alarm = None
        if self._patient_until is None:
            return
        if (left := self._patient_until - asyncio.get_running_loop().time()) > 0:
            self._be_patient(left)
        else:
            self._lose(Disconnected(f"no answer to the message in {BODY_SECONDS} s"))
            self._transport.abort()

    async def _is_in_step(self) -> bool:
        """Tell whether the answers behind that to a message are such as their commands get.

        Else one may have been left out, and that to the message be that to the command after it.
        """
        if self._announced is None:
            return True
        group, is_refused = self._announced.group, False
        if len(group.replies) < group.wanted:
            with contextlib.suppress(Disconnected):
                await self._hear(group, STEP_SECONDS)
                is_refused = any(answer.code >= 400 for answer in group.replies)
                if is_refused:
                    await self._hear(group, DATA_SECONDS)
        if group.is_granted:
            return True
        for (_, digit), answer in zip(_GROUP, group.replies, strict=False):
            if answer.code // 100 not in {digit, 4, 5}:
                return False
        # Slow, or one too few: after a refusal it was waited for.
        return group.complete.done() or not is_refused

    async def _hear(self, expected: _Expected, seconds: float) -> None:
        """Wait so long for answers, and no longer; raise Disconnected if none will come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # Shielded, because it may be waited for once more.
                await asyncio.shield(expected.complete)

    async def _reset(self) -> None:
        """Undo MAIL and RCPT, so that the next message starts afresh (RFC 5321 4.1.1.5)."""
        if not self.is_open:
            return
        try:
            answer = await self._command("RSET", MAIL_SECONDS)
        except (Disconnected, TimeoutError):
            self.abandon()
            return
        if answer.code != 250:
            self.abandon()

    async def _command(self, line: str, seconds: float) -> Reply:
        async with asyncio.timeout(seconds):
            expected = self._expect()
            self._transport.write(line.encode() + b"\r\n")
            await expected.complete
            return expected.replies[0]

    def _expect(self, replies: int = 1) -> _Expected:
        if not self.is_open:
            raise self._closed or Disconnected("the connection is closed")
        expected = _Expected(replies, asyncio.get_running_loop().create_future())
        self._expected.append(expected)
        return expected

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Read replies; anything that no command waits for ends the session."""
        start = 0
        if not (self._buffer or self._lines):
            while self._closed is None and (found := _PLAIN_REPLY.match(data, start)):
                start = found.end()
                self._answer(_plain(found[0]))
            if start == len(data):
                return
        self._buffer += data[start:]
        while self._closed is None and (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            self._line(line)
        if self._closed is None and len(self._buffer) > _LINE_LIMIT:
            self._nonsense("a reply line without an end")

    def _line(self, line: bytes) -> None:
        found = _REPLY_LINE.fullmatch(line)
        if found is None or self._reply_code not in {b"", found[1]}:
            self._nonsense(f"not a reply: {line[:80]!a}")
            return
        self._lines.append(found[3] or b"")
        self._reply_size += len(line)
        if found[2] == b"-":
            self._reply_code = found[1]
            if self._reply_size > _REPLY_LIMIT:
                self._nonsense("a reply without an end")
            return
        text = b"\n".join(self._lines).decode("utf-8", "replace")
        self._lines.clear()
        self._reply_size, self._reply_code = 0, b""
        self._answer(Reply(int(found[1]), text))

    def _answer(self, answer: Reply) -> None:
        if self._expected:
            expected = self._expected[0]
            expected.replies.append(answer)
            if len(expected.replies) == expected.wanted:
                self._expected.popleft()
                if not expected.complete.done():
                    expected.complete.set_result(None)
        elif answer.code != 421:
            # Taken for the answer to a later command, it would mark the wrong reader.
            self._nonsense(f"{answer.code} unasked")
        if answer.code == 421:
            # RFC 5321 3.8: said at any time, it closes the connection.
            self._lose(Disconnected(f"421 {answer.text}"))
            self._transport.close()

    def _nonsense(self, what: str) -> None:
        self._lose(Disconnected(f"the server said {what}"))
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that no answer will come."""
        self._lose(Disconnected(f"the connection was lost: {exc}" if exc else "the server left"))

    def eof_received(self) -> bool:
        """Close our side too."""
        return False

    def pause_writing(self) -> None:
        """The server reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The server has caught up."""
        self._writable.set()

    def _lose(self, exc: Disconnected) -> None:
        if self._closed is None:
            self._closed = exc
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._writable.set()
        while self._expected:
            complete = self._expected.popleft().complete
            if not complete.done():
                complete.set_exception(exc)
                # Whoever timed out no longer asks; the loop must not complain about it.
                complete.exception()


@lru_cache(maxsize=256)
def _plain(line: bytes) -> Reply:
    """Read a plain reply: to most commands a server says the same to everybody."""
    return Reply(int(line[:3]), line[4:-2].decode("ascii"))


def _is_refused(expected: _Expected) -> bool:
    return bool(expected.replies) and expected.replies[0].code >= 400


def _rcpt(envelope: Envelope) -> str:
    return f"RCPT TO:<{envelope.recipient}>"


def _local(code: str, enhanced: str, words: str) -> Outcome:
    """Return a refusal that we made ourselves, with the code a server would have used."""
    return Outcome(Kind.REFUSED, Phase.MAIL, Scope.READER, int(code), enhanced, words)
