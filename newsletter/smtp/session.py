"""One SMTP session: MAIL, RCPT, DATA and the message, on an open and authenticated transport.

Replies are matched to commands by a queue: each write appends an expectation with its number of
commands, and each reply goes to the first expectation that is not complete.

With a server that supports PIPELINING (RFC 2920), a message is written together with MAIL, RCPT and
DATA of the next one: one round trip per message. Other servers get one command at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from newsletter.smtp import reply
from newsletter.smtp.outcome import Kind, Outcome, Phase, Scope
from newsletter.smtp.reply import Reply

# Time-outs in seconds (RFC 5321 4.5.3.2). Ten minutes after the final dot, because a message that
# is still being processed would otherwise be sent again.
MAIL_SECONDS = 300
RCPT_SECONDS = 300
DATA_SECONDS = 120
BODY_SECONDS = 600
QUIT_SECONDS = 5
#: Time-out, in seconds, for the replies to the pipelined envelope, which usually arrive with the
#: reply to the message: the outcome of the message is delayed no longer. After a refusal
#: DATA_SECONDS applies: some servers delay each refusal (tarpitting).
STEP_SECONDS = 5

#: Octets; longer lines or replies are protocol errors (RFC 5321 4.5.3.1.5 allows 512 per line).
_LINE_LIMIT = 8_192
_REPLY_LIMIT = 65_536
# RFC 5321 4.2: a code from 200 to 599, and a text after a blank or, in all lines but the last, a
# hyphen.
_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
#: Fast path: a single-line reply of printable ASCII.
_PLAIN_REPLY = re.compile(rb"([2-5]\d\d) ([\x20-\x7e]*)\r\n")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\x85\u2028\u2029<>]")
#: Message-IDs that can be an ENVID (RFC 3461 4.4): at most 100 characters, none of which xtext
#: would have to escape.
_ENVELOPE_ID = re.compile(r"[!-*,-<>-~]{1,100}", re.ASCII)
#: The commands of a pipelined envelope, with the first digit of the reply that grants each.
_GROUP = ((Phase.MAIL, 2), (Phase.RCPT, 2), (Phase.DATA, 3))
_GRANTED = [digit for _, digit in _GROUP]


class Envelope(NamedTuple):
    """Sender and recipient of the SMTP transaction."""

    sender: str
    recipient: str
    #: The ENVID that bounces are to contain: the Message-ID; empty for none.
    id: str = ""


@dataclass(slots=True, eq=False)
class Mail:
    """One message and its envelope; the content has CRLF, dot-stuffing and no final dot."""

    envelope: Envelope
    content: bytes


class _Expected:
    """The replies to one write; `complete` is done when all are there, or the session is lost."""

    __slots__ = ("complete", "replies", "wanted")

    def __init__(self, wanted: int, complete: asyncio.Future[None]) -> None:
        self.wanted = wanted
        self.replies: list[Reply] = []
        self.complete = complete

    @property
    def is_granted(self) -> bool:
        """Whether the server has accepted MAIL and RCPT and waits for the message."""
        return [answer.code // 100 for answer in self.replies] == _GRANTED


class _Announced(NamedTuple):
    """A mail whose envelope (MAIL, RCPT, DATA) was written; replies may be outstanding."""

    mail: Mail
    #: The reply to the RSET before the envelope, if one was needed.
    reset: _Expected | None
    group: _Expected


class Disconnected(ConnectionError):
    """The server closed the connection or violated the protocol."""


class Session(asyncio.Protocol):
    """The commands of one connection; at most one message is in flight at any time."""

    def __init__(self, transport: asyncio.Transport, extensions: frozenset[str]) -> None:
        #: Lower-case EHLO keywords.
        self.extensions = extensions
        #: Messages accepted on this connection.
        self.carried = 0
        self._transport = transport
        self._expected: deque[_Expected] = deque()
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._reply_size = 0
        self._reply_code = b""
        self._closed: Exception | None = None
        #: Deadline for the reply to a message, on the loop's clock; None if none is awaited.
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._announced: _Announced | None = None
        #: Whether a transaction is open at the server, so that RSET must come first.
        self._is_dirty = False
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def tls(self) -> str | None:
        """The version of TLS, such as TLSv1.3; None without TLS."""
        found = self._transport.get_extra_info("ssl_object")
        return found.version() if found is not None else None

    @property
    def is_open(self) -> bool:
        """Whether another message can be tried on this connection."""
        return self._closed is None and not self._transport.is_closing()

    @property
    def certificate(self) -> dict[str, Any] | None:
        """The server's certificate, as returned by `ssl.SSLObject.getpeercert`; None without TLS.

        Empty if it was not verified.
        """
        found: dict[str, Any] | None = self._transport.get_extra_info("peercert")
        return found

    async def send(
        self,
        mail: Mail,
        *,
        may_send: Callable[[], Awaitable[bool]],
        following: Callable[[], Mail | None] = lambda: None,
        in_steps: bool = False,
    ) -> Outcome | None:
        """Try one mail.

        1. MAIL and RCPT.
        2. `may_send` is awaited, which commits the mark (write-ahead); if the mark is denied,
           nothing of the message is written and None is returned.
        3. DATA and the message.

        Every reply, time-out and disconnect becomes an Outcome with its phase.

        With PIPELINING, DATA is written before `may_send`, so a denied mark closes the connection.
        `following` is called when this message is written, and the envelope of the mail that it
        returns is pipelined with it: that mail must be the next one sent. With `in_steps` a single
        envelope is not pipelined, and the connection survives a denied mark.
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
            outcome = await self._read_group(announced)
            may_leave = outcome is not None or await may_send()
        finally:
            if not may_leave:
                # After DATA the server waits for a message; no other command is possible.
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
        """Return the envelope of a mail as octets to write, and expect the replies."""
        commands = f"{self._mail(mail)}\r\n{_rcpt(mail.envelope)}\r\nDATA\r\n"
        reset = None
        if self._is_dirty:
            self._is_dirty = False
            commands = "RSET\r\n" + commands
            reset = self._expect()
        return commands.encode(), _Announced(mail, reset, self._expect(len(_GROUP)))

    async def _read_group(self, announced: _Announced) -> Outcome | None:
        """Read the replies to an envelope; return None if the server waits for the message.

        All of them are read, even after a refusal, so that none is matched to the next mail.
        """
        if announced.reset is not None:
            failure = await self._judged(Phase.MAIL, announced.reset, MAIL_SECONDS, 2)
            if failure is not None:
                # A refused RSET is charged to the connection, not to the reader.
                self.abandon()
                return reply.lost(Phase.MAIL, f"RSET: {failure.text}")
        group = announced.group
        missing = ""
        if len(group.replies) < group.wanted:
            timeouts = (MAIL_SECONDS, RCPT_SECONDS, DATA_SECONDS)
            missing = await self._completed(group, timeouts)
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
                await self._end_data(has_recipient=is_taken)
            refusal = refusal or found
        self._is_dirty = refusal is not None
        return refusal

    async def _end_data(self, *, has_recipient: bool) -> None:
        """Send an empty message after a DATA that was granted despite a refusal (RFC 2920 3.1).

        If RCPT was accepted, the connection is closed instead: the recipient would get it.
        """
        if has_recipient:
            self.abandon()
            return
        try:
            await self._command(".", BODY_SECONDS)
        except (Disconnected, TimeoutError):
            self.abandon()

    async def quit(self) -> None:
        """Send QUIT (RFC 5321 4.1.1.10) and close."""
        try:
            # After DATA the server would read QUIT as the message.
            if self.is_open and self._announced is None:
                with contextlib.suppress(Disconnected, TimeoutError):
                    await self._command("QUIT", QUIT_SECONDS)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close at once, without finishing a message in flight."""
        self._lose(Disconnected("we closed the connection"))
        self._transport.abort()

    def _refused_here(self, envelope: Envelope) -> Outcome | None:
        """Refuse addresses that must not be written (command injection) or that need SMTPUTF8."""
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
        if "dsn" in self.extensions:
            # RFC 3461 4.3 and 4.4: a bounce is to contain only the headers of the mail, and the
            # ENVID.
            line += " RET=HDRS"
            if _ENVELOPE_ID.fullmatch(envelope.id):
                line += f" ENVID={envelope.id}"
        if not envelope.recipient.isascii():
            # RFC 6531 3.4: the header carries the address in UTF-8.
            line += " SMTPUTF8" + (" BODY=8BITMIME" if "8bitmime" in self.extensions else "")
        return line

    async def _try(self, phase: Phase, line: str, seconds: float, digit: int) -> Outcome | None:
        """Send one command; return None if the reply begins with `digit`."""
        try:
            expected = self._expect()
        except Disconnected as exc:
            return reply.lost(phase, str(exc))
        self._transport.write(line.encode() + b"\r\n")
        return await self._judged(phase, expected, seconds, digit)

    async def _judged(
        self, phase: Phase, expected: _Expected, seconds: float, digit: int
    ) -> Outcome | None:
        """Wait for one reply; return None if it begins with `digit`."""
        missing = await self._completed(expected, [seconds])
        if not expected.replies:
            return reply.lost(phase, missing)
        return self._meaning(phase, expected.replies[0], digit)

    async def _completed(self, expected: _Expected, timeouts: Sequence[float]) -> str:
        """Wait for the replies; if one is missing, close the connection and return the reason.

        `timeouts` has the seconds to wait for each of them after the one before.
        """
        try:
            while (answered := len(expected.replies)) < expected.wanted:
                await self._wait_for(expected, timeouts[answered])
                if len(expected.replies) == answered:
                    self.abandon()
                    return f"no answer in {timeouts[answered]:.0f} s"
        except Disconnected as exc:
            return str(exc)
        return ""

    def _meaning(self, phase: Phase, answer: Reply, digit: int) -> Outcome | None:
        """Return the outcome of a reply; None if it begins with `digit`."""
        if answer.code // 100 == digit:
            return None
        if answer.code < 400:
            # Commands and replies are out of step; later replies cannot be trusted.
            self.abandon()
        return reply.classify(phase, answer)

    async def _body(
        self, message: bytes, following: Callable[[], Mail | None] = lambda: None
    ) -> Outcome:
        if not self.is_open:
            # The connection was lost before the first octet of the message: safe to retry.
            return reply.lost(Phase.DATA, str(self._closed or "the connection is closed"))
        self._set_deadline(BODY_SECONDS)
        try:
            expected = self._expect()
            octets = b""
            upcoming = following()
            if upcoming is not None and self._refused_here(upcoming.envelope) is None:
                octets, self._announced = self._announce(upcoming)
            # One write: copying the octets costs less than a second system call.
            self._transport.write(b"".join((message, b".\r\n", octets)))
            if not self._writable.is_set():
                await self._writable.wait()
                if self._closed is not None and not _is_refused(expected):
                    # A reply does not count if the message was not written completely.
                    raise self._closed
            await expected.complete
        except Disconnected as exc:
            return reply.lost(Phase.BODY, str(exc))
        finally:
            self._deadline = None
        outcome = reply.classify(Phase.BODY, expected.replies[0])
        if outcome.kind is Kind.ACCEPTED and not await self._is_in_step():
            outcome = reply.lost(Phase.BODY, "the server's answers are out of step")
        if outcome.kind is Kind.ACCEPTED:
            self.carried += 1
        elif outcome.kind is Kind.UNKNOWN:
            self.abandon()
        return outcome

    def _set_deadline(self, seconds: float) -> None:
        """Set the deadline for the reply to a message; one timer serves all messages.

        An asyncio.timeout per message costs more than all other work for it.
        """
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        if self._timer is None:
            self._timer = loop.call_at(self._deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if (left := self._deadline - asyncio.get_running_loop().time()) > 0:
            self._set_deadline(left)
        else:
            self._lose(Disconnected(f"no answer to the message in {BODY_SECONDS} s"))
            self._transport.abort()

    async def _is_in_step(self) -> bool:
        """Return whether the replies to the pipelined envelope fit their commands.

        If not, the server may have left out one reply, and what was taken for the reply to the
        message may be the reply to MAIL.
        """
        if self._announced is None:
            return True
        group, is_refused = self._announced.group, False
        if len(group.replies) < group.wanted:
            with contextlib.suppress(Disconnected):
                await self._wait_for(group, STEP_SECONDS)
                is_refused = any(answer.code >= 400 for answer in group.replies)
                if is_refused:
                    await self._wait_for(group, DATA_SECONDS)
        if group.is_granted:
            return True
        for (_, digit), answer in zip(_GROUP, group.replies, strict=False):
            if answer.code // 100 not in {digit, 4, 5}:
                return False
        # If replies are missing and none is a refusal, the server is slow. After a refusal,
        # DATA_SECONDS have passed, so a reply was left out.
        return group.complete.done() or not is_refused

    async def _wait_for(self, expected: _Expected, seconds: float) -> None:
        """Wait at most `seconds` for the replies; raises Disconnected if the session is lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # Shielded, because the caller may wait for the same replies again.
                await asyncio.shield(expected.complete)

    async def _reset(self) -> None:
        """Abort the transaction by RSET, before the next message (RFC 5321 4.1.1.5)."""
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

    # Methods of asyncio.Protocol, which the transport calls.

    def data_received(self, data: bytes) -> None:
        """Parse replies; a reply that no command expects ends the session."""
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
            self._protocol_error("a reply line without an end")

    def _line(self, line: bytes) -> None:
        found = _REPLY_LINE.fullmatch(line)
        if found is None or self._reply_code not in {b"", found[1]}:
            self._protocol_error(f"not a reply: {line[:80]!a}")
            return
        self._lines.append(found[3] or b"")
        self._reply_size += len(line)
        if found[2] == b"-":
            self._reply_code = found[1]
            if self._reply_size > _REPLY_LIMIT:
                self._protocol_error("a reply without an end")
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
            # If the reply were matched to a later command, it would count for the wrong reader.
            self._protocol_error(f"{answer.code} unasked")
        if answer.code == 421:
            # RFC 5321 3.8: a server may send 421 at any time, and closes the connection.
            self._lose(Disconnected(f"421 {answer.text}"))
            self._transport.close()

    def _protocol_error(self, what: str) -> None:
        self._lose(Disconnected(f"the server said {what}"))
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every expectation that is still open."""
        self._lose(Disconnected(f"the connection was lost: {exc}" if exc else "the server left"))

    def eof_received(self) -> bool:
        """Let asyncio close the transport, too."""
        return False

    def pause_writing(self) -> None:
        """Stop writing: the server reads slower than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Continue writing."""
        self._writable.set()

    def _lose(self, exc: Disconnected) -> None:
        if self._closed is None:
            self._closed = exc
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writable.set()
        while self._expected:
            complete = self._expected.popleft().complete
            if not complete.done():
                complete.set_exception(exc)
                # The exception is retrieved here, as a caller that timed out does not, and asyncio
                # would log it.
                complete.exception()


@lru_cache(maxsize=256)
def _plain(line: bytes) -> Reply:
    """Parse a single-line reply; cached, because servers repeat the same few replies."""
    return Reply(int(line[:3]), line[4:-2].decode("ascii"))


def _is_refused(expected: _Expected) -> bool:
    return bool(expected.replies) and expected.replies[0].code >= 400


def _rcpt(envelope: Envelope) -> str:
    return f"RCPT TO:<{envelope.recipient}>"


def _local(code: str, enhanced: str, words: str) -> Outcome:
    """Return a refusal of our own, with the code that a server would use."""
    return Outcome(Kind.REFUSED, Phase.MAIL, Scope.READER, int(code), enhanced, words)
