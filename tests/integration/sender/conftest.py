"""What tests of sending share."""

from __future__ import annotations

import pytest
import waits

from newsletter.sender import worker


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten time-outs and back-off to a fraction of a second."""
    waits.shorten(monkeypatch, 0.2)
    monkeypatch.setattr(worker, "BACKOFF_SECONDS", 0.001)
