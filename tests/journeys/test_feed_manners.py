"""Days of cron, every five minutes, against feeds that are well, dead, slow, busy and gone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import terminal
from terminal import Ran, Run

from newsletter import clock
from newsletter.articles import fetch, turn

EVERY = timedelta(minutes=5)
DAY = 288
#: 00:00 of a day in the future: a database has no edition that fell due before it was made.
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)


class Feeds(ThreadingHTTPServer):
    """A server of feeds, one at each path, that counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: dict[str, list[int]] = {}
        self.run = 0
        self.status: dict[str, int] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.channel: dict[str, str] = {}
        #: A slow feed is answered when it is set.
        self.is_over = threading.Event()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def requests(self) -> dict[str, int]:
        return {name: len(runs) for name, runs in self.asked.items()}


class _Handler(BaseHTTPRequestHandler):
    server: Feeds

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.server.asked.setdefault(name, []).append(self.server.run)
        if name == "slow":
            self.server.is_over.wait(60)
        body = (
            f"<rss version='2.0'><channel><title>{name}</title>"
            f"{self.server.channel.get(name, '')}<item><title>About {name}</title>"
            f"<link>https://miasfeed.example/{name}</link><guid>{name}</guid></item>"
            "</channel></rss>"
        ).encode()
        try:
            self.send_response(self.server.status.get(name, 200))
            for header, value in self.server.headers.get(name, {}).items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Day(NamedTuple):
    """A folder with a database, a clock, and a server of feeds."""

    run: Run
    feeds: Feeds
    set_clock: Callable[[int], None]

    def add(self, *names: str) -> None:
        for name in names:
            assert self.run("feeds", "add", "--no-fetch", self.feeds.url(name)).code == 0

    def cron(self, runs: range) -> list[Ran]:
        """Run cron at every fifth minute of the day."""
        return [self.at(number, "cron") for number in runs]

    def at(self, number: int, *arguments: str) -> Ran:
        self.set_clock(number)
        self.feeds.run = number
        return self.run(*arguments)


@contextmanager
def _serving() -> Iterator[Feeds]:
    with Feeds() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.is_over.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def day(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    migrated_sqlite: Path,
) -> Iterator[Day]:
    terminal.placed(migrated_sqlite, tmp_path)
    run = terminal.at(tmp_path, monkeypatch, capsys)
    for name, value in {
        "FEED_PRIVATE_NETWORKS": "true",
        # Long enough for a machine that has other things to do.
        "FEED_TIMEOUT_SECONDS": "3",
        "TIMEZONE": "UTC",
        # On days that do not come: the clock has one edition a day, in the 84th run.
        "MONTHLY_ON": str((MIDNIGHT + timedelta(days=4)).day),
        "WEEKLY_ON": f"{MIDNIGHT + timedelta(days=4):%A}".lower(),
        "DAILY_AT": "07:00",
    }.items():
        monkeypatch.setenv(f"NEWSLETTER_{name}", value)

    def set_clock(number: int) -> None:
        for module in (clock, turn, fetch):
            monkeypatch.setattr(module, "utc_now", lambda: MIDNIGHT + number * EVERY)

    with _serving() as feeds:
        yield Day(run, feeds, set_clock)


@pytest.mark.parametrize("runs", [DAY // 3, pytest.param(DAY, marks=pytest.mark.torture)])
def test_a_day_of_cron_asks_and_speaks_as_good_manners_want(day: Day, runs: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/dead"
        assert day.run("feeds", "add", "--no-fetch", dead).code == 0
        day.add("well", "slow", "busy", "gone")
        day.feeds.status |= {"busy": 429, "gone": 410}
        day.feeds.headers["busy"] = {"Retry-After": "14400"}

        ran = day.cron(range(runs))

    listed = {one["url"]: one for one in day.run("feeds", "list", "--json").json["feeds"]}
    backed_off = [run for run in (0, 2, 6, 14, 30, 62, 126, 198, 270) if run < runs]
    assert day.feeds.asked == {
        # Once an hour; the edition of 07:00 was due in the run that was its turn anyway.
        "well": list(range(0, runs, 12)),
        "slow": backed_off,
        "busy": list(range(0, runs, 48)),
        "gone": [0],
    }
    assert listed[dead]["failures"] == len(backed_off)
    # Four feeds start to fail in the first run; that is all there is to say of them in a day.
    assert [number for number, one in enumerate(ran) if one.err] == [0]
    assert len(ran[0].err.splitlines()) == 4
    assert [one.code for one in ran] == [1] + [0] * (runs - 1)
    [said] = [one.out for one in ran if one.out]
    assert said.startswith("daily-")


def test_a_feed_that_stays_dead_is_spoken_of_once_a_day_and_when_it_is_well_again(
    day: Day,
) -> None:
    day.add("busy")
    day.feeds.status["busy"] = 503

    ran = day.cron(range(0, 2 * DAY + 1, 36))
    day.feeds.status["busy"] = 200
    ran += day.cron(range(2 * DAY + 1, 3 * DAY + 1, 36))

    said = [(number, one.err, one.code) for number, one in enumerate(ran) if one.err]
    assert [(number, code) for number, _, code in said] == [(0, 1), (8, 1), (16, 1), (18, 0)]
    assert said[0][1].startswith("127.0.0.1: The server of")
    assert [" times in a row: The server of" in text for _, text, _ in said[1:3]] == [True, True]
    assert said[3][1] == "busy: the feed is well again.\n"
    assert [len(text.splitlines()) for _, text, _ in said] == [1] * 4
    assert sum(one.code for one in ran) == 3


def test_a_feed_that_is_gone_is_spoken_of_once_and_asked_again_by_name_alone(day: Day) -> None:
    day.add("gone")
    day.feeds.status["gone"] = 410

    ran = day.cron(range(0, 2 * DAY, 72))
    by_hand = day.run("feeds", "fetch")
    status = day.run("status")
    assert day.feeds.requests() == {"gone": 1}
    day.feeds.status["gone"] = 200
    by_name = day.run("feeds", "fetch", "1")

    assert sum(len(one.err.splitlines()) for one in ran) == 1
    assert "gone for good" in ran[0].err
    assert (by_hand.code, "is not asked any more" in by_hand.err) == (0, True)
    assert (status.code, "gone for good" in status.out) == (3, True)
    assert (by_name.code, by_name.out) == (0, "1 feed: 1 new, 0 updated, 0 known.\n")
    assert day.cron(range(2 * DAY, 2 * DAY + 1))[0].err == "gone: the feed is well again.\n"
    assert day.feeds.requests() == {"gone": 2 + 1}


def test_a_due_edition_has_every_feed_asked_once_that_only_rests(day: Day) -> None:
    day.add("well", "rests", "failed", "paused")
    day.feeds.channel["rests"] = "<ttl>1440</ttl>"
    day.feeds.status |= {"failed": 500, "paused": 503}
    day.feeds.headers["paused"] = {"Retry-After": str(2 * 60 * 60)}

    # From 06:35 until an hour after the edition.
    day.cron(range(79, 97))

    assert day.feeds.asked == {
        "well": [79, 84, 96],
        "rests": [79, 84],
        "failed": [79, 81, 85, 93],
        "paused": [79],
    }


def test_a_feed_is_left_alone_in_the_hours_that_it_skips(day: Day) -> None:
    day.add("night")
    skipped = "".join(f"<hour>{hour}</hour>" for hour in (*range(7), *range(9, 24)))
    day.feeds.channel["night"] = f"<skipHours>{skipped}</skipHours>"

    day.cron(range(0, DAY, 12))

    assert day.feeds.asked == {"night": [0, 84, 96]}


def test_a_feed_is_asked_by_hand_although_it_failed_just_now(day: Day) -> None:
    day.add("failed")
    day.feeds.status["failed"] = 500

    assert [day.at(number, "feeds", "fetch").code for number in (0, 0, 1)] == [1, 1, 1]
    day.feeds.status["failed"] = 200
    assert day.at(1, "feeds", "fetch").code == 0
    assert day.feeds.asked == {"failed": [0, 0, 1, 1]}


def test_a_server_that_names_an_instant_is_asked_by_hand_after_it_alone(day: Day) -> None:
    day.add("busy")
    day.feeds.status["busy"] = 429
    day.feeds.headers["busy"] = {"Retry-After": "3600"}

    first, second = (day.at(number, "feeds", "fetch") for number in (0, 11))
    listed: dict[str, Any] = day.run("feeds", "list", "--json").json["feeds"][0]
    third = day.at(12, "feeds", "fetch")

    assert [one.code for one in (first, second, third)] == [1, 0, 1]
    assert "is not asked before" in second.err
    assert "not asked" not in first.err
    assert listed["waits_for"] == "retry_after"
    assert day.feeds.asked == {"busy": [0, 12]}


def test_the_password_of_a_feed_is_in_nothing_that_is_printed(day: Day) -> None:
    url = day.feeds.url("locked").replace("http://", "http://ann:hunter2@")
    assert day.run("feeds", "add", "--no-fetch", url).code == 0
    day.feeds.status["locked"] = 500

    printed = [day.at(0, "cron", "--json"), day.run("status", "--json"), day.run("feeds", "list")]

    assert all("hunter2" not in one.out + one.err for one in printed)
    assert printed[0].json["feeds_failed"] == [day.feeds.url("locked")]
