"""Fixtures for tests of sending."""

from __future__ import annotations

import pytest
import waits

from newsletter.sender import worker


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten minutes to tenths of a second."""
    waits.shorten(monkeypatch, 0.2)

    async def hardly(self: worker.Worker, failures: int) -> None:
        # With jitter, as the real one: otherwise all retries would come at the same instant.
        await self._wait(self._rng.uniform(0, 0.02))

    monkeypatch.setattr(worker.Worker, "_pause", hardly)
