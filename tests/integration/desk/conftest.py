from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from operator_desk import OperatorDesk
from readers import Readers
from sqlalchemy import Engine

from newsletter.settings import Settings
from tests.integration.editions.conftest import World

MakeDesk = Callable[..., OperatorDesk]


@pytest.fixture
def desk(engine: Engine, settings: Callable[..., Settings]) -> OperatorDesk:
    """The desk of a publication in Berlin, with Mia signed in, on each database in turn."""
    return OperatorDesk(engine, settings(timezone="Europe/Berlin")).sign_in()


@pytest.fixture
def desk_with(sqlite_engine: Engine, settings: Callable[..., Settings]) -> MakeDesk:
    """Make the desk of a publication with other settings; nobody is signed in."""

    def make(*, base: str = "http://127.0.0.1:8026", **changes: Any) -> OperatorDesk:
        return OperatorDesk(sqlite_engine, settings(timezone="Europe/Berlin", **changes), base=base)

    return make


@pytest.fixture
def readers(engine: Engine) -> Readers:
    """The readers of the publication, to be added and looked at."""
    return Readers(engine)


@pytest.fixture
def world(desk: OperatorDesk) -> World:
    """The publication of `desk`, at its clock, with articles, readers and editions to be made."""
    return World(desk.engine, desk.settings, now=desk.now)
