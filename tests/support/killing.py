"""Kill tests: a ledger, a counting mail server, workers that crash, and the invariants."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import counts
import ledgers
from commands import Running
from killable import OFTEN, PLACES, STOPPED
from sqlalchemy import Engine, delete, func, select, text, update

from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.ledger import books, holding, retry
from newsletter.ledger.retry import Policy
from newsletter.models import Attempt, Delivery, Pace, State, Worker

_HERE = Path(__file__).parent
_KILLED = -9


@dataclass(frozen=True)
class Fate:
    """How a worker is killed: at a place in our code, after a time, or not at all."""

    fuse: tuple[str, int] | None = None
    after_ms: float | None = None

    @classmethod
    def chance(cls, rng: random.Random, *, longer: int = 1) -> Fate:
        """Choose a place or a time at random; a larger `longer` makes the run longer."""
        if rng.random() < 0.5:
            place = rng.choice(PLACES[:-1])
            return cls(fuse=(place, rng.randint(1, 12 * longer) if place in OFTEN else 1))
        return cls(after_ms=rng.uniform(5, 120 * longer))


@dataclass
class Scene:
    """One ledger with its mail server and workers, and counts of kills."""

    engine: Engine
    connections: int
    port: int
    log: Path
    killable: Running
    policy: Policy = "resend"
    #: Ports of relays that refuse everything.
    beside: Sequence[int] = ()
    #: Further faults of an order, see faults.py.
    faults: dict[str, Any] = field(default_factory=dict)
    kills: int = 0
    #: Runs that ended because the mail server or the database could not be used.
    stops: int = 0
    _at_once: int = 1

    def run(self, *, fuse: tuple[str, int] | None = None, after_ms: float | None = None) -> int:
        """Run the worker until it ends or is killed, and return its exit code."""
        (code,) = self.run_together([Fate(fuse, after_ms)], at_once=1)
        return code

    def run_together(self, fates: Sequence[Fate], *, at_once: int) -> list[int]:
        """Run a worker for each fate, `at_once` at a time: a new one begins when one ends.

        Returns their exit codes, in the order in which they ended.
        """
        order = {
            "url": self.engine.url.render_as_string(hide_password=False),
            "ports": [self.port, *self.beside],
            "connections": self.connections,
            "policy": self.policy,
            "fates": [asdict(fate) for fate in fates],
            "at_once": at_once,
            **self.faults,
        }
        assert self.killable.stdin
        assert self.killable.stdout
        self.killable.stdin.write(json.dumps(order) + "\n")
        self.killable.stdin.flush()
        codes: list[int] = json.loads(self.killable.stdout.readline())
        ends = {0, _KILLED, STOPPED} if self.faults else {0, _KILLED}
        assert set(codes) <= ends, "it failed before it was killed: see its output"
        self.kills += codes.count(_KILLED)
        self.stops += codes.count(STOPPED)
        self._at_once = max(self._at_once, at_once)
        return codes

    def arrived(self) -> Counter[str]:
        """Return the number of accepted copies by recipient."""
        return Counter(recipient for recipient, _ in self._entries())

    def _entries(self) -> list[tuple[str, str]]:
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines()
        return [(recipient, rest) for recipient, _, rest in (each.partition(" ") for each in lines)]

    def addresses(self, *states: State) -> set[str]:
        wanted = select(Delivery.address)
        if states:
            wanted = wanted.where(holding.state().in_(states))
        with sessions.reading(self.engine) as session:
            return set(session.execute(wanted).scalars())

    def uncertain(self) -> Counter[str]:
        """Return how often a try of each recipient was recorded as unknown."""
        return Counter(address for address, outcome in self._attempts() if outcome == "unknown")

    def tried(self) -> set[str]:
        """Return the recipients with a recorded try that was not accepted."""
        return {address for address, _ in self._attempts()}

    def _attempts(self) -> list[tuple[str, str]]:
        """Return recipient and outcome of each attempt, in the order of the tries."""
        with sessions.reading(self.engine) as session:
            found = session.execute(
                select(Delivery.address, Attempt.outcome)  # type: ignore[call-overload]
                .join(Attempt, Attempt.delivery_id == Delivery.id)
                .order_by(Attempt.id)
            )
            return [(row.address, row.outcome) for row in found]

    def look(self, audience: int) -> None:
        """Check that the books balance, and agree with the server."""
        # No worker runs, so the books must account for everything that the server has.
        counts.assert_counts_are_true(self.engine)
        arrived, states = set(self.arrived()), ledgers.states(self.engine)
        assert states.total() == audience
        if self._at_once == 1:
            assert states["in_flight"] <= self.connections
        missing = self.addresses(State.ACCEPTED) - arrived
        assert not missing, f"accepted in the books, never taken by the server: {missing}"
        marked = self.addresses(State.ACCEPTED, State.IN_FLIGHT) | self.tried()
        assert arrived <= marked, f"left before its mark: {arrived - marked}"

    def check_after_a_kill(self, audience: int) -> None:
        """Check that each crash leaves at most one uncertain message per connection."""
        self.look(audience)
        # Rows in flight without a worker become uncertain when they are taken over.
        uncertain = self.uncertain().total() + ledgers.states(self.engine)["in_flight"]
        assert uncertain <= (self.kills + self.stops) * self.connections

    def check_at_the_end(self, audience: int) -> None:
        """Check: none lost, only uncertain ones twice, all copies equal, no rows left over."""
        self.check_after_a_kill(audience)
        held = self.addresses(State.UNKNOWN)
        assert self.addresses() - set(self.arrived()) <= held, "lost"
        assert self.addresses(State.ACCEPTED) | held == self.addresses()
        if self.policy == "resend":
            assert not held
        self._check_what_came_twice()

    def _check_what_came_twice(self) -> None:
        arrived, uncertain = self.arrived(), self.uncertain()
        doubled = {address: times - 1 for address, times in arrived.items() if times > 1}
        assert all(times <= uncertain[address] for address, times in doubled.items())
        if self.policy == "hold":
            assert not doubled
        self._check_copies()
        with sessions.reading(self.engine) as session:
            assert session.execute(select(func.count()).select_from(Worker)).scalar() == 0

    def _check_copies(self) -> None:
        copies: dict[str, set[str]] = defaultdict(set)
        for recipient, rest in self._entries():
            copies[recipient].add(rest)
        assert all(len(different) == 1 for different in copies.values()), "another mail on retry"
        assert len(set().union(*copies.values())) == len(copies), "two readers share a Message-ID"

    def figures(self) -> str:
        """Return the counts of the scene as text."""
        arrived = self.arrived()
        states = sorted(ledgers.states(self.engine).items())
        told = [f"{count} {state}" for state, count in states]
        told += [f"{self.kills} kills", f"{self.stops} stops"]
        told += [f"{self.uncertain().total()} uncertain tries"]
        told += [f"{arrived.total() - len(arrived)} doubles"]
        return ", ".join(told)

    def is_open(self) -> bool:
        """Return whether any row is open."""
        return any(ledgers.states(self.engine)[state] for state in books.OPEN)

    def time_span(self) -> timedelta:
        """Return the time between the first and the last change in the ledger."""
        with sessions.reading(self.engine) as session:
            changed = session.execute(select(Delivery.state_at)).scalars().all()  # type: ignore[call-overload]
        return max(changed) - min(changed)

    def make_due(self) -> None:
        """Advance the time until every retry is due."""
        with sessions.writing(self.engine) as session:
            session.execute(update(Delivery).values(due_at=ledgers.NOW))
            # Ends pauses of domains, too.
            session.execute(delete(Pace))


@dataclass
class Storm(Scene):
    """A scene with the chaos mail server."""

    server: Running = field(kw_only=True)
    #: The number of tries of each recipient that was refused at the last check.
    _refused: Counter[str] = field(default_factory=Counter)

    def look(self, audience: int) -> None:
        """Also check that refused recipients are not tried again."""
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write("quiet?\n")
        self.server.stdin.flush()
        assert self.server.stdout.readline() == "quiet\n"
        super().look(audience)
        tries = self._talk("rcpt")
        for address in self.addresses(State.REFUSED):
            before = self._refused.setdefault(address, tries[address])
            assert tries[address] == before, f"tried again after a refusal: {address}"

    def check_at_the_end(self, audience: int) -> None:
        """Check that each recipient was accepted, refused, or is recorded as uncertain."""
        self.look(audience)
        said_no, uncertain, attempts = set(self._talk("no")), self.uncertain(), self._charged()
        refused = self.addresses(State.REFUSED, State.SKIPPED)
        assert refused <= said_no
        held = self.addresses(State.UNKNOWN)
        assert held <= set(uncertain)
        if self.policy == "resend":
            assert all(attempts[address] > retry.MAXIMUM_RESENDS for address in held)
        assert self.addresses(State.ACCEPTED) | refused | held == self.addresses(), "lost"
        last = dict(self._attempts())
        noes = Counter(address for address, outcome in self._attempts() if outcome == "refused")
        assert all(times == 1 and last[address] == "refused" for address, times in noes.items())
        self._check_what_came_twice()

    def rage(self, audience: int, rng: random.Random, *, killing: float) -> None:
        """Run the worker until no row is open; a share `killing` of the runs is killed."""
        while self.is_open():
            self.run_together([Fate.chance(rng) if rng.random() < killing else Fate()], at_once=1)
            self.look(audience)
            self.make_due()
        # A last run takes over the rows of the worker before, if that was killed.
        self.run()

    def _charged(self) -> dict[str, int]:
        with sessions.reading(self.engine) as session:
            found = session.execute(select(Delivery.address, Delivery.attempts))  # type: ignore[call-overload]
            return {row.address: row.attempts for row in found}

    def _talk(self, word: str) -> Counter[str]:
        path = self.log.with_name("talk")
        lines = (line.partition(" ") for line in path.read_text().splitlines())
        return Counter(rest for first, _, rest in lines if first == word)


@contextmanager
def scene(
    engine: Engine,
    folder: Path,
    *,
    connections: int,
    policy: Policy = "resend",
    beside: Sequence[int] = (),
) -> Iterator[Scene]:
    """Start the mail server and the process from which the workers are forked.

    `beside` are the ports of additional relays, which refuse everything.
    """
    log = folder / "arrived"
    with counting(log) as port, _running("killable.py") as killable:
        yield Scene(engine, connections, port, log, killable, policy, beside)


@contextmanager
def storm(
    engine: Engine,
    folder: Path,
    *,
    chance: float,
    connections: int,
    policy: Policy,
    pipelines: bool,
    seed: int,
) -> Iterator[Storm]:
    """Start a scene whose mail server fails with a given probability in each phase."""
    log, patience = folder / "arrived", 0.1
    said = (log, folder / "talk", chance, seed, pipelines, patience)
    with _running("chaos_smtp.py", *map(str, said)) as server, _running("killable.py") as killable:
        assert server.stdout
        port = int(server.stdout.readline())
        faults = hurry(smtp=patience)
        yield Storm(engine, connections, port, log, killable, policy, (), faults, server=server)


def hurry(*, smtp: float = 60, busy: float = 60, database: float = 60) -> dict[str, Any]:
    """Return the order for a worker with shorter time-outs, in seconds."""
    return {"patience": {"smtp": smtp, "busy": busy, "database": database}}


def full(by: str, *, seconds: float) -> dict[str, Any]:
    """Return the order for a disk that is full for `seconds`, some time after the start."""
    return {"disk": {"by": by, "transactions": 30, "seconds": seconds}}


def jumping(
    rng: random.Random, *, ahead_days: float = 0, jumps_per_second: float = 30
) -> dict[str, Any]:
    """Return the order for a clock that jumps every few hundredths of a second."""
    seed = rng.randrange(10**6)
    clock = {"seed": seed, "jumps_per_second": jumps_per_second, "ahead_days": ahead_days}
    return {"clock": clock}


@contextmanager
def disturbed(engine: Engine, rng: random.Random) -> Iterator[Counter[str]]:
    """Make the database unavailable repeatedly during the block; yield the count of disturbances.

    On PostgreSQL backends are terminated; on SQLite the write lock is held.
    """
    disturb = _lock if is_sqlite(engine) else _end_backends
    is_over, disturbances = threading.Event(), Counter[str]()

    def go_on() -> None:
        # Sometimes long enough for a process to start in between, even on a busy machine.
        while not is_over.wait(rng.uniform(0.02, 0.5)):
            disturbances["times"] += disturb(engine, rng)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield disturbances
    finally:
        is_over.set()
        thread.join()


def _lock(engine: Engine, rng: random.Random) -> int:
    with sessions.writing(engine):
        time.sleep(rng.uniform(0.05, 0.3))
    return 1


def _end_backends(engine: Engine, rng: random.Random) -> int:
    # Only connections that write, not those of the test's own queries.
    ends = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'worker'"
    )
    with engine.connect() as connection:
        return len(connection.execute(ends).all())


@contextmanager
def counting(log: Path, *, delay: float = 0.002) -> Iterator[int]:
    """Run a mail server that records accepted messages (counting_smtp.py); yield its port."""
    with mortal(log, delay=delay) as (port, _):
        yield port


@contextmanager
def mortal(log: Path, *, delay: float = 0.002) -> Iterator[tuple[int, Running]]:
    """Run a counting mail server; yield its port, and the process, which the test may kill."""
    with _running("counting_smtp.py", str(log), str(delay)) as server:
        assert server.stdout
        yield int(server.stdout.readline()), server


@contextmanager
def _running(script: str, *arguments: str) -> Iterator[Running]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with Running(arguments, env=env, script=_HERE / script, has_input=True, stderr=2) as process:
        try:
            yield process
        finally:
            process.kill()
