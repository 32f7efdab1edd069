"""The editor's commands, as an operator and a script see them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import terminal
from terminal import Run

HELD = "1 article is held: no edition has it before `newsletter articles release`."


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, migrated_sqlite: Path) -> Run:
    """Run a command as mia, on a database with three articles and a weekly reader."""
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "mia")
    terminal.placed(migrated_sqlite, tmp_path)
    for name in ("alpha", "beta", "gamma"):
        link = f"https://miasfeed.example/{name}"
        assert run("articles", "add", "--title", name, "--link", link).code == 0
    assert run("subscribers", "add", "ada@readers.example", "--cadence", "weekly").code == 0
    return run


def states(run: Run) -> dict[int, str]:
    return {
        one["article"]: one["state"] for one in run("articles", "list", "--json").json["articles"]
    }


def test_articles_are_held_and_released_by_number(run: Run) -> None:
    assert run("articles", "hold", "2").out == f"{HELD}\n"
    assert run("articles", "hold", "2").out == "Nothing was to be held.\n"
    assert run("articles", "hold", "1", "3", "--json").json == {"held": 2, "articles": [1, 3]}
    assert states(run) == {1: "held", 2: "held", 3: "held"}
    assert run("articles", "list", "--held", "--json").json["total"] == 3
    assert (
        "`newsletter articles release ID...` lets them out."
        in run("articles", "list", "--held").out
    )

    released = run("articles", "release", "1", "2")

    assert released.out == "2 articles are released and will be in the next editions.\n"
    assert states(run) == {1: "out", 2: "out", 3: "held"}
    assert "1 article is held: `newsletter articles list --held`." in run("status").out
    assert run("status", "--json").json["held"] == 1


def test_a_rejected_article_is_listed_and_cannot_be_released(run: Run) -> None:
    assert run("articles", "reject", "1").out == "1 article is rejected: no edition will have it.\n"

    refused = run("articles", "release", "1")

    assert (refused.code, refused.err) == (1, "Article 1 is rejected, for good.\n")
    assert run("articles", "approve", "1").code == 1
    assert "alpha" in run("articles", "list", "--rejected").out


def test_an_article_shows_who_did_what_and_the_edition_that_has_it(run: Run) -> None:
    run("articles", "hold", "1")
    run("articles", "release", "1")

    shown = run("articles", "show", "1", "--json").json

    assert (shown["state"], shown["edition"]) == ("out", None)
    assert [(one["action"], one["actor"]) for one in shown["history"]] == [
        ("articles.add", "cli:mia"),
        ("articles.hold", "cli:mia"),
        ("articles.release", "cli:mia"),
    ]
    said = run("articles", "show", "1").out
    assert "hold, by cli:mia" in said
    assert "release, by cli:mia" in said


def test_behind_sudo_it_is_still_the_person_who_did_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ada\x1b[31m")
    run("articles", "hold", "1")

    *_, act = run("articles", "show", "1", "--json").json["history"]
    assert act["actor"] == "cli:ada[31m"


def test_a_pin_is_said_by_the_list_the_status_and_the_preview(run: Run) -> None:
    pinned = run("articles", "pin", "1")

    assert pinned.out == "Article 1 leads the next daily, weekly and monthly edition: alpha\n"
    assert "out, pinned" in run("articles", "list").out
    assert pinned.out in run("status").out
    assert run("status", "--json").json["pinned"] == {
        "article": 1, "title": "alpha", "leads": ["daily", "weekly", "monthly"],
    }  # fmt: skip
    assert run("preview", "weekly", "--json").json["subject"] == "alpha, and 2 more"
    assert run("articles", "unpin").out == "Article 1 is pinned no more: alpha\n"
    assert run("articles", "unpin").out == "No article was pinned.\n"
    assert run("status", "--json").json["pinned"] is None


def test_a_pin_of_a_held_article_says_that_it_is_held(run: Run) -> None:
    run("articles", "hold", "1")

    assert "`newsletter articles release 1`" in run("articles", "pin", "1").out


def test_an_edition_is_skipped_and_made_after_all(run: Run) -> None:
    skipped = run("editions", "skip", "weekly", "--json")

    name, following = skipped.json["edition"], skipped.json["following"]
    again = run("editions", "skip", "weekly")
    assert f"{name}, due " in again.out
    assert f"is skipped already; the next one is {following}." in again.out
    upcoming = {one["cadence"]: one for one in run("status", "--json").json["next"]}
    assert (upcoming["weekly"]["skipped"], upcoming["daily"]["skipped"]) == (True, False)
    assert f"{name} is skipped; the next one is {following}." in run("preview", "weekly").out
    assert f"{name}: Skipped by the editor." in run("editions", "list").out
    assert run("editions", "show", name, "--json").json["history"][0]["actor"] == "cli:mia"
    reader = run("subscribers", "show", "ada@readers.example", "--json").json
    assert reader["next"]["period"] == following.removeprefix("weekly-")

    assert f"{name} will be made" in run("editions", "unskip", "weekly").out

    refused = run("editions", "unskip", "weekly")
    assert refused.code == 1
    assert f"{name}, is not skipped" in refused.err


def test_a_note_is_written_shown_and_taken_back(run: Run) -> None:
    assert run("note", "weekly").out == "No note waits for the next weekly edition.\n"

    written = run("note", "weekly", "Dear **all**, [look](https://a.example/).")

    assert written.out == (
        "The next weekly edition has this note:\n\nDear all, look [1].\n[1] https://a.example/\n"
    )
    assert run("note", "weekly").out == written.out
    assert run("note", "daily", "--json").json == {"cadence": "daily", "note": None}
    assert run("status", "--json").json["notes"] == {
        "weekly": "Dear **all**, [look](https://a.example/)."
    }
    assert "A note waits for the next weekly edition" in run("status").out
    folder = run("preview", "weekly", "--json").json["files"]
    assert "Dear <strong" in Path(folder[0]).read_text()
    assert "Dear all, look [1]." in Path(folder[1]).read_text()
    assert run("note", "weekly", "--remove").out == (
        "The note for the next weekly edition is taken back.\n"
    )
    assert run("note", "weekly", "--remove").out == "No note waits for the next weekly edition.\n"


def test_a_note_is_read_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffGrüße\r\n".encode())))
    assert run("note", "weekly", "-", "--json").json["note"] == "Grüße"

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    refused = run("note", "weekly", "-")
    assert (refused.code, refused.err.splitlines()[0]) == (2, "Standard input is not UTF-8.")


@pytest.mark.parametrize(
    "words",
    [
        ("note", "weekly", ""),
        ("note", "weekly", "a\x1b[2J"),
        ("note", "weekly", "a" * 5_001),
        ("note", "weekly", "text", "--remove"),
        ("note", "hourly", "text"),
        ("articles", "list", "--held", "--rejected"),
        ("articles", "hold"),
        ("articles", "pin", "one"),
    ],
)
def test_mistakes_of_usage_are_exit_code_2_and_change_nothing(
    run: Run, words: tuple[str, ...]
) -> None:
    assert run(*words).code == 2
    assert run("status", "--json").json["notes"] == {}


def test_a_category_that_is_left_out_is_said_by_the_list(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = "https://miasfeed.example/goal"
    run("articles", "add", "--title", "Goal", "--link", link, "--category", "Sport")
    monkeypatch.setenv("NEWSLETTER_SKIP_CATEGORIES", "politics, sport")

    assert "left out: Sport" in run("articles", "list").out
    shown = run("articles", "show", "4", "--json").json
    assert (shown["state"], shown["left_out"]) == ("out", "Sport")
    refused = run("articles", "pin", "4")
    assert refused.code == 1
    assert "its category Sport is left out.\nLook at the setting skip_categories." in refused.err
