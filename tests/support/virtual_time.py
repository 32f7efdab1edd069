"""An event loop whose clock jumps to the next scheduled callback, so that waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    def __init__(self, loop: _Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for somebody else"
        # At least a microsecond, because a wait too short to change the clock would never end.
        self._loop.now += max(timeout, 1e-6)
        found: list[Any] = super().select(0)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end; the loop's clock begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(main)
