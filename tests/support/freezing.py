"""What happens while an edition is being frozen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from newsletter.editions.compose import Press


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> Iterator[None]:
    """Start `act` when the readers are counted and nothing is queued yet, and see it to its end.

    SQLite has one writer at a time, so there it runs when the freeze is over; on PostgreSQL it runs
    at once, unless a lock makes it wait.
    """
    digest = Press.digest
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as exc:  # noqa: BLE001 - the test re-raises it
            errors.append(exc)

    thread = threading.Thread(target=run)

    def interrupted(press: Press, *args: Any, **named: Any) -> Any:
        if not thread.ident:
            thread.start()
            thread.join(0.5)
        return digest(press, *args, **named)

    monkeypatch.setattr(Press, "digest", interrupted)
    yield
    thread.join(60)
    assert not errors, errors
