"""The state that the parts of a worker share."""

from __future__ import annotations

import asyncio

from newsletter.errors import NewsletterError
from newsletter.sender.run_state import RunState
from newsletter.smtp.relays import PATIENCE


def test_the_first_failure_is_kept() -> None:
    state, first = RunState(connections=1), NewsletterError("first")

    state.stop(first)
    state.stop(NewsletterError("second"))
    state.stop()

    assert state.is_stopping
    assert state.failure is first


def test_a_failure_that_is_kept_does_not_stop_the_run() -> None:
    state = RunState(connections=1)

    state.keep(NewsletterError("one message"))

    assert state.failure is not None
    assert not state.is_stopping


def test_failures_in_a_row_stop_the_run_once_every_connection_had_its_share() -> None:
    state = RunState(connections=3)

    for _ in range(3 * PATIENCE - 1):
        state.count_failure(NewsletterError("away"))
    assert not state.is_stopping

    state.count_failure(NewsletterError("away"))
    assert state.is_stopping


def test_an_answer_between_two_failures_begins_the_count_anew() -> None:
    state = RunState(connections=1)

    for _ in range(3 * PATIENCE):
        state.count_failure(NewsletterError("away"))
        state.failures = 0

    assert not state.is_stopping


def test_the_first_failure_of_each_connection_calls_for_no_back_off() -> None:
    state = RunState(connections=4)

    repeated = []
    for _ in range(12):
        repeated.append(state.repeated_failures)
        state.count_failure(NewsletterError("away"))

    assert repeated == [0] * 8 + [1] * 4


def test_a_wait_ends_when_the_run_stops() -> None:
    async def wait() -> None:
        state = RunState(connections=1)
        asyncio.get_running_loop().call_soon(state.stop)
        await state.wait(3600)

    asyncio.run(asyncio.wait_for(wait(), 60))
