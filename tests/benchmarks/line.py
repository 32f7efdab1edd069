"""A TCP proxy that delays each chunk by half a round trip: PORT TO_PORT ROUND_TRIP_SECONDS."""

from __future__ import annotations

import asyncio
import sys

import uvloop

_TO_PORT, _ONE_WAY = int(sys.argv[2]), float(sys.argv[3]) / 2


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while data := await source.read(262_144):
        # Timers of one length fire in the order in which they were set.
        loop.call_later(_ONE_WAY, target.write, data)
    loop.call_later(_ONE_WAY, target.close)


async def _join(source: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    far_source, far_writer = await asyncio.open_connection("127.0.0.1", _TO_PORT)
    await asyncio.gather(
        _pass_on(source, far_writer), _pass_on(far_source, writer), return_exceptions=True
    )


async def _main() -> None:
    server = await asyncio.start_server(_join, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
