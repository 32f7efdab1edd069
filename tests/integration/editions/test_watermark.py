"""The promise of the watermark, over random histories: no article twice, and none missed.

After every step the books balance, and for every reader the mails that arrived fit together without
a gap and without an overlap: of what was released nothing is missing, and what is held or rejected
is in none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import histories
import pytest
from examples import examples
from histories import CATCH_UP, History
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.settings import Settings

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy, and templates that are quickly rendered."""
    folder = tmp_path_factory.mktemp("watermark")
    opened = engines.open(f"sqlite:///{folder / 'empty.db'}")
    schema.upgrade(opened)
    opened.dispose()
    histories.quick_templates(folder)
    return folder


@pytest.mark.parametrize("policy", ["hold", "resend"])
@examples(
    12,
    many=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plan=st.lists(histories.steps, min_size=12, max_size=30))
def test_no_article_comes_twice_and_none_is_missed(
    plan: list[tuple[Any, ...]],
    policy: str,
    empty: Path,
    settings: Callable[..., Settings],
    open_world: Callable[..., World],
) -> None:
    copy = empty / "copy.db"
    for old in empty.glob("copy.db*"):
        old.unlink()
    shutil.copyfile(empty / "empty.db", copy)
    opened = engines.open(f"sqlite:///{copy}")
    chosen = settings(
        templates=empty / "templates", catch_up_days=CATCH_UP.days, catch_up_articles=500
    )
    try:
        history = History(open_world(opened, chosen), policy)
        for step in plan:
            history.do(*step)
    finally:
        opened.dispose()
