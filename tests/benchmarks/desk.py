"""The server time of each page of the desk, beside /healthz, and beside that with few readers."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import desk_pages
import httpx2
import seeding
import stage

from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.desk import access

#: Readers of the two newsletters, and editions that each has had.
READERS = 1_000, 1_000_000
EDITIONS = 100
#: Requests of each page, and of /healthz, by turns with the other newsletter; the median counts.
TRIES = 15
#: What a page may take of /healthz, and with many readers of that with few.
LIMIT, GROWTH_LIMIT = 10.0, 1.5
#: Octets that a page may have.
LARGEST = 60_000


class Cost(NamedTuple):
    """What a page took: milliseconds with many readers and few, and of /healthz; and its octets."""

    many: float
    few: float
    healthz: float
    octets: int


def costs(folder: Path) -> dict[str, Cost]:
    """Return what each page took, by its path."""
    folder.mkdir()
    now = utc_now()
    few, many = (_seeded(folder / f"{count}", count) for count in READERS)
    with _serving(few) as small, _serving(many) as large:
        return {path: _cost(path, small, large) for path in desk_pages.paths(now)}


def slowest(found: Mapping[str, Cost]) -> tuple[str, Cost]:
    """Return the page that takes longest."""
    return max(found.items(), key=lambda one: one[1].many)


def most_grown(found: Mapping[str, Cost]) -> tuple[str, Cost]:
    """Return the page that takes longer with many readers, by the greatest ratio."""
    return max(found.items(), key=lambda one: one[1].many / one[1].few)


def largest(found: Mapping[str, Cost]) -> tuple[str, Cost]:
    """Return the page with the most octets."""
    return max(found.items(), key=lambda one: one[1].octets)


def _seeded(folder: Path, count: int) -> stage.Stage:
    folder.mkdir()
    url = f"sqlite:///{folder / 'newsletter.db'}"
    engine = engines.open(url)
    schema.upgrade(engine)
    seeding.seed(engine, readers=count, editions=EDITIONS, now=utc_now())
    engine.dispose()
    return stage.Stage(folder, url, count)


@contextmanager
def _serving(made: stage.Stage) -> Iterator[httpx2.Client]:
    """Run `newsletter desk`, and give a client that is signed in and keeps its connection."""
    with sessions.writing(made.engine) as session:
        token = access.issue(session, "bench", actor="cli:bench", now=utc_now())
    process = subprocess.Popen(
        [str(word) for word in made.command("desk", "--port", "0")],
        cwd=made.folder,
        env={**made.env, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = re.search(r"http://\S+", process.stdout.readline())
        assert said is not None
        with httpx2.Client(base_url=said[0], timeout=120) as client:
            answer = client.post(f"/login/{token}", headers={"Origin": said[0]})
            assert answer.status_code == 303, answer.text
            yield client
    finally:
        process.terminate()
        process.wait(60)


def _cost(path: str, small: httpx2.Client, large: httpx2.Client) -> Cost:
    taken: dict[str, list[float]] = {"many": [], "few": [], "healthz": []}
    octets = len(_get(large, path).content)
    _get(small, path)
    for _ in range(TRIES):
        taken["many"].append(_timed(large, path))
        taken["few"].append(_timed(small, path))
        taken["healthz"].append(_timed(large, "/healthz"))
    return Cost(**{name: _middle(each) for name, each in taken.items()}, octets=octets)


def _middle(taken: Sequence[float]) -> float:
    return statistics.median(taken)


def _timed(client: httpx2.Client, path: str) -> float:
    begun = time.perf_counter()
    _get(client, path)
    return 1e3 * (time.perf_counter() - begun)


def _get(client: httpx2.Client, path: str) -> httpx2.Response:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer
