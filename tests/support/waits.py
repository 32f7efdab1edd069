"""Minutes of patience with a mail server, shortened."""

from __future__ import annotations

import pytest

from newsletter.smtp import session


def shorten(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let a session wait no longer than that for anything."""
    for name in ("MAIL", "RCPT", "DATA", "BODY", "QUIT", "STEP"):
        monkeypatch.setattr(session, f"{name}_SECONDS", seconds)
