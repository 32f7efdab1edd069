"""Editions wait while another process fetches the feeds, at most a minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from feed_server import FeedServer, running
from sqlalchemy import Engine

from newsletter.articles import store, turn
from newsletter.articles.ingest import Result
from newsletter.articles.limits import Limits
from newsletter.articles.turn import Elsewhere
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.db.election import LeaderLock
from newsletter.editions import fetching
from newsletter.sender.shutdown import Shutdown

LIMITS = Limits(allow_private=True)


class Hours(Shutdown):
    """A shutdown and a simulated clock: waiting takes no real time."""

    def __init__(self, then: Callable[[float], object] = lambda _: None) -> None:
        super().__init__()
        self.seconds = 0.0
        self._then = then

    def wait(self, seconds: float) -> None:
        """Advance the clock, and run an action at that time."""
        self.seconds += seconds
        self._then(self.seconds)

    def read(self) -> float:
        """Return the simulated monotonic time."""
        return self.seconds


def wait(
    engine: Engine,
    hours: Hours,
    now: datetime,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Result] | Elsewhere:
    return fetching.wait(
        engine, LIMITS, now=now, shutdown=hours, meanwhile=meanwhile, clock=hours.read
    )


@pytest.fixture
def feed(engine: Engine) -> object:
    """One feed on a server that counts requests."""
    with running() as server:
        server.answers.set()
        with sessions.writing(engine) as session:
            store.add_feed(session, url=server.url("alpha"), title="Alpha", now=utc_now())
        yield server


def end_fetch(engine: Engine, at: datetime) -> None:
    with sessions.writing(engine) as session:
        store.end_fetch(session, at)


def test_a_fetch_that_never_ends_is_waited_for_a_minute_and_no_longer(
    engine: Engine, feed: FeedServer
) -> None:
    hours = Hours()
    with LeaderLock(engine, "fetch") as suspended:
        assert suspended.is_elected()

        assert wait(engine, hours, utc_now()) is Elsewhere.RUNNING

    assert hours.seconds == 60
    assert not feed.requests


def test_what_is_done_meanwhile_counts_in_the_minute(engine: Engine, feed: FeedServer) -> None:
    hours = Hours()
    with LeaderLock(engine, "fetch") as suspended:
        assert suspended.is_elected()

        assert wait(engine, hours, utc_now(), lambda: hours.wait(50)) is Elsewhere.RUNNING
        assert hours.seconds == 60
        assert wait(engine, hours, utc_now(), lambda: hours.wait(300)) is Elsewhere.RUNNING
        assert hours.seconds == 360
    assert not feed.requests


def test_a_fetch_that_ends_counts_for_who_waits(engine: Engine, feed: FeedServer) -> None:
    now = utc_now()
    with LeaderLock(engine, "fetch") as other:
        assert other.is_elected()

        def end(seconds: float) -> None:
            if seconds == 5:
                end_fetch(engine, utc_now())
                other.__exit__()

        hours = Hours(end)
        assert wait(engine, hours, now) is Elsewhere.DONE
    assert hours.seconds == 5
    assert not feed.requests


def test_who_waits_fetches_what_a_killed_process_has_not(engine: Engine, feed: FeedServer) -> None:
    with LeaderLock(engine, "fetch") as killed:
        assert killed.is_elected()
        hours = Hours(lambda seconds: killed.__exit__() if seconds == 5 else None)

        found = wait(engine, hours, utc_now())

    assert isinstance(found, list)
    assert [(one.counts.new, one.error) for one in found] == [(1, None)]
    assert hours.seconds == 5
    assert feed.requests == {"alpha": 1}


def test_a_stop_ends_the_wait_and_begins_no_fetch(engine: Engine, feed: FeedServer) -> None:
    with LeaderLock(engine, "fetch") as suspended:
        assert suspended.is_elected()
        hours = Hours(lambda seconds: hours.ask(15) if seconds == 5 else None)
        assert wait(engine, hours, utc_now()) is Elsewhere.RUNNING
        assert hours.seconds == 5

    assert wait(engine, hours, utc_now()) is Elsewhere.RUNNING
    assert not feed.requests


@pytest.mark.parametrize(
    ("ended", "is_fetched"),
    [(timedelta(seconds=-1), True), (timedelta(hours=1), True), (timedelta(seconds=1), False)],
)
def test_only_a_fetch_that_ended_since_this_run_began_is_its_own(
    engine: Engine, feed: FeedServer, ended: timedelta, *, is_fetched: bool
) -> None:
    """A time in the future was recorded before the clock was set back."""
    began = utc_now() - timedelta(seconds=30)
    end_fetch(engine, began + ended)

    found = turn.fetch_all(engine, LIMITS, began)

    assert (found is not Elsewhere.DONE) == is_fetched
    assert feed.requests.total() == is_fetched


def test_a_fetch_that_was_stopped_has_not_ended(engine: Engine, feed: FeedServer) -> None:
    began = utc_now()
    turn.fetch_all(engine, LIMITS, began, is_stopped=lambda: True)

    assert turn.fetch_all(engine, LIMITS, began) is not Elsewhere.DONE
