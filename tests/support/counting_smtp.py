"""A mail server in a process of its own that records every message before it replies.

python counting_smtp.py FILE [DELAY]

The server prints its port, then appends a line for each message that it accepts: recipient,
Message-ID and a hash of the bytes. Handling a message takes up to twice DELAY seconds, and it is
recorded at some moment within, so that a client that crashes meanwhile cannot know its outcome.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import sys

_MESSAGE_ID = re.compile(rb"^Message-ID: <(.+)>\r$", re.MULTILINE)
_END = b"\r\n.\r\n"


class Counting(asyncio.Protocol):
    """One connection; commands may come pipelined."""

    def __init__(self, log: int, delay: float) -> None:
        self.log = log
        self.delay = delay
        self.buffer = bytearray()
        self.recipient = b""
        self.in_body = False
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"220 counting.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.read()

    def read(self) -> None:
        while not self.is_busy:
            end = self.buffer.find(_END if self.in_body else b"\r\n")
            if end < 0:
                return
            octets = bytes(self.buffer[:end])
            if self.in_body:
                del self.buffer[: end + len(_END)]
                self.in_body, self.is_busy = False, True
                asyncio.get_running_loop().create_task(self.file(octets + b"\r\n"))
            else:
                del self.buffer[: end + 2]
                self.command(octets)

    def command(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            self.say("250-counting.test\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250 8BITMIME")
        elif verb == b"RCPT":
            self.recipient = line.partition(b"<")[2].partition(b">")[0]
            self.say("250 2.1.5 ok")
        elif verb == b"DATA":
            self.in_body = True
            self.say("354 go ahead")
        elif verb == b"QUIT":
            self.say("221 2.0.0 bye")
            self.transport.close()
        else:
            self.say("250 2.0.0 ok")

    async def file(self, content: bytes) -> None:
        before, after = self.delay * random.random(), self.delay * random.random()
        if self.delay:
            await asyncio.sleep(before)
        found = _MESSAGE_ID.search(content)
        line = b" ".join(
            (
                self.recipient,
                found[1] if found else b"-",
                hashlib.sha1(content).hexdigest().encode(),
            )
        )
        os.write(self.log, line + b"\n")
        if self.delay:
            await asyncio.sleep(after)
        self.is_busy = False
        if not self.transport.is_closing():
            # The reply is as long as those of many relays, because the ledger stores it.
            self.say(f"250 2.0.0 written down as {line.decode()}")
            self.read()

    def say(self, text: str) -> None:
        self.transport.write(text.encode() + b"\r\n")


async def main(path: str, delay: float) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Counting(log, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
