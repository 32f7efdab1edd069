"""One SMTP session: MAIL, RCPT, DATA and the message, on a transport that is ready for them.

Replies pair with their commands by construction: each command that is written puts one waiter at
the end of a queue, each reply that is read takes the one at its front.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from newsletter.smtp import reply
from newsletter.smtp.reply import Kind, Outcome, Phase, Reply, Scope

# RFC 5321 4.5.3.2: how long to wait for what, in seconds. Ten minutes after the final dot: a
# server that is still filing the message must not be sent it again.
MAIL_SECONDS = 300
RCPT_SECONDS = 300
DATA_SECONDS = 120
BODY_SECONDS = 600
QUIT_SECONDS = 5

#: Octets; a longer reply line or reply is nonsense (RFC 5321 4.5.3.1.5 has 512 for a line).
_LINE_LIMIT = 8_192
_REPLY_LIMIT = 65_536
# RFC 5321 4.2: a code from 200 to 599, and a text after a blank or, in all lines but the last, a
# hyphen.
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\x85\u2028\u2029<>]")


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom, to whom."""

    sender: str
    recipient: str


class Disconnected(ConnectionError):
    """The server closed the connection, or what it said made no sense."""


class Session(asyncio.Protocol):
    """The commands of one connection, one message at a time."""

    def __init__(self, transport: asyncio.Transport, extensions: frozenset[str]) -> None:
        #: Lower-case EHLO keywords.
        self.extensions = extensions
        #: Messages that this connection has carried.
        self.carried = 0
        self._transport = transport
        self._waiters: deque[asyncio.Future[Reply]] = deque()
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._reply_size = 0
        self._reply_code = b""
        self._closed: Exception | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def is_open(self) -> bool:
        """Tell whether another message can be tried on this connection."""
        return self._closed is None and not self._transport.is_closing()

    async def send(
        self, envelope: Envelope, message: bytes, *, permit: Callable[[], Awaitable[bool]]
    ) -> Outcome | None:
        """Try one message; `message` is CRLF, dot-stuffed, without the final dot.

        1. MAIL and RCPT. 2. `permit` is awaited: it commits that the message is in flight, or
        answers that it must not leave; then nothing is sent and None returned. 3. DATA, and the
        message. Every answer, time-out and disconnect is an Outcome that names its phase.
        """
        refusal = self._refused_here(envelope)
        if refusal is not None:
            return refusal
        outcome = await self._try(Phase.MAIL, self._mail(envelope, message), MAIL_SECONDS, 2)
        outcome = outcome or await self._try(
            Phase.RCPT, f"RCPT TO:<{envelope.recipient}>", RCPT_SECONDS, 2
        )
        if outcome is None and not await permit():
            await self._reset()
            return None
        outcome = outcome or await self._try(Phase.DATA, "DATA", DATA_SECONDS, 3)
        if outcome is None:
            return await self._body(message)
        await self._reset()
        return outcome

    async def quit(self) -> None:
        """Say goodbye (RFC 5321 4.1.1.10) and close."""
        try:
            if self.is_open:
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

    def _mail(self, envelope: Envelope, message: bytes) -> str:
        line = f"MAIL FROM:<{envelope.sender}>"
        if "size" in self.extensions:
            line += f" SIZE={len(message)}"
        if not envelope.recipient.isascii():
            # RFC 6531 3.4: the header carries the address in UTF-8.
            line += " SMTPUTF8" + (" BODY=8BITMIME" if "8bitmime" in self.extensions else "")
        return line

    async def _try(self, phase: Phase, line: str, seconds: float, digit: int) -> Outcome | None:
        """Say one command; return None if the answer begins with `digit`."""
        try:
            answer = await self._command(line, seconds)
        except TimeoutError:
            self.abandon()
            return reply.lost(phase, f"no answer to {phase.upper()} in {seconds:.0f} s")
        except Disconnected as exc:
            return reply.lost(phase, str(exc))
        if answer.code // 100 == digit:
            return None
        if answer.code < 400:
            # Commands and replies are out of step: nothing said here can be trusted any more.
            self.abandon()
        return reply.classify(phase, answer)

    async def _body(self, message: bytes) -> Outcome:
        if not self.is_open:
            # Lost before the first octet of the message: a safe loss.
            return reply.lost(Phase.DATA, str(self._closed or "the connection is closed"))
        try:
            async with asyncio.timeout(BODY_SECONDS):
                waiter = self._expect()
                # In one piece: a copy costs less than a second call of the system.
                self._transport.write(message + b".\r\n")
                await self._writable.wait()
                answer = await waiter
        except TimeoutError:
            self.abandon()
            return reply.lost(Phase.BODY, f"no answer to the message in {BODY_SECONDS} s")
        except Disconnected as exc:
            return reply.lost(Phase.BODY, str(exc))
        outcome = reply.classify(Phase.BODY, answer)
        if outcome.kind is Kind.ACCEPTED:
            self.carried += 1
        elif outcome.kind is Kind.UNKNOWN:
            self.abandon()
        return outcome

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
            waiter = self._expect()
            self._transport.write(line.encode() + b"\r\n")
            return await waiter

    def _expect(self) -> asyncio.Future[Reply]:
        if not self.is_open:
            raise self._closed or Disconnected("the connection is closed")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Read replies; anything that no command waits for ends the session."""
        self._buffer += data
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
        if self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(answer)
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
        self._writable.set()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(exc)
                # Whoever timed out no longer asks; the loop must not complain about it.
                waiter.exception()


def _local(code: str, enhanced: str, words: str) -> Outcome:
    """Return a refusal that we made ourselves, with the code a server would have used."""
    return Outcome(Kind.REFUSED, Phase.MAIL, Scope.READER, int(code), enhanced, words)
