"""A day at the desk: a publication, its processes, a mail server, and one tab of a browser."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import driver
from commands import Running
from journey import Newsletter, due_an_hour_ago
from scripted_smtp import ScriptedServer
from sqlalchemy import Engine, text

from newsletter.db import session as sessions
from newsletter.editions import store, summaries
from newsletter.editions.summaries import Summary

#: Who sits at the desk.
NAME = "mia"


@dataclass
class GatedServer(ScriptedServer):
    """A mail server that takes as many mails as it may, and has the others wait for their reply."""

    allowed: int = 0

    async def work(self) -> None:
        """Wait until one more mail is allowed."""
        while len(self.arrivals) >= self.allowed:  # noqa: ASYNC110 - set by the test's thread
            await asyncio.sleep(0.01)

    def open_up(self) -> None:
        """Take every mail from now on."""
        self.allowed = 1_000_000


@dataclass
class Day:
    """The desk as one operator uses it, and what the database says of it."""

    newsletter: Newsletter
    engine: Engine
    tab: driver.Tab
    base: str
    server: GatedServer = field(default_factory=GatedServer)
    _audited: int = field(default=0)

    def open(self, path: str, *words: str) -> str:
        """Open a page, wait for these words, and return its visible text."""
        self.tab.open(self.base + path)
        return self.tab.see("Times are in", *words)

    def link(self) -> str:
        """Return a new link to sign in."""
        port = self.base.rpartition(":")[2]
        found = self.newsletter.json("desk", "login", "--name", NAME, "--port", port)
        return str(found["url"])

    def sign_in(self) -> None:
        """Sign the tab in, by the mouse."""
        self.tab.open(self.link())
        self.tab.see(f"signed in as {NAME}")
        self.tab.press("Sign in")
        self.tab.see("Due next")
        self.acts()

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds now."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def value(self, query: str, **values: Any) -> Any:
        """Return the only value that a query finds."""
        ((found,),) = self.rows(query, **values)
        return found

    def acts(self) -> list[tuple[str, str]]:
        """Return action and subject of each audit row since the last call, all by this person."""
        query = "SELECT id, actor, action, subject FROM audit WHERE id > :last ORDER BY id"
        found = self.rows(query, last=self._audited)
        if found:
            self._audited = found[-1][0]
        return [(action, subject) for _, actor, action, subject in found if actor == f"desk:{NAME}"]

    def summary(self, edition: str) -> Summary:
        """Return the state and the books of an edition."""
        with sessions.reading(self.engine) as session:
            return summaries.of(session, store.by_slug(session, edition))

    def value_of(self, script: str) -> Any:
        """Return what a script of the test finds in the page."""
        answer = self.tab.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")


def publication(
    newsletter: Newsletter, engine: Engine, feed: Path, *, daily: int, weekly: Sequence[str]
) -> None:
    """Add daily and weekly readers and a feed; only the daily edition is due."""
    due_an_hour_ago(newsletter, engine, weekly_in=timedelta(days=3))
    newsletter.env["NEWSLETTER_SMTP_CONNECTIONS"] = "2"
    readers = {"daily": [f"reader{number}" for number in range(daily)], "weekly": weekly}
    for cadence, names in readers.items():
        lines = "\n".join(f"{name}@readers.example" for name in names)
        newsletter.run(
            *("subscribers", "import", "-", "--confirmed", "--cadence", cadence), stdin=lines
        )
    newsletter.run("feeds", "add", feed)


@contextmanager
def processes(newsletter: Newsletter, *commands: str) -> Iterator[str]:
    """Run `newsletter desk` and other commands until the block ends; yield the desk's address."""
    with ExitStack() as stack:
        running = [newsletter.start("desk", "--port", "0")]
        stack.callback(_end, running)
        port = re.search(r":(\d+)$", running[0].stdout.readline().strip())
        assert port is not None
        running += [newsletter.start(*command.split()) for command in commands]
        yield f"http://127.0.0.1:{port[1]}"


def _end(running: list[Running]) -> None:
    for one in running:
        one.send_signal(signal.SIGTERM)
    for one in running:
        out, err = one.communicate(timeout=60)
        assert one.returncode == 0, err
        assert "Traceback" not in err
        assert "/login/" not in out + err
