"""`newsletter editions` at a terminal and from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from newsletter.cli.app import app
from newsletter.errors import Conflict, NotFound
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

WEEKLY = "weekly-2026-06-01"
Says = Callable[..., str]


@pytest.fixture
def says(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Says:
    """Run a command on the same database and return what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", f"sqlite:///{tmp_path / 'newsletter.db'}")
    monkeypatch.setenv("NEWSLETTER_TIMEZONE", "Europe/Berlin")

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["editions", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def sent(make_world: Callable[..., World]) -> World:
    """A weekly edition that one reader has and one waits for."""
    world = make_world()
    waiting, _ = world.readers(2)
    world.article(title="[red]A headline[/red]")
    world.send(outcomes={waiting: Kind.DEFERRED})
    return world


def test_the_list_is_empty_at_first_and_says_what_to_do(says: Says) -> None:
    assert "newsletter send CADENCE" in says("list")


def test_the_list_has_the_books_of_each_edition(says: Says, sent: World) -> None:
    sent.freeze("daily")

    editions = _reads(says, "list")["editions"]

    assert [one["edition"] for one in editions] == ["daily-2026-06-01", WEEKLY]
    assert {name: editions[1][name] for name in ("audience", "accepted", "deferred")} == {
        "audience": 2,
        "accepted": 1,
        "deferred": 1,
    }
    assert editions[0]["reason"] == "No active reader has chosen daily."


def test_the_list_of_one_cadence_is_as_long_as_asked(says: Says, sent: World) -> None:
    sent.tick(days=7)
    sent.article()
    sent.freeze()

    editions = _reads(says, "list", "--cadence", "weekly", "--limit", "1")["editions"]

    assert [one["edition"] for one in editions] == ["weekly-2026-06-08"]


def test_the_table_gives_reasons_and_no_columns_of_noughts(says: Says, sent: World) -> None:
    sent.freeze("daily")

    printed = says("list")

    assert "daily-2026-06-01: No active reader has chosen daily." in printed
    assert "deferred" in printed
    assert "unknown" not in printed


def test_show_tells_the_coverage_and_the_articles(says: Says, sent: World) -> None:
    printed = says("show", WEEKLY)

    assert "Covers 2026-05-25 09:00 to 2026-06-01 09:00 CEST." in printed
    assert "[red]A headline[/red]" in printed

    found = _reads(says, "show", WEEKLY)
    assert found["coverage_end"].startswith("2026-06-01T07:00:00")
    (mailing,) = found["mailings"]
    assert mailing["readers"] == 2
    assert [one["role"] for one in mailing["articles"]] == ["lead"]


def test_an_edition_is_paused_resumed_and_cancelled(says: Says, sent: World) -> None:
    assert WEEKLY in says("pause", WEEKLY)
    assert _reads(says, "show", WEEKLY)["state"] == "paused"
    assert "1 reader to go" in says("resume", WEEKLY)

    found = _reads(says, "cancel", WEEKLY, "--reason", "A wrong headline.")

    assert (found["state"], found["reason"]) == ("cancelled", "A wrong headline.")
    assert (found["accepted"], found["cancelled"]) == (1, 1)


def test_cancelling_says_who_had_it(says: Says, sent: World) -> None:
    assert "1 reader had it, 1 will not get it." in says("cancel", WEEKLY)


def test_cancelling_says_who_may_have_had_it(says: Says, make_world: Callable[..., World]) -> None:
    world = make_world()
    readers = world.readers(3)
    world.article()
    world.freeze()
    world.record(world.take(limit=2), dict.fromkeys(readers, Kind.UNKNOWN), policy="resend")

    assert "0 readers had it, 2 may have had it, 1 will not get it." in says("cancel", WEEKLY)


def test_a_rehearsed_correction_says_who_will_still_get_the_mistake(
    says: Says, sent: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NEWSLETTER_SECRET_KEYS", sent.settings.secret_keys[0])
    (tmp_path / "text").write_text("It is [green].")
    (mailing,) = _reads(says, "show", WEEKLY)["mailings"]
    article = str(mailing["articles"][0]["article_id"])
    words = ("correct", WEEKLY, "--article", article, "--text", "text", "--dry-run")

    found, printed = _reads(says, *words, "--subject", "[b]"), says(*words)

    assert (found["readers"], found["still_to_get_it"], found["subject"]) == (1, 1, "[b]")
    assert "\n\nIt is [green].\n\n" in found["text"]
    assert "Subject: Correction: [red]A headline[/red]" in printed
    assert "It is [green]." in printed
    assert "The correction would go to 1 reader." in printed
    assert _reads(says, "show", WEEKLY)["corrections"] == []


def test_a_name_that_no_edition_has_is_refused(says: Says) -> None:
    with pytest.raises(NotFound):
        says("show", WEEKLY)


def test_a_cancelled_edition_cannot_be_cancelled_again(says: Says, sent: World) -> None:
    says("cancel", WEEKLY)

    with pytest.raises(Conflict):
        says("cancel", WEEKLY)


def _reads(says: Says, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(says(*words, "--json"))
    return found
