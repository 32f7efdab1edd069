"""STARTTLS and a password before smtp-sink, which has neither: PORT TO_PORT CERTIFICATE.

Until the first MAIL it answers by itself; from then on it passes octets on.
"""

from __future__ import annotations

import asyncio
import ssl
import sys

import uvloop

_TO_PORT = int(sys.argv[2])
_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_CONTEXT.load_cert_chain(sys.argv[3])


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(262_144):
        target.write(data)
        await target.drain()
    target.close()


async def _greet(
    source: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_safe: bool = False
) -> bytes:
    """Answer until MAIL, and return its line; empty if the client has left."""
    while line := await source.readline():
        verb = line[:4].upper()
        if verb == b"MAIL":
            return line
        if verb == b"EHLO":
            offer = b"AUTH PLAIN" if is_safe else b"STARTTLS"
            writer.write(b"250-front\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 " + offer + b"\r\n")
        elif verb == b"STAR":
            writer.write(b"220 go ahead\r\n")
            await writer.start_tls(_CONTEXT)
            is_safe = True
        elif verb == b"AUTH":
            writer.write(b"235 welcome\r\n")
        else:
            writer.write(b"221 bye\r\n")
            break
    return b""


async def _join(source: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 front ESMTP\r\n")
    if not (mail := await _greet(source, writer)):
        writer.close()
        return
    far_source, far_writer = await asyncio.open_connection("127.0.0.1", _TO_PORT)
    await far_source.readline()
    far_writer.write(b"HELO front\r\n")
    await far_source.readline()
    far_writer.write(mail)
    await asyncio.gather(
        _pass_on(source, far_writer), _pass_on(far_source, writer), return_exceptions=True
    )


async def _main() -> None:
    server = await asyncio.start_server(_join, "127.0.0.1", int(sys.argv[1]), limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
