"""What tests of sending share."""

from __future__ import annotations

import pytest

from newsletter.delivery import worker
from newsletter.smtp import session as smtp_session


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes are tenths of a second."""
    for name in (
        "MAIL_SECONDS",
        "RCPT_SECONDS",
        "DATA_SECONDS",
        "BODY_SECONDS",
        "QUIT_SECONDS",
        "STEP_SECONDS",
    ):
        monkeypatch.setattr(smtp_session, name, 0.2)

    async def hardly(self: worker.Worker, failures: int) -> None:
        if failures > 0:
            await self._wait(0.01)

    monkeypatch.setattr(worker.Worker, "_pause", hardly)
