"""Fixtures for tests of the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from newsletter.db import engine as engines


@pytest.fixture
def another(engine: Engine) -> Iterator[Callable[[], Engine]]:
    """Open the same database once more, as another process does."""
    opened: list[Engine] = []

    def open_it() -> Engine:
        opened.append(engines.open(engine.url.render_as_string(hide_password=False)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.dispose()
