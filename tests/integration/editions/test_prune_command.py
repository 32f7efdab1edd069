"""`newsletter database prune` at a terminal and from a script."""

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
def world(
    sqlite_engine: Engine,
    settings: Callable[..., Settings],
    open_world: Callable[..., World],
) -> World:
    """Two settled editions of two readers, more than a year ago; one mail was refused."""
    world = open_world(sqlite_engine, settings(), utc_now() - timedelta(days=500))
    refused, _ = world.readers(2)
    for _ in range(3):
        world.article()
        world.send(outcomes={refused: Kind.REFUSED})
        world.tick(days=7)
    return world


def test_it_says_what_it_has_pruned_and_the_second_time_that_there_is_nothing(
    run: Run, world: World
) -> None:
    editions = run("editions", "list", "--json").json

    said = run("database", "prune", "--older-than", "400")
    again = run("database", "prune", "--older-than", "400")

    assert said == (0, "Pruned 4 deliveries of 2 editions older than 400 days.\n", "")
    assert again == (0, "There is nothing to prune that is older than 400 days.\n", "")
    assert run("editions", "list", "--json").json == editions
    assert len(run("delivery", "list", "--json").json["deliveries"]) == 2


def test_a_dry_run_only_counts(run: Run, world: World) -> None:
    dry = run("database", "prune", "--older-than", "400", "--dry-run")
    counts = run("database", "prune", "--older-than", "400", "--dry-run", "--json").json

    assert dry.out == "Would prune 4 deliveries of 2 editions older than 400 days.\n"
    assert counts == {
        "older_than_days": 400,
        "dry_run": True,
        "deliveries": 4,
        "editions": 2,
        "accepted": 2,
        "refused": 2,
        "skipped": 0,
        "cancelled": 0,
    }
    done = run("database", "prune", "--older-than", "400", "--json").json
    assert done == {**counts, "dry_run": False}


def test_deliveries_that_have_gone_are_no_trouble_to_other_commands(run: Run, world: World) -> None:
    edition = run("editions", "list", "--json").json["editions"][-1]["edition"]
    shown = run("editions", "show", edition)
    (first, *_) = run("delivery", "list", "--json").json["deliveries"]
    findings = run("status", "--json").json["findings"]
    run("database", "prune", "--older-than", "400")

    assert run("editions", "show", edition) == shown
    assert run("delivery", "list", "--edition", edition).out == "There is no such delivery.\n"
    assert run("delivery", "retry", str(first["id"]), "--json").json == {"asked": 1, "retried": 0}
    assert run("subscribers", "show", first["address"]).code == 0
    assert run("status", "--json").json["findings"] == findings


@pytest.mark.parametrize("days", ["92", "0", "-5"])
def test_too_few_days_are_refused_in_words(run: Run, world: World, days: str) -> None:
    refused = run("database", "prune", "--older-than", days, "--dry-run")

    assert (refused.code, refused.out) == (2, "")
    assert "younger than 93 days may be needed" in refused.err
    assert "catch_up_days (62)" in refused.err


@pytest.mark.parametrize("days", ["many", "9" * 30, "1000000"])
def test_days_that_no_calendar_holds_are_refused(run: Run, world: World, days: str) -> None:
    refused = run("database", "prune", "--older-than", days)

    assert (refused.code, refused.out) == (2, "")
    assert "The program failed" not in refused.err
