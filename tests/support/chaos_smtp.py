"""A mail server in a process of its own that fails in all ways in which a mail server can fail.

python chaos_smtp.py ARRIVED TALK CHANCE SEED PIPELINES LATE

The server prints its port. In each phase, with the probability CHANCE, it commits one of the faults
in KINDS; otherwise it replies correctly. Before each reply it appends a line: to ARRIVED as
counting_smtp.py does, to TALK `rcpt ADDRESS` for each try, and `no ADDRESS` for each permanent
refusal that is sent for that recipient.

A line of input is answered by a line of output as soon as there are no connections and no message
is being recorded; the records are complete then.

The server never accepts a message that it has not recorded, and never refuses one that it has
recorded, because no client can handle a server that lies.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import sys
from collections.abc import Callable
from functools import partial

_MESSAGE_ID = re.compile(rb"^Message-ID: <(.+)>\r$", re.MULTILINE)
_END = b"\r\n.\r\n"
#: Refusals with enhanced codes that concern one reader or none.
_TRANSIENT = ("450 4.2.1 try later", "451 4.3.0 not now", "451 4.4.1 no answer", "452 4.2.2 full")
_PERMANENT = (
    "550 5.1.1 no such reader", "550 5.7.1 not wanted", "552 5.2.2 full", "554 5.7.1 never",
)  # fmt: skip
_LEAVING = "421 4.3.2 closing"
_MEGABYTE = "x" * 1_000_000

#: Faults of any reply, and of replies that may be refusals.
_GARBLED = ("drop", "stall", "late", "words", "class", "half", "endless")
KINDS = (*_GARBLED, "twice", "leave", "transient", "transient", "permanent")
#: An accepted message must not be refused: the reply is an acceptance, or is missing.
_TAKEN_KINDS = (*_GARBLED, "twice")
#: Probability factor of refusals that end a run, so that they are rare.
_SELDOM = 0.2


class World:
    """State shared by all connections."""

    def __init__(self, arrived: str, talk: str, chance: float, seed: int, late: float) -> None:
        self.arrived, self.talk = (
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in (arrived, talk)
        )
        self.chance = chance
        self.late = late
        self.rng = random.Random(seed)
        self.busy = 0
        self.is_quiet = asyncio.Event()
        self.is_quiet.set()

    def count(self, change: int) -> None:
        self.busy += change
        if self.busy:
            self.is_quiet.clear()
        else:
            self.is_quiet.set()


class Chaotic(asyncio.Protocol):
    """One connection; commands may come pipelined."""

    def __init__(self, world: World, *, pipelines: bool) -> None:
        self.world = world
        self.pipelines = pipelines
        self.buffer = bytearray()
        #: The recipient of the current transaction; None before MAIL, empty before RCPT was
        #: accepted.
        self.recipient: bytes | None = None
        #: A refusal of MAIL counts for the recipient of the next RCPT.
        self.is_unwanted = False
        self.in_body = False
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.world.count(+1)
        self.answer("greeting", "220 chaos.test ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self.world.count(-1)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.read()

    def read(self) -> None:
        while not self.is_busy and not self.transport.is_closing():
            end = self.buffer.find(_END if self.in_body else b"\r\n")
            if end < 0:
                return
            octets = bytes(self.buffer[:end])
            if self.in_body:
                del self.buffer[: end + len(_END)]
                self.in_body = False
                self.file(octets + b"\r\n")
            else:
                del self.buffer[: end + 2]
                self.command(octets)

    def command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb in {b"EHLO", b"HELO"}:
            extensions = "250-PIPELINING\r\n" if self.pipelines else ""
            self.answer("ehlo", f"250-chaos.test\r\n{extensions}250-SIZE 10000000\r\n250 8BITMIME")
        elif verb == b"MAIL":
            self.recipient, self.is_unwanted = None, False
            if self.answer("mail", "250 2.1.0 ok"):
                self.recipient = b""
        elif verb == b"RCPT":
            self.rcpt(line.partition(b"<")[2].partition(b">")[0])
        elif verb == b"DATA":
            self.data()
        elif verb == b"QUIT":
            self.say("221 2.0.0 bye")
            self.transport.close()
        else:
            self.recipient = None
            self.say("250 2.0.0 ok")

    def rcpt(self, recipient: bytes) -> None:
        os.write(self.world.talk, b"rcpt " + recipient + b"\n")
        if self.is_unwanted:
            self.write_no(recipient)
        if self.recipient is None:
            self.say("503 5.5.1 no MAIL")
            return
        self.recipient = recipient
        if not self.answer("rcpt", "250 2.1.5 ok"):
            self.recipient = b""

    def data(self) -> None:
        if not self.recipient:
            self.say("503 5.5.1 no RCPT")
        elif self.answer("data", "354 go ahead"):
            self.in_body = True
        else:
            self.recipient = None

    def file(self, content: bytes) -> None:
        assert self.recipient
        take = partial(self.take, self.recipient, content)
        if self.answer("dot", "", then=take):
            take()
        self.recipient = None

    def take(self, recipient: bytes, content: bytes) -> None:
        found = _MESSAGE_ID.search(content)
        digest = hashlib.sha1(content).hexdigest().encode()
        line = b" ".join((recipient, found[1] if found else b"-", digest))
        os.write(self.world.arrived, line + b"\n")
        self.answer("taken", "250 2.0.0 written down")

    def write_no(self, recipient: bytes) -> None:
        os.write(self.world.talk, b"no " + recipient + b"\n")

    def answer(self, phase: str, right: str, *, then: Callable[[], None] | None = None) -> bool:
        """Reply to a phase correctly or with a fault; return whether to go on as after success."""
        world = self.world
        if world.rng.random() >= world.chance:
            self.say(right)
            return True
        kind = world.rng.choice(_TAKEN_KINDS if phase == "taken" else KINDS)
        if kind == "late":
            self.later(then or partial(self.say, right))
            return then is None
        if kind in {"transient", "permanent", "leave", "twice"}:
            return self.refuse(kind, phase, right)
        self.garble(kind, phase)
        return False

    def refuse(self, kind: str, phase: str, right: str) -> bool:
        """Refuse, or send the correct reply twice."""
        rng = self.world.rng
        if kind == "permanent" and (phase in {"rcpt", "data", "dot"} or rng.random() < _SELDOM):
            text = rng.choice(_PERMANENT)
            self.is_unwanted = phase == "mail"
            if self.recipient:
                self.write_no(self.recipient)
        elif kind == "twice":
            # The message must be recorded before its final dot is acknowledged.
            text = right or rng.choice(_TRANSIENT)
            self.say(f"{text}\r\n{text}")
            return bool(right)
        else:
            text = _LEAVING if kind == "leave" else rng.choice(_TRANSIENT)
        self.say(text)
        if kind == "leave":
            self.transport.close()
        return False

    def garble(self, kind: str, phase: str) -> None:
        """Send no reply or a malformed one; later input is not read."""
        if kind == "words":
            self.say("what was that?")
        elif kind == "class":
            self.say("250 2.0.0 written down" if phase == "data" else "354 go ahead")
        elif kind == "half":
            self.transport.write(b"250 2.0.0 writ")
        elif kind == "endless":
            self.say(f"250 2.0.0 {_MEGABYTE}")
        if kind in {"drop", "half"}:
            self.transport.close()
        self.is_busy = True

    def later(self, reaction: Callable[[], None]) -> None:
        """Record the message, perhaps after the client's time-out; input is not read meanwhile."""
        self.is_busy = True
        self.world.count(+1)
        seconds = self.world.late * self.world.rng.uniform(0, 2)
        asyncio.get_running_loop().call_later(seconds, self.at_last, reaction)

    def at_last(self, reaction: Callable[[], None]) -> None:
        self.is_busy = False
        reaction()
        self.world.count(-1)
        self.read()

    def say(self, text: str) -> None:
        if text and not self.transport.is_closing():
            self.transport.write(text.encode() + b"\r\n")


async def _tell_when_quiet(world: World) -> None:
    """Answer each line of standard input when no connection is open."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        # By then, pending connections have been accepted.
        await asyncio.sleep(0.01)
        await world.is_quiet.wait()
        print("quiet", flush=True)


async def main(world: World, *, pipelines: bool) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Chaotic(world, pipelines=pipelines), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await _tell_when_quiet(world)


if __name__ == "__main__":
    _, arrived, talk, chance, seed, pipelines, late = sys.argv
    world = World(arrived, talk, float(chance), int(seed), float(late))
    asyncio.run(main(world, pipelines=pipelines == "True"))
