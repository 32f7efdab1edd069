from __future__ import annotations

import pytest
from readers import Readers
from sqlalchemy import Engine


@pytest.fixture
def readers(engine: Engine) -> Readers:
    """An empty database, on each engine in turn."""
    return Readers(engine)
