"""The clock of the event loop, and a wait that a request to stop ends early."""

from __future__ import annotations

import asyncio
import contextlib


def loop_time() -> float:
    """Return the running loop's clock in seconds, which unlike a wall clock is never set back."""
    return asyncio.get_running_loop().time()


async def wait_or_stop(seconds: float, stopping: asyncio.Event) -> None:
    """Wait for `seconds`, or until `stopping` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
