"""The checks that need the network, run concurrently and each with a time-out."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Engine

from newsletter.doctor import domain, machine, relays, returns, web
from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.doctor.resolver import Resolver
from newsletter.errors import NewsletterError
from newsletter.settings import Settings

#: The checks of `domain` that need only the settings.
_OF_SETTINGS = ("from.name",)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One check that waits for the network, and its time-out."""

    #: The name that is shown while the check runs.
    name: str
    checks: Checks
    run: Callable[[], Examined]
    seconds: float = 45


def examine(
    settings: Settings,
    engine: Engine | None,
    resolver: Resolver,
    *,
    feeds: Sequence[str],
    now: datetime,
    on_waiting: Callable[[Sequence[str]], object],
) -> list[Examined]:
    """Check DNS, relays, base_url, the mailbox and the clock; `feeds` are the URLs of feeds.

    `on_waiting` is called with the checks that are still running, whenever these change.
    """
    jobs = [
        Job(name="DNS", checks=Checks.DNS, run=lambda: _dns(settings, resolver), seconds=90),
        Job(
            name="mail servers",
            checks=Checks.RELAYS,
            run=lambda: relays.examine(settings.smtp_servers(), now=now),
        ),
        Job(name="web address", checks=Checks.WEB, run=lambda: web.examine(settings, now=now)),
        Job(
            name="clock",
            # Not with the machine's checks, whose findings every run without --dns replaces.
            checks=Checks.WEB,
            run=lambda: _clock(settings, feeds),
            seconds=20,
        ),
    ]
    if engine is not None:
        jobs.append(
            Job(
                name="mailbox",
                checks=Checks.RETURNS,
                run=lambda: returns.examine(engine, settings, now=now),
            )
        )
    return side_by_side(jobs, on_waiting=on_waiting)


def merged(examined: Iterable[Examined]) -> list[Examined]:
    """Merge the results of each group into one, in the order of the groups."""
    of: dict[Checks, list[Examined]] = {}
    for one in examined:
        of.setdefault(one.checks, []).append(one)
    return [
        Examined(
            checks=checks,
            looked_at=tuple(dict.fromkeys(name for one in of[checks] for name in one.looked_at)),
            findings=tuple(finding for one in of[checks] for finding in one.findings),
        )
        for checks in Checks
        if checks in of
    ]


def side_by_side(
    jobs: Sequence[Job],
    *,
    on_waiting: Callable[[Sequence[str]], object],
    monotonic: Callable[[], float] = time.monotonic,
) -> list[Examined]:
    """Run all jobs concurrently, and give up each that exceeds its time-out.

    The thread of a job that was given up may continue until the process ends.
    """
    ended: queue.SimpleQueue[tuple[Job, Examined]] = queue.SimpleQueue()
    began = monotonic()
    for job in jobs:
        thread = threading.Thread(target=lambda job=job: ended.put((job, _run(job))), daemon=True)
        thread.start()
    found: dict[str, Examined] = {}
    while waiting := [job for job in jobs if job.name not in found]:
        on_waiting([job.name for job in waiting])
        left = min(job.seconds for job in waiting) - (monotonic() - began)
        try:
            job, examined = ended.get(timeout=max(0.0, left))
            found[job.name] = examined
        except queue.Empty:
            for job in waiting:
                if monotonic() - began >= job.seconds:
                    found[job.name] = _unknown(job, f"it took more than {job.seconds:.0f} seconds")
    return [found[job.name] for job in jobs]


def _run(job: Job) -> Examined:
    try:
        return job.run()
    except NewsletterError as exc:
        return _unknown(job, exc.message.rstrip("."))
    except Exception as exc:  # noqa: BLE001 - one check that fails must not end the others
        return _unknown(job, f"{type(exc).__name__}: {exc}")


def _unknown(job: Job, why: str) -> Examined:
    finding = Finding(
        id="doctor.unfinished",
        level=Level.NOT_CHECKED,
        sentence=f"The check of {job.name} did not end: {why}.",
        hint="Try again; what else it says stands above.",
        subject=job.name,
    )
    return Examined(checks=job.checks, looked_at=(), findings=(finding,))


def _dns(settings: Settings, resolver: Resolver) -> Examined:
    found = tuple(domain.findings(settings, resolver))
    return Examined(checks=Checks.DNS, looked_at=(*domain.IDS, *_OF_SETTINGS), findings=found)


def _clock(settings: Settings, feeds: Sequence[str]) -> Examined:
    url = _elsewhere(settings, feeds)
    host = urlsplit(url).hostname or url
    ahead = web.ahead_of(url) if url.startswith("https://") else None
    findings = tuple(machine.clock(ahead, other=host))
    return Examined(checks=Checks.WEB, looked_at=("clock",), findings=findings)


def _elsewhere(settings: Settings, feeds: Sequence[str]) -> str:
    """Return a URL that is likely on another machine: the site's, a feed's, or base_url."""
    own = urlsplit(settings.base_url).hostname
    for url in (settings.site_url or "", *feeds):
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname and parts.hostname != own:
            return url
    return settings.base_url
