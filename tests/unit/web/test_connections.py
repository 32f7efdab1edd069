"""Deadlines and limits of connections, with fake peers and a fake clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.web import connections
from newsletter.web.connections import Cause, Connections, Limits, Phase

LIMITS = Limits(connections=6, per_network=3)


@dataclass(eq=False)
class Peer:
    """A connection without a socket."""

    peer: str = "192.0.2.1"
    network: str | None = "192.0.2.1"
    phase: Phase = Phase.HEAD
    since: float = 0.0
    unread: int = 0
    closed: list[Cause] = field(default_factory=list)

    def close(self, cause: Cause) -> None:
        self.closed.append(cause)


def peer(number: int, *, since: float = 0.0) -> Peer:
    """A connection from a network of its own."""
    return Peer(f"192.0.2.{number}", f"192.0.2.{number}", since=since)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def server(said: list[str]) -> Connections:
    return Connections(LIMITS, say=said.append)


@pytest.mark.parametrize(
    ("phase", "waited", "unread_for", "cause"),
    [
        (Phase.HEAD, 9.9, None, None),
        (Phase.HEAD, 10, None, Cause.HEAD),
        (Phase.BODY, 19.9, None, None),
        (Phase.BODY, 20, None, Cause.BODY),
        (Phase.ANSWER, 3_600, None, None),
        (Phase.ANSWER, 3_600, 59.9, None),
        (Phase.ANSWER, 3_600, 60, Cause.UNREAD),
        (Phase.HEAD, 1, 60, Cause.UNREAD),
    ],
)
def test_each_phase_has_its_deadline_and_an_answer_may_take_its_time(
    phase: Phase, waited: float, unread_for: float | None, cause: Cause | None
) -> None:
    member = Peer(phase=phase, since=1_000 - waited)
    unread_since = None if unread_for is None else 1_000 - unread_for

    assert connections.overdue(member, LIMITS, unread_since=unread_since, now=1_000) is cause


def test_a_response_read_meanwhile_is_not_unread(server: Connections) -> None:
    member = Peer(phase=Phase.ANSWER, unread=9)
    server.admit(member)
    server.check(100.0)
    member.unread = 0
    server.check(130.0)
    member.unread = 9
    server.check(170.0)
    assert member.closed == []

    server.check(230.0)
    assert member.closed == [Cause.UNREAD]


def test_the_next_request_has_its_whole_time_from_when_the_answer_was_read(
    server: Connections,
) -> None:
    member = Peer(unread=9)
    server.admit(member)
    for now in range(0, 50, 10):
        server.check(float(now))
    member.unread = 0
    server.check(49.9)
    assert member.closed == []

    server.check(50.0)
    assert member.closed == [Cause.HEAD]


def test_a_full_network_closes_only_its_own_connections(
    server: Connections,
) -> None:
    other = peer(9)
    crowd = [Peer(since=float(number)) for number in range(1, 4)]
    assert [server.admit(one) for one in (other, *crowd)] == [None] * 4

    newcomer = Peer(since=4.0)
    assert server.admit(newcomer) is None

    assert [one.closed for one in (other, *crowd, newcomer)] == [[], [Cause.NETWORK], [], [], []]


def test_at_the_limit_the_connection_that_has_waited_longest_is_closed(
    server: Connections,
) -> None:
    members = [peer(number) for number in range(6)]
    for one in members:
        server.admit(one)
    # The first has sent its request, and the second has sent the next one.
    members[0].phase = Phase.ANSWER
    server.moved(members[0])
    server.moved(members[1])

    assert server.admit(peer(7)) is None

    assert [one.closed for one in members] == [[], [], [Cause.ROOM], [], [], []]


def test_a_connection_is_refused_only_when_all_others_are_being_answered(
    server: Connections, said: list[str]
) -> None:
    members = [peer(number) for number in range(6)]
    for one in members:
        server.admit(one)
        one.phase = Phase.ANSWER
        server.moved(one)
    late = peer(7)

    assert server.admit(late) is Cause.ROOM
    assert [one.closed for one in members] == [[]] * 6

    server.remove(late)
    server.remove(members[0])
    assert server.admit(peer(8)) is None
    server.check(1.0)
    assert said == ["Closed a connection from 192.0.2.7: more than 6 in all."]


def test_a_trusted_proxy_may_bring_more_connections_than_one_network(server: Connections) -> None:
    through = [Peer("127.0.0.1", None) for _ in range(6)]

    assert [server.admit(one) for one in through] == [None] * 6
    assert [one.closed for one in through] == [[]] * 6


def test_a_flood_is_logged_once_a_minute_for_each_cause(
    server: Connections, said: list[str]
) -> None:
    for second in range(120):
        for _ in range(50):
            server.note(Peer(), Cause.HEAD)
        server.note(Peer("2001:db8::1", None), Cause.MALFORMED)
        server.check(float(second))

    assert said == [
        "Closed 50 connections, the last one from 192.0.2.1: no whole request within 10 s.",
        "Closed a connection from 2001:db8::1: what was sent is not a request (RFC 9112).",
        "Closed 3,000 connections, the last one from 192.0.2.1: no whole request within 10 s.",
        said[1].replace("a connection", "60 connections, the last one"),
    ]


def test_what_is_still_counted_is_logged_at_the_end(server: Connections, said: list[str]) -> None:
    server.note(Peer(), Cause.HEAD)
    server.check(0.0)
    server.note(Peer(), Cause.HEAD)
    server.note(Peer(), Cause.ROOM)
    server.check(30.0)
    server.note(Peer(), Cause.ROOM)
    server.log_rest()

    assert [line.partition(": ")[2] for line in said] == [
        "no whole request within 10 s.",
        "more than 6 in all.",
        "no whole request within 10 s.",
        "more than 6 in all.",
    ]


def test_a_proxy_that_no_setting_names_is_pointed_out_when_its_network_is_full(
    server: Connections, said: list[str]
) -> None:
    for number in range(4):
        server.admit(Peer("127.0.0.1", "127.0.0.1", since=float(number)))
    server.check(5.0)

    (line,) = said
    assert line.endswith("If that is your own proxy, name it in trusted_proxies.")


@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "ask", "answer", "leave"]), st.integers(0, 3)),
        max_size=80,
    )
)
def test_any_history_keeps_to_the_limits(steps: list[tuple[str, int]]) -> None:
    server = Connections(LIMITS, say=lambda _: None)
    members: list[Peer] = []
    for now, (step, number) in enumerate(steps):
        there = [one for one in members if not one.closed]
        if step == "admit":
            one = Peer(network=str(number), since=float(now))
            members.append(one)
            if (cause := server.admit(one)) is not None:
                assert all(each.phase is Phase.ANSWER for each in there if _full(each, one, there))
                one.close(cause)
        elif there:
            one = there[number % len(there)]
            one.phase = {"ask": Phase.ANSWER, "answer": Phase.HEAD}.get(step, one.phase)
            one.since = float(now)
            if step == "leave":
                one.closed.append(Cause.HEAD)
            else:
                server.moved(one)
        for one in members:
            if one.closed:
                server.remove(one)
        left = [one for one in members if not one.closed]
        assert len(server) == len(left) <= LIMITS.connections
        for network in "0123":
            assert sum(one.network == network for one in left) <= LIMITS.per_network
    assert server.is_quiet or members


def _full(each: Peer, newcomer: Peer, there: list[Peer]) -> bool:
    """Whether `each` counts towards the limit that refused the new connection."""
    of_network = [one for one in there if one.network == newcomer.network]
    return len(of_network) < LIMITS.per_network or each in of_network


@pytest.mark.parametrize(
    ("descriptors", "most"), [(20, 16), (256, 128), (1_024, 512), (20_000, 1_000)]
)
def test_peers_get_half_of_the_files_that_a_process_may_open(descriptors: int, most: int) -> None:
    assert Limits.of(descriptors).connections == most
