"""Hostile feeds do not prevent fetching, sending or stopping."""

from __future__ import annotations

import signal
from pathlib import Path

import hostile
import pytest
from commands import Running
from journey import Newsletter, at_noon, until

SAMPLE = Path(__file__).parents[1] / "samples" / "feeds" / "mias-feed.rss.xml"

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


def parser_of(parent: int) -> int | None:
    """Return the process that parses feeds for another one."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"newsletter.articles.child" in command and int(stat[1]) == parent:
            return int(folder.name)
    return None


def is_there(pid: int) -> bool:
    try:
        return b"newsletter.articles.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def seconds_used(pid: int) -> float:
    """Return how much processor time a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def parsing(running: Running) -> int:
    """Wait until a command has a child, and until that has begun to parse; return its number."""
    until(lambda: parser_of(running.pid) is not None)
    pid = parser_of(running.pid)
    assert pid is not None
    # Starting takes less than a second of it.
    until(lambda: seconds_used(pid) > 1.5)
    return pid


@pytest.fixture
def attacked(sqlite_newsletter: Newsletter, tmp_path: Path) -> Newsletter:
    """A publication of which one feed takes for ever to parse."""
    at_noon(sqlite_newsletter)
    (tmp_path / "endless.xml").write_bytes(hostile.endless())
    sqlite_newsletter.run("feeds", "add", "--no-fetch", tmp_path / "endless.xml")
    return sqlite_newsletter


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_when_told_while_a_hostile_feed_is_parsed(
    attacked: Newsletter, number: signal.Signals
) -> None:
    running = attacked.start("worker", "--schedule")
    pid = parsing(running)

    running.send_signal(number)
    _, err = running.communicate(timeout=60)

    assert running.returncode == 0, err
    assert "Traceback" not in err
    until(lambda: not is_there(pid))
    # It did not wait for the limit to end the parsing: nothing is noted of that feed.
    [feed] = attacked.json("feeds", "list")["feeds"]
    assert (feed["fetched_at"], feed["error"]) == (None, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cron_ends_when_told_while_a_hostile_feed_is_parsed(
    attacked: Newsletter, number: signal.Signals
) -> None:
    running = attacked.start("cron")
    pid = parsing(running)

    running.send_signal(number)
    running.communicate(timeout=60)

    assert running.returncode != 0
    until(lambda: not is_there(pid))
    [feed] = attacked.json("feeds", "list")["feeds"]
    assert (feed["fetched_at"], feed["error"]) == (None, None)
