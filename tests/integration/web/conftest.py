from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine
from visitor import Make, Visitor

from newsletter.settings import Settings


@pytest.fixture
def visitor(engine: Engine, settings: Callable[..., Settings]) -> Visitor:
    """The application of a publication in Berlin, on each database in turn."""
    return Visitor(engine, settings(timezone="Europe/Berlin"))


@pytest.fixture
def visit(sqlite_engine: Engine, settings: Callable[..., Settings]) -> Make:
    """Make the application of a publication with other settings."""

    def make(**changes: Any) -> Visitor:
        return Visitor(sqlite_engine, settings(timezone="Europe/Berlin", **changes))

    return make
