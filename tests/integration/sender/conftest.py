"""What tests of sending share."""

from __future__ import annotations

import pytest
import waits

from newsletter.sender import worker


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes are tenths of a second."""
    waits.shorten(monkeypatch, 0.2)

    async def hardly(self: worker.Worker, failures: int) -> None:
        # By chance, as the real one: in step, all would come, and be one too many, at once.
        await self._wait(self._rng.uniform(0, 0.02))

    monkeypatch.setattr(worker.Worker, "_pause", hardly)
