from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def digests() -> SimpleNamespace:
    """The digests that are looked at in the journeys, to be taken apart here."""
    path = Path(__file__).parents[2] / "samples" / "digests.py"
    return SimpleNamespace(**runpy.run_path(str(path)))
