"""`make bench`: measures this sender beside others, and writes docs/performance.md.

ROUNDS says how often everything is measured (default 3); what is compared is measured one after the
other within each round, so that a noisy machine disturbs both.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import classifying
import desk
import feeds
import hooks
import imports
import page
import planning
import profiling
import scraping
import starts
import writes
from journey import tool
from rich.console import Console
from rich.table import Table
from stage import ROOT, Run, SecureRelay, Stage, Studio, securing, sinking, timed

ROUNDS = int(os.environ.get("ROUNDS", "3"))
READERS = 50_000
MANY = 1_000_000
FEW = 10_000
#: Messages for each: slow ones get fewer, or they would take most of the time.
RIVALS = {"aiosmtplib": 15_000, "aiosmtplib-uvloop": 15_000, "usual": 400}
CONNECTIONS = 50
ROUND_TRIP = 0.020
FAR_CONNECTIONS = 10
#: For each worker: workers poll once a second, and a run should last much longer.
FAR_READERS = 12_000
FAR_RIVAL = 1_500
#: For each worker beside a sink on the same machine.
NEAR_READERS = 15_000
#: Connections that are opened and closed, of each kind.
CALLS = 100

console = Console(stderr=True)


class Bench:
    """The runs of all rounds, by name, with what else was measured."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.studio = Studio(folder)
        self.runs: dict[str, list[Run]] = defaultdict(list)
        self.profile: dict[str, float] = {}
        self.writes: dict[str, float] = {}
        self.calls: dict[str, dict[str, float]] = {}
        self.feeds: dict[str, list[float]] = {}
        self.starts: dict[str, float] = {}
        self.imports: list[tuple[float, float]] = []
        self.hooks: list[tuple[float, float]] = []
        self.classifying: list[tuple[float, float]] = []
        self.planning: list[tuple[float, float]] = []
        self.scraping: dict[str, list[tuple[float, float]]] = {}
        self.desk: dict[str, desk.Cost] = {}
        self.message = b""
        self.values = b""
        self.addresses: list[str] = []

    def note(self, name: str, run: Run) -> Run:
        """Keep a run, and say so."""
        self.runs[name].append(run)
        cpu = f", {run.cpu_microseconds:,.0f} µs of CPU each" if run.cpu_seconds else ""
        console.print(f"  {name}: {run.rate:,.0f}/s{cpu}", highlight=False)
        return run

    def measure(self) -> None:
        """Measure everything."""
        with self.studio.sqlite(READERS) as stage:
            self.values = stage.values()
            stage.freeze()
            self.message, self.addresses = stage.message()
        for number in range(ROUNDS):
            console.print(f"Round {number + 1} of {ROUNDS}")
            self.near()
            self.secure()
            self.far()
        console.print("Memory and the freeze")
        self.large()
        console.print("The databases")
        self.writes = writes.costs(self.studio, self.folder / "writes")
        self.profile = profiling.of_sending(self)
        console.print("Hostile feeds")
        self.feeds = feeds.costs()
        console.print("Commands")
        self.starts = starts.costs(self.folder / "starts")
        console.print("Import")
        self.imports = imports.costs(self.folder / "imports")
        console.print("Hooks")
        self.hooks = hooks.costs(self.studio)
        console.print("Returned mails")
        self.classifying = classifying.costs()
        console.print("Metrics")
        self.scraping = scraping.costs(self.folder / "scraping")
        console.print("The desk")
        self.desk = desk.costs(self.folder / "desk")

    def near(self) -> None:
        """50 connections to a sink on the same machine."""
        with sinking() as port:
            self._source(port)
            with self.studio.sqlite(READERS) as stage:
                self._send("SQLite", stage, port)
            with self.studio.sqlite(READERS) as stage:
                stage.aim(port, CONNECTIONS)
                self.note("SQLite, the whole command", stage.send_whole())
            for name, count in RIVALS.items():
                self._rival(name, port, CONNECTIONS, count)
            with self.studio.postgresql(READERS) as stage:
                self._send("PostgreSQL", stage, port)
            self._work("PostgreSQL", port, readers=NEAR_READERS, connections=CONNECTIONS)

    def secure(self) -> None:
        """STARTTLS and a password, beside neither."""
        with sinking() as port, self.studio.sqlite(FEW) as stage:
            self._send("plain, 10,000 readers", stage, port)
            self.calls["plain"] = self._calls(port, "plain")
        with securing(self.folder / "secure") as relay, self.studio.sqlite(FEW) as stage:
            stage.aim_securely(relay, CONNECTIONS)
            stage.freeze()
            self.note("STARTTLS, 10,000 readers", stage.send())
            self.calls["starttls"] = self._calls(relay.port, "starttls", relay)

    def far(self) -> None:
        """10 connections to a sink that is 20 ms away."""
        with sinking(round_trip=ROUND_TRIP) as port:
            self._rival("aiosmtplib", port, FAR_CONNECTIONS, FAR_RIVAL, note="far aiosmtplib")
            with self.studio.sqlite(FAR_READERS) as stage:
                self._send("far SQLite", stage, port, connections=FAR_CONNECTIONS)
            self._work("far PostgreSQL", port, readers=FAR_READERS, connections=FAR_CONNECTIONS)

    def large(self) -> None:
        """A million readers, between two runs of the usual size."""
        with sinking() as port:
            with self.studio.sqlite(FEW) as stage:
                self._send("10,000 readers", stage, port)
            with self.studio.sqlite(MANY) as stage:
                self.note("bare INSERT of 1,000,000", Run(MANY, stage.insert()))
            with self.studio.sqlite(READERS) as stage:
                self._send("50,000 readers, before", stage, port)
            with self.studio.sqlite(MANY) as stage:
                stage.aim(port, CONNECTIONS)
                self.note("freeze of 1,000,000", Run(MANY, stage.freeze()))
                self.note("1,000,000 readers", stage.send())
                self.planning = planning.costs(stage)
            with self.studio.sqlite(READERS) as stage:
                self._send("50,000 readers, after", stage, port)

    def _send(self, name: str, stage: Stage, port: int, *, connections: int = CONNECTIONS) -> None:
        stage.aim(port, connections)
        stage.freeze()
        self.note(name, stage.send())

    def _work(self, name: str, port: int, *, readers: int, connections: int) -> None:
        for workers in (1, 2):
            with self.studio.postgresql(readers * workers) as stage:
                stage.aim(port, connections)
                self.note(f"{name}, {workers} workers", stage.work(workers))

    def _calls(
        self, port: int, security: str, relay: SecureRelay | None = None
    ) -> dict[str, float]:
        script = Path(__file__).with_name("connecting.py")
        done = subprocess.run(
            [sys.executable, script, str(port), security, str(CALLS)],
            env=os.environ | ({"SSL_CERT_FILE": str(relay.store)} if relay else {}),
            capture_output=True,
            check=True,
        )
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def _source(self, port: int) -> None:
        command = [
            tool("smtp-source"), "-d", "-s", CONNECTIONS, "-m", READERS,
            "-l", len(self.message), f"127.0.0.1:{port}",
        ]  # fmt: skip
        self.note("smtp-source", timed(command, messages=READERS))

    def _rival(
        self, name: str, port: int, connections: int, count: int, *, note: str | None = None
    ) -> None:
        job = self.folder / "job.json"
        text = self.message.decode("latin-1")

        def run(messages: int) -> Run:
            job.write_text(
                json.dumps(
                    {
                        "message": text,
                        "values": base64.b64encode(self.values).decode(),
                        "addresses": self.addresses[:messages],
                    }
                )
            )
            command = [sys.executable, Path(__file__).with_name("rivals.py"), name, port,
                       connections, job]  # fmt: skip
            return timed(command, messages=count)

        # Less what it takes to start and to connect, as with ours.
        whole, nothing = run(count), run(0)
        self.note(
            note or name,
            Run(
                count,
                whole.seconds - nothing.seconds,
                whole.cpu_seconds - nothing.cpu_seconds,
                whole.peak_kilobytes,
            ),
        )

    def results(self) -> dict[str, object]:
        """Return all that the page is written from."""
        return {
            "at": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": _machine(self.studio),
            "rounds": ROUNDS,
            "octets": len(self.message),
            "runs": {name: [asdict(run) for run in runs] for name, runs in self.runs.items()},
            "profile": self.profile,
            "writes": self.writes,
            "calls": self.calls,
            "feeds": self.feeds,
            "starts": self.starts,
            "imports": self.imports,
            "hooks": self.hooks,
            "classifying": self.classifying,
            "scraping": self.scraping,
            "desk": {path: cost._asdict() for path, cost in self.desk.items()},
            "planning": self.planning,
        }


def _machine(studio: Studio) -> dict[str, str]:
    import sqlite3

    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": f"{processor}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": studio.version(),
    }


@contextmanager
def _folder() -> Iterator[Path]:
    # Not in a folder of ours alone: as root, PostgreSQL runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="newsletter-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    missing = [name for name in ("smtp-sink", "smtp-source") if tool(name) is None]
    if missing:
        console.print(f"{' and '.join(missing)} are not here; on Debian: apt install postfix")
        return 1
    with _folder() as folder:
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        bench = Bench(folder)
        try:
            bench.measure()
            results = bench.results()
        finally:
            bench.studio.close()
    (ROOT / "docs" / "performance.json").write_text(json.dumps(results, indent=1) + "\n")
    figures = page.write(results, ROOT / "docs")
    table = Table("what", "at least", "measured", "holds")
    for figure in figures:
        table.add_row(figure.what, figure.wanted, figure.measured, "yes" if figure.holds else "NO")
    Console().print(table)
    console.print("docs/performance.md is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
