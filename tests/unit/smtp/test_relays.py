"""Choice of the relay for the next connection: weights, back-off and recovery."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence

import ledgers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.smtp.relays import (
    BACKOFF_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    PATIENCE,
    Connection,
    Relay,
    Relays,
)
from newsletter.smtp.session import Session

LOGIN = ConfigurationError("login is refused.", hint="Look at the password.")
AWAY = TransportUnavailable("nobody answers.", hint="Nobody is lost.")
WEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


class Wire(asyncio.Transport):
    """A connection that lasts until it is aborted."""

    is_aborted = False

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def relays(*weights: int) -> tuple[Relays, list[Relay]]:
    servers = [ledgers.relay(port, weight=weight) for port, weight in enumerate(weights, 1)]
    made = Relays(servers, rng=random.Random(1))
    return made, list(made)


def call(made: Relays, now: float = 0) -> Connection:
    """Open the connection that is due."""
    relay = made.pick(now)
    assert relay is not None
    return made.opened(relay, Session(Wire(), frozenset()), now=now)


def counts(all_of_them: Sequence[Relay]) -> list[int]:
    return [relay.busy for relay in all_of_them]


# Weights


@given(WEIGHTS, st.integers(1, 3))
def test_connections_come_to_the_weights_exactly(weights: list[int], times: int) -> None:
    made, each = relays(*weights)

    for _ in range(times * sum(weights)):
        call(made)

    assert counts(each) == [times * weight for weight in weights]


def test_connections_that_are_being_made_count_too() -> None:
    made, each = relays(3, 1)

    for _ in range(4):
        relay = made.pick(0)
        assert relay is not None
        relay.calls.append(relay)

    assert counts(each) == [3, 1]


def test_ties_are_broken_at_random() -> None:
    first = {relays_of.pick(0) is each[0] for relays_of, each in map(_seeded, range(20))}

    assert first == {True, False}


def _seeded(seed: int) -> tuple[Relays, list[Relay]]:
    made = Relays([ledgers.relay(1), ledgers.relay(2)], rng=random.Random(seed))
    return made, list(made)


@given(WEIGHTS, st.data())
def test_from_any_start_connections_converge_to_their_shares(
    weights: list[int], data: st.DataObject
) -> None:
    made, each = relays(*weights)
    for _ in range(sum(weights)):
        relay = data.draw(st.sampled_from(each))
        made.opened(relay, Session(Wire(), frozenset()), now=0)

    for _ in range(sum(weights) + 1):
        made.rebalance(0)
        leaving = [
            connection
            for relay in each
            for connection in relay.connections
            if connection.is_leaving
        ]
        for connection in leaving:
            made.closed(connection)
            call(made)
        if not leaving:
            break

    assert counts(each) == weights
    assert not leaving


# Back-off and recovery


def test_the_back_off_of_a_relay_doubles_up_to_ten_minutes() -> None:
    made, (bad, _) = relays(1, 1)
    now, rests = 0.0, []

    for _ in range(8):
        assert made.suspend(bad, LOGIN, now=now) == (not rests)
        rests.append(bad.next_try_at - now)
        assert not bad.has_room(bad.next_try_at - 0.1)
        now = bad.next_try_at
        assert bad.has_room(now)

    assert rests[:5] == [BACKOFF_SECONDS * factor for factor in (1, 2, 4, 8, 16)]
    assert set(rests[5:]) == {LONGEST_BACKOFF_SECONDS}


def test_refusals_of_concurrent_connections_count_once() -> None:
    made, (bad, _) = relays(1, 1)

    assert made.suspend(bad, LOGIN, now=0)
    assert not made.suspend(bad, AWAY, now=1)

    assert (bad.refusals, bad.refusal, bad.next_try_at) == (1, LOGIN, BACKOFF_SECONDS)


def test_it_is_tried_with_one_connection_and_a_success_brings_it_back() -> None:
    made, (bad, good) = relays(1, 1)
    made.suspend(bad, LOGIN, now=0)
    now = bad.next_try_at
    trial = call(made, now)

    assert trial.relay is bad
    assert [call(made, now).relay for _ in range(3)] == [good] * 3
    assert made.succeeded(trial)
    assert [call(made, now).relay for _ in range(2)] == [bad] * 2


def test_the_connections_of_a_relay_in_back_off_close_and_their_failures_do_not_count() -> None:
    made, (bad, _) = relays(1, 1)
    connection = next(each for each in (call(made), call(made)) if each.relay is bad)
    made.suspend(bad, LOGIN, now=0)

    assert connection.is_leaving
    assert not made.succeeded(connection)
    assert not made.failed(connection)
    late = made.opened(bad, Session(Wire(), frozenset()), now=1)
    assert late.is_leaving
    assert bad.refusals == 1


def test_a_relay_that_keeps_closing_sessions_counts_as_refusing() -> None:
    made, (bad, _) = relays(1, 1)

    def fail() -> bool:
        connection = made.opened(bad, Session(Wire(), frozenset()), now=0)
        is_refusal = made.failed(connection)
        made.closed(connection)
        return is_refusal

    assert [fail() for _ in range(PATIENCE)] == [False] * (PATIENCE - 1) + [True]
    made.suspend(bad, AWAY, now=0)
    connection = made.opened(bad, Session(Wire(), frozenset()), now=bad.next_try_at)
    assert made.failed(connection), "once is enough for one that is tried again"


def test_a_failed_connection_fails_over_if_there_is_another_relay() -> None:
    made, (one, other) = relays(100, 1)

    assert made.pick(0, failed=one) is other
    made.suspend(other, AWAY, now=0)
    assert made.pick(0, failed=one) is one


# Full


def test_a_full_relay_keeps_its_connections_and_is_tried_with_one_more_later() -> None:
    made, (small, big) = relays(1, 1)
    small_lines = [made.opened(small, Session(Wire(), frozenset()), now=0) for _ in range(2)]
    small.calls.append(small)
    made.is_full(small, now=0)
    small.calls.clear()

    assert [call(made, 1).relay for _ in range(5)] == [big] * 5
    assert not any(connection.is_leaving for connection in small_lines)

    made.closed(small_lines.pop())
    assert call(made, 1).relay is small, "what it had, it may have again"
    assert call(made, 1).relay is big
    assert call(made, BACKOFF_SECONDS).relay is small


# All of them


@pytest.mark.parametrize(
    ("said", "kind"),
    [((LOGIN, LOGIN), ConfigurationError), ((LOGIN, AWAY), TransportUnavailable)],
)
def test_there_is_an_error_only_if_all_relays_are_in_back_off(
    said: tuple[NewsletterError, NewsletterError], kind: type[NewsletterError]
) -> None:
    made, each = relays(1, 1)
    made.suspend(each[0], said[0], now=0)
    assert made.failure(0) is None
    made.suspend(each[1], said[1], now=1)

    failure = made.failure(1)

    assert type(failure) is kind
    assert failure is not None
    assert all(one.message in failure.message for one in said)
    assert all((one.hint or "") in (failure.hint or "") for one in said)
    assert made.pick(1) is None
    assert made.failure(BACKOFF_SECONDS) is None, "the first may be tried again"


def test_a_single_relay_is_always_tried() -> None:
    made, (only,) = relays(1)
    made.suspend(only, LOGIN, now=0)

    assert made.pick(0, failed=only) is only
    assert made.failure(0) is LOGIN


@given(
    WEIGHTS.filter(lambda weights: len(weights) > 1),
    st.lists(
        st.tuples(
            st.sampled_from(["call", "refuse", "fail", "succeed", "close", "wait"]), st.randoms()
        ),
        max_size=80,
    ),
)
def test_a_relay_in_back_off_is_never_picked(
    weights: list[int], steps: list[tuple[str, random.Random]]
) -> None:
    made, each = relays(*weights)
    now = 0.0
    connections: list[Connection] = []
    for step, rng in steps:
        if step == "wait":
            now += rng.choice([1, BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS])
        elif step == "refuse":
            made.suspend(rng.choice(each), AWAY, now=now)
        elif step == "call":
            picked = made.pick(now)
            assert picked is None or not picked.is_suspended(now)
            tried = [relay for relay in each if relay.refusals and relay.busy]
            assert picked or made.failure(now) or tried
            if picked is not None:
                assert picked not in tried, "one that is tried again gets one connection"
                connections.append(made.opened(picked, Session(Wire(), frozenset()), now=now))
        elif connections:
            connection = rng.choice(connections)
            if step == "close":
                made.closed(connection)
                connections.remove(connection)
            elif step == "succeed":
                made.succeeded(connection)
            elif made.failed(connection):
                made.suspend(connection.relay, AWAY, now=now)
        assert all(relay.limit in {0, math.inf} for relay in each)
