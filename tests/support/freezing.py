"""Runs an action while an edition or a correction is being frozen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from newsletter.editions.compose import MailRenderer


@contextmanager
def meanwhile(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any], *, step: str = "digest"
) -> Iterator[None]:
    """Start `act` when a mail is compiled and nothing is queued yet, and wait for its end.

    SQLite has one writer at a time, so `act` runs after the freeze; on PostgreSQL it runs
    immediately, unless it waits for a lock.
    """
    compiled = getattr(MailRenderer, step)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as exc:  # noqa: BLE001 - the test re-raises it
            errors.append(exc)

    thread = threading.Thread(target=run)

    def interrupted(renderer: MailRenderer, *args: Any, **named: Any) -> Any:
        if not thread.ident:
            thread.start()
            thread.join(0.5)
        return compiled(renderer, *args, **named)

    monkeypatch.setattr(MailRenderer, step, interrupted)
    yield
    thread.join(60)
    assert not errors, errors
