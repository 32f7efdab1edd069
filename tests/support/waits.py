"""Shortens the time-outs of a session with a mail server, which are minutes."""

from __future__ import annotations

import pytest

from newsletter.smtp import session


def shorten(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Limit all time-outs of a session to `seconds`."""
    for name in ("MAIL", "RCPT", "DATA", "BODY", "QUIT", "STEP"):
        monkeypatch.setattr(session, f"{name}_SECONDS", seconds)
