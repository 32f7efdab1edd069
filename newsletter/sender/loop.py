"""The clock of the event loop, and a wait that a stop ends."""

from __future__ import annotations

import asyncio
import contextlib


def loop_time() -> float:
    """Return the running loop's clock, in seconds: unlike a wall clock it is never set back."""
    return asyncio.get_running_loop().time()


async def wait_or_stop(seconds: float, stopping: asyncio.Event) -> None:
    """Wait, but not longer than until `stopping` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
