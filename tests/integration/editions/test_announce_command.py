"""`newsletter announce`: what it prints, what it refuses, and that a plan writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlmodel import select
from terminal import Run

from newsletter.db import session as sessions
from newsletter.editions import announce as announcing
from newsletter.models import Announcement, Delivery

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

WORDS = "# We move\n\nFrom **1 January** on, see [the map](https://miasfeed.example/map).\n"


@pytest.fixture
def world(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> World:
    """A publication on SQLite, whose database the commands use."""
    made = make_world()
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", made.engine.url.render_as_string())
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "move.md"
    path.write_text(WORDS, encoding="utf-8")
    return path


def rows(world: World) -> tuple[int, int]:
    with sessions.reading(world.engine) as session:
        return (
            len(session.exec(select(Delivery.id)).all()),
            len(session.exec(select(Announcement.id)).all()),
        )


def test_a_plan_says_whom_it_reaches_and_writes_nothing(world: World, run: Run, file: Path) -> None:
    world.readers(3, "weekly")
    world.reader("daily")
    world.leave(world.reader("weekly"))

    said = run("announce", str(file), "--to", "weekly", "--dry-run")
    found = run("announce", str(file), "--to", "weekly", "--dry-run", "--json").json

    assert said.code == 0
    assert ": We move\n  To weekly: 3 readers would get it, " in said.out
    assert "kB of it HTML." in said.out
    assert "1         unsubscribed" in said.out
    assert "To example.org 3." in said.out
    assert "How long it takes is not known" in said.out
    assert (found["audience"], found["to"], found["is_made"]) == (3, "weekly", False)
    assert found["without"][0]["reason"] == "unsubscribed"
    assert found["html_octets"] < found["octets"]
    assert rows(world) == (0, 0)


def test_what_was_made_before_is_said_by_its_plan(world: World, run: Run, file: Path) -> None:
    world.reader()
    announcing.freeze(
        world.engine,
        announcing.parse(WORDS, audience="all"),
        now=world.now,
        publication=world.publication,
        actor="cli:mia",
    )
    world.deliver()

    said = run("announce", str(file), "--to", "all", "--dry-run")

    assert "It was made before. extra-2026-06-01 is on its way: 1 reader, 1 accepted." in said.out


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        (b"No heading.", ["--to", "all"], "Begin the text with a heading"),
        (WORDS.encode(), ["--to", "everyone"], "Use all, daily, weekly, monthly"),
        (WORDS.encode(), ["--to", "all", "--subject", "x" * 201], "1 to 200 characters"),
        ("# Grüße".encode("latin-1"), ["--to", "all"], "is not UTF-8"),
        (b"# News\n\n" + b"a" * 30_000, ["--to", "all"], "it may have 20,000 characters"),
        (WORDS.encode(), ["--to", "all", "--test", "a@localhost", "--dry-run"], "not both"),
        (WORDS.encode(), ["--to", "all", "--test", "nobody"], "nobody"),
    ],
)
def test_what_it_cannot_take_is_refused_with_the_way_out(
    world: World, run: Run, words: bytes, options: list[str], said: str
) -> None:
    world.reader()
    file = Path("move.md")
    file.write_bytes(words)

    refused = run("announce", str(file), *options)

    assert refused.code == 2
    assert said in refused.err
    assert rows(world) == (0, 0)


def test_a_file_that_is_not_there_and_readers_that_are_not_there_are_said(
    world: World, run: Run, file: Path
) -> None:
    assert "cannot be read" in run("announce", "nowhere.md", "--to", "all").err
    assert "Nobody would get it" in run("announce", str(file), "--to", "all").err
    missing = run("announce", str(file), "--to", "weekly-2026-05-25", "--dry-run")
    assert (missing.code, "There is no edition weekly-2026-05-25." in missing.err) == (1, True)
    assert rows(world) == (0, 0)


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_it_asks_how_many_may_have_it(
    world: World, run: Run, file: Path, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    world.readers(3)
    asked: list[str] = []

    def confirm(question: str, **_: Any) -> None:
        asked.append(question)
        if not answer:
            raise SystemExit(1)

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://127.0.0.1:9")

    ran = run("announce", str(file), "--to", "all")

    assert asked == ["Send 'We move' to 3 readers (all)?"]
    assert rows(world) == ((3, 1) if answer else (0, 0))
    assert ran.code == (75 if answer else 1)
    # What was made is continued without a question.
    run("announce", str(file), "--to", "all", "--yes")
    assert len(asked) == 1


def test_its_page_shows_its_text_its_readers_and_who_sent_it(world: World, run: Run) -> None:
    world.reader()
    made = announcing.freeze(
        world.engine,
        announcing.parse(WORDS, audience="all"),
        now=world.now,
        publication=world.publication,
        actor="cli:mia",
    )

    said = run("editions", "show", made.edition)
    found = run("editions", "show", made.edition, "--json").json

    assert "send, by cli:mia" in said.out
    assert "We move (to all)\n\nFrom **1 January** on" in said.out
    assert "Covers" not in said.out
    assert (found["to"], found["history"][0]["actor"]) == ("all", "cli:mia")
    assert made.edition in run("editions", "list").out
    assert made.edition in json.dumps(run("status", "--json").json["open"])


def test_an_announcement_has_no_article_to_correct(world: World, run: Run, tmp_path: Path) -> None:
    world.reader()
    made = announcing.freeze(
        world.engine,
        announcing.parse(WORDS, audience="all"),
        now=world.now,
        publication=world.publication,
        actor="cli:mia",
    )
    text = tmp_path / "wrong.txt"
    text.write_text("It was wrong.")

    refused = run("editions", "correct", made.edition, "--article", "1", "--text", str(text))

    assert refused.code == 2
    assert f"`newsletter announce FILE --to {made.edition}`" in refused.err
