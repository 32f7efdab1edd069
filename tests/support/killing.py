"""A scene for killing: a ledger, a counting mail server, and workers that die; and its promises."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import ledgers
from killable import OFTEN, PLACES
from sqlalchemy import Engine, func, select

from newsletter.db import session as sessions
from newsletter.delivery.retry import Policy
from newsletter.models import Attempt, Delivery, State, Worker

_HERE = Path(__file__).parent
_KILLED = -9


@dataclass(frozen=True)
class Fate:
    """How a worker dies: at a place in our code, after a time, or not at all."""

    fuse: tuple[str, int] | None = None
    after_ms: float | None = None

    @classmethod
    def chance(cls, rng: random.Random, *, longer: int = 1) -> Fate:
        """Pick a place that is reached before the end, or an instant; later, if others send on."""
        if rng.random() < 0.5:
            place = rng.choice(PLACES[:-1])
            return cls(fuse=(place, rng.randint(1, 12 * longer) if place in OFTEN else 1))
        return cls(after_ms=rng.uniform(5, 120 * longer))


@dataclass
class Scene:
    """One ledger and what was done to it."""

    engine: Engine
    connections: int
    port: int
    log: Path
    killable: subprocess.Popen[str]
    policy: Policy = "resend"
    #: Relays that take nothing.
    beside: Sequence[int] = ()
    kills: int = 0
    _at_once: int = 1

    def run(self, *, fuse: tuple[str, int] | None = None, after_ms: float | None = None) -> int:
        """Run the worker, to its end or to its death, and return its exit code."""
        (code,) = self.run_together([Fate(fuse, after_ms)], at_once=1)
        return code

    def run_together(self, fates: Sequence[Fate], *, at_once: int) -> list[int]:
        """Run a worker for each fate, so many at once: one begins when one ends or dies.

        Returns their exit codes, in the order of their ends.
        """
        order = {
            "url": self.engine.url.render_as_string(hide_password=False),
            "ports": [self.port, *self.beside],
            "connections": self.connections,
            "policy": self.policy,
            "fates": [asdict(fate) for fate in fates],
            "at_once": at_once,
        }
        assert self.killable.stdin
        assert self.killable.stdout
        self.killable.stdin.write(json.dumps(order) + "\n")
        self.killable.stdin.flush()
        codes: list[int] = json.loads(self.killable.stdout.readline())
        assert set(codes) <= {0, _KILLED}, "it failed before it was killed: see its output"
        self.kills += codes.count(_KILLED)
        self._at_once = max(self._at_once, at_once)
        return codes

    def arrived(self) -> Counter[str]:
        """How often each recipient's message was taken by the mail server."""
        return Counter(recipient for recipient, _ in self._entries())

    def _entries(self) -> list[tuple[str, str]]:
        if not self.log.exists():
            return []
        lines = self.log.read_text().splitlines()
        return [(recipient, rest) for recipient, _, rest in (each.partition(" ") for each in lines)]

    def addresses(self, *states: State) -> set[str]:
        wanted = select(Delivery.address)
        if states:
            wanted = wanted.where(Delivery.state.in_(states))  # type: ignore[attr-defined]
        with sessions.reading(self.engine) as session:
            return set(session.execute(wanted).scalars())

    def uncertain(self) -> Counter[str]:
        """How often each recipient's try was recorded as unknown."""
        with sessions.reading(self.engine) as session:
            return Counter(
                session.execute(
                    select(Delivery.address)
                    .join(Attempt, Attempt.delivery_id == Delivery.id)  # type: ignore[arg-type]
                    .where(Attempt.outcome == "unknown")  # type: ignore[arg-type]
                ).scalars()
            )

    def check_after_a_kill(self, audience: int) -> None:
        """At every instant: the books balance, and nothing is believed that is not so."""
        states = ledgers.states(self.engine)
        assert states.total() == audience
        if self._at_once == 1:
            assert states["in_flight"] <= self.connections
        # What is in flight while nobody lives is uncertain, too, once somebody takes it over.
        uncertain = self.uncertain().total() + states["in_flight"]
        assert uncertain <= self.kills * self.connections
        missing = self.addresses(State.ACCEPTED) - set(self.arrived())
        assert not missing, f"accepted in the books, never taken by the server: {missing}"

    def check_at_the_end(self, audience: int) -> None:
        """Nobody lost, nobody twice but the uncertain, every copy the same, nothing left behind."""
        self.check_after_a_kill(audience)
        arrived, uncertain = self.arrived(), self.uncertain()
        held = self.addresses(State.UNKNOWN)
        assert self.addresses() - set(arrived) <= held, "lost"
        assert self.addresses(State.ACCEPTED) | held == self.addresses()
        doubled = {address: times - 1 for address, times in arrived.items() if times > 1}
        assert all(times <= uncertain[address] for address, times in doubled.items())
        if self.policy == "hold":
            assert not doubled
        else:
            assert not held
        self._check_copies()
        with sessions.reading(self.engine) as session:
            assert session.execute(select(func.count()).select_from(Worker)).scalar() == 0

    def _check_copies(self) -> None:
        copies: dict[str, set[str]] = defaultdict(set)
        for recipient, rest in self._entries():
            copies[recipient].add(rest)
        assert all(len(different) == 1 for different in copies.values()), "another mail on retry"
        assert len(set().union(*copies.values())) == len(copies), "two readers share a Message-ID"


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

    `beside` are the ports of relays that the workers know, too, and that take nothing.
    """
    log = folder / "arrived"
    with counting(log) as port, _running("killable.py") as killable:
        yield Scene(engine, connections, port, log, killable, policy, beside)


@contextmanager
def counting(log: Path, *, delay: float = 0.002) -> Iterator[int]:
    """Run a mail server that writes down what it takes; give its port."""
    with mortal(log, delay=delay) as (port, _):
        yield port


@contextmanager
def mortal(log: Path, *, delay: float = 0.002) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run such a mail server; give its port, and the process, for whoever means to kill it."""
    with _running("counting_smtp.py", str(log), str(delay)) as server:
        assert server.stdout
        yield int(server.stdout.readline()), server


@contextmanager
def _running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(_HERE / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()
