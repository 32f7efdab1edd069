"""Journeys run the command as an operator does, against a real SMTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from journey import Mailbox, Newsletter, make, sink
from sqlalchemy import Engine

from newsletter.cli import catcher


@pytest.fixture
def newsletter(tmp_path: Path, migrated_url: str) -> Newsletter:
    """The command on an empty, migrated database, on each engine in turn."""
    return make(tmp_path, migrated_url)


@pytest.fixture
def sqlite_newsletter(tmp_path: Path, sqlite_engine: Engine) -> Newsletter:
    """The command on SQLite, for what does not depend on the engine."""
    return make(tmp_path, sqlite_engine.url.render_as_string())


@pytest.fixture
def smtp_sink(tmp_path: Path) -> Iterator[tuple[int, Mailbox]]:
    """Postfix's smtp-sink: its port and the mails that it received."""
    with sink(tmp_path / "sink") as running:
        yield running


@pytest.fixture
def caught(tmp_path: Path) -> Iterator[tuple[int, Mailbox]]:
    """The built-in mail catcher: its port and the mails that it received."""
    with catcher.running(tmp_path / "mails") as running:
        yield running.port, Mailbox(running.folder)


@pytest.fixture
def write_feed(tmp_path: Path) -> Callable[..., Path]:
    """Write articles by title as an RSS file; the same name again replaces it."""

    def write(*names: str) -> Path:
        path = tmp_path / "feed.xml"
        items = "".join(
            f"<item><title>{name}</title><link>https://miasfeed.example/{name}</link>"
            f"<guid>{name}</guid><description>About {name}.</description>"
            "<category>Health</category></item>"
            for name in names
        )
        path.write_text(
            f'<rss version="2.0"><channel><title>Mia</title>{items}</channel></rss>',
            encoding="utf-8",
        )
        return path

    return write
