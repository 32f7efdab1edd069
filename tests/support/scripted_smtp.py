"""A mail server whose replies a test scripts, at every point of the session.

The server runs in a thread of its own on 127.0.0.1. A rule is called before each reply. It may
return any number of reply lines, DROP, STALL, or None for the correct reply, or an awaitable of one
of these.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from newsletter.cli.catcher import accept_no_more


class Act(Enum):
    DROP = "close the connection without a word"
    STALL = "never answer"


DROP, STALL = Act.DROP, Act.STALL


@dataclass
class Turn:
    """The context that a rule gets."""

    #: The phase: connect, ehlo, starttls, auth, mail, rcpt, data, body, rset, quit or other.
    phase: str
    line: str
    #: The number of the connection, from 1.
    connection: int
    #: The number of open connections, including this one.
    open: int
    #: The number of earlier turns of this phase in all connections.
    earlier: int
    recipient: str


Answer = str | Act | None
Rule = Callable[[Turn], "Answer | Awaitable[Answer]"]


@dataclass(frozen=True)
class Arrival:
    """One received message, without dot-stuffing."""

    recipient: str
    content: bytes
    mail: str

    @property
    def message_id(self) -> str:
        found = re.search(rb"^Message-ID: <(.+)>\r$", self.content, re.MULTILINE)
        assert found is not None
        return found[1].decode()


@dataclass
class ScriptedServer:
    """The commands and messages that the server got; arrivals are those that no rule refused."""

    rule: Rule = lambda _turn: None
    extensions: Sequence[str] = ("PIPELINING", "SIZE 10240000", "8BITMIME")
    starttls: ssl.SSLContext | None = None
    implicit_tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    open: int = 0
    commands: list[str] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)

    def recipients(self) -> list[str]:
        return [arrival.recipient for arrival in self.arrivals]

    async def work(self) -> None:
        """Simulate the work for a message; subclasses may wait here."""

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        talking = asyncio.create_task(self._converse(self.connections, reader, writer))
        # A callback, because the task may be cancelled before it has begun.
        talking.add_done_callback(lambda _: self._left(writer))

    def _left(self, writer: asyncio.StreamWriter) -> None:
        self.open -= 1
        writer.transport.abort()

    async def _converse(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await _Conversation(self, number, reader, writer).run()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 1)


class _Dropped(ConnectionError):
    pass


class _Conversation:
    def __init__(
        self,
        server: ScriptedServer,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server = server
        self.number = number
        self.reader = reader
        self.writer = writer
        self.mail = self.recipient = ""
        self.has_recipient = False

    async def run(self) -> None:
        await self.answer("connect", "", "220 scripted.test ESMTP")
        while line := (await self.reader.readline()).decode("utf-8").rstrip("\r\n"):
            self.server.commands.append(line)
            verb = line.partition(" ")[0].lower()
            await getattr(self, f"do_{verb}", self.do_other)(line)
            if verb == "quit":
                return

    async def answer(self, phase: str, line: str, usual: str) -> bool:
        """Send the reply of the rule, or the usual one; return whether it was positive."""
        earlier = self.server.phases[phase]
        self.server.phases[phase] += 1
        turn = Turn(phase, line, self.number, self.server.open, earlier, self.recipient)
        wanted = self.server.rule(turn)
        if isinstance(wanted, Awaitable):
            wanted = await wanted
        if wanted is DROP:
            raise _Dropped
        if wanted is STALL:
            await self.reader.read()
            raise _Dropped
        text = usual if wanted is None else str(wanted)
        self.writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n" * bool(text))
        await self.writer.drain()
        if text.startswith("421"):
            raise _Dropped
        return text[:1] in {"2", "3"}

    async def do_ehlo(self, line: str) -> None:
        words = ["scripted.test", *self.server.extensions]
        if self.server.starttls and not self.writer.get_extra_info("sslcontext"):
            words.append("STARTTLS")
        lines = [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]
        await self.answer("ehlo", line, "\r\n".join(lines))

    async def do_starttls(self, line: str) -> None:
        assert self.server.starttls
        if await self.answer("starttls", line, "220 go ahead"):
            await self.writer.start_tls(self.server.starttls)

    async def do_auth(self, line: str) -> None:
        await self.answer("auth", line, "235 2.7.0 welcome")

    async def do_mail(self, line: str) -> None:
        self.mail = line
        await self.answer("mail", line, "250 2.1.0 ok")

    async def do_rcpt(self, line: str) -> None:
        self.recipient = line.partition("<")[2].partition(">")[0]
        self.has_recipient = await self.answer("rcpt", line, "250 2.1.5 ok")

    async def do_data(self, line: str) -> None:
        has_recipient, self.has_recipient = self.has_recipient, False
        usual = "354 go ahead" if has_recipient else "554 5.5.1 no valid recipients"
        if not await self.answer("data", line, usual):
            return
        content = bytearray()
        while (octets := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            content += octets[1:] if octets.startswith(b".") else octets
        arrival = Arrival(self.recipient, bytes(content), self.mail)
        await self.server.work()
        # Recorded before the reply, because a test may check it as soon as the client has the
        # reply.
        self.server.arrivals.append(arrival)
        # A dropped connection counts as accepted, since the client cannot know the outcome.
        is_kept = await self.answer("body", "", f"250 2.0.0 queued as {len(content)}")
        if not is_kept:
            self.server.arrivals.remove(arrival)

    async def do_rset(self, line: str) -> None:
        await self.answer("rset", line, "250 2.0.0 ok")

    async def do_quit(self, line: str) -> None:
        await self.answer("quit", line, "221 2.0.0 bye")

    async def do_other(self, line: str) -> None:
        await self.answer("other", line, "500 5.5.2 what?")


@contextmanager
def running(server: ScriptedServer) -> Iterator[ScriptedServer]:
    """Run a scripted server on a free port of 127.0.0.1."""
    is_up, loops, stop = threading.Event(), [], asyncio.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        listening = await asyncio.start_server(
            server.connected, "127.0.0.1", 0, limit=1 << 24, ssl=server.implicit_tls
        )
        server.port = listening.sockets[0].getsockname()[1]
        is_up.set()
        await stop.wait()
        await accept_no_more(listening)
        listening.close()
        for _ in range(3):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert is_up.wait(10)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
