"""`newsletter delivery` at a terminal, where editions have been sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine

from newsletter.clock import utc_now
from newsletter.settings import Settings
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from terminal import Run

    from tests.integration.editions.conftest import World


@pytest.fixture
def world_of(
    sqlite_engine: Engine,
    settings: Callable[..., Settings],
    open_world: Callable[..., World],
) -> Callable[[int], World]:
    """Open a world so many days ago."""
    return lambda days: open_world(sqlite_engine, settings(), utc_now() - timedelta(days=days))


@pytest.mark.parametrize(("days", "retried"), [(0, 1), (15, 0)])
def test_what_is_unknown_of_an_edition_goes_again_unless_that_is_stale(
    run: Run, world_of: Callable[[int], World], days: int, retried: int
) -> None:
    world = world_of(days)
    reader, _ = world.readers(2)
    world.article()
    world.send(outcomes={reader: Kind.UNKNOWN})

    again = run("delivery", "retry", "--state", "unknown")

    assert again.out.startswith(f"{retried} of 1 deliveries are due now.\n")
    assert ("neither cancelled nor stale" in again.out) == (retried == 0)
    state = "unknown" if not retried else "queued"
    (row,) = run("delivery", "list", "--state", state, "--json").json["deliveries"]
    assert row["address"] == "reader1@example.org"


def test_a_list_that_is_cut_off_says_so(run: Run, world_of: Callable[[int], World]) -> None:
    world = world_of(0)
    world.readers(3)
    world.article()
    world.send()

    cut = run("delivery", "list", "--limit", "2").out
    whole = run("delivery", "list", "--limit", "3").out

    assert cut.count("accepted") == 2
    assert cut.endswith("The first 2 are shown; --limit shows more.\n")
    assert whole.count("accepted") == 3
    assert "--limit" not in whole
    assert len(run("delivery", "list", "--limit", "2", "--json").json["deliveries"]) == 2
    assert len(run("delivery", "list", "--limit", str(2**63 - 1), "--json").json["deliveries"]) == 3
