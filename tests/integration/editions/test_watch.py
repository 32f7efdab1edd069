"""`newsletter status --watch`: an edition as it goes out, until it is sent."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claimants
import pytest

from newsletter.cli import watch
from newsletter.db import session as sessions
from newsletter.editions import lifecycle, under_way
from newsletter.ledger import queue
from newsletter.sender import limits
from newsletter.sender.limits import Limits
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from terminal import Run

    from tests.integration.editions.conftest import World

WEEKLY = "weekly-2026-06-01"


def test_a_look_has_what_is_left_and_the_domains_that_wait(world: World) -> None:
    gone, *_ = world.readers(3)
    world.article()
    world.freeze()
    world.record(world.take(limit=1), {gone: Kind.ACCEPTED})
    waits = claimants.claim(world.engine, 1, limit=1, now=world.now)
    with claimants.working(world.engine, 1) as (session, hold):
        blocked = {one.id: "example.org" for one in waits}
        queue.put_back(session, hold, blocked_domains=blocked, now=world.now)
    with sessions.writing(world.engine) as session:
        until = world.now + timedelta(minutes=10)
        limits.set_pace(
            session, "example.org", paused_until=until, next_at=until, changed_at=world.now
        )

    with sessions.reading(world.engine) as session:
        look = under_way.look(session, limits=Limits(), now=world.now)

    (one,) = look.editions
    assert (one.name, one.left, one.ended) == (WEEKLY, 2, 1)
    assert one.domains == {"example.org": until}
    assert one.next_due == world.now


def test_an_edition_that_is_paused_is_not_under_way(world: World) -> None:
    world.reader()
    world.article()
    world.freeze()
    lifecycle.pause(world.engine, WEEKLY, now=world.now, actor="cli:mia")

    with sessions.reading(world.engine) as session:
        assert under_way.look(session, limits=Limits(), now=world.now).editions == []


def test_a_look_reads_no_delivery_that_need_not_be_read(
    world: World, counting: Callable[..., Any]
) -> None:
    with counting(world.engine) as statements, sessions.reading(world.engine) as session:
        under_way.look(session, limits=Limits(), now=world.now)

    assert not [one for one in statements if "delivery" in one]


def test_without_a_terminal_each_change_is_a_line_and_it_ends_when_all_is_sent(
    make_world: Callable[..., World], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.readers(3)
    world.article()
    world.freeze()
    naps = iter((1, 0, 2))

    def nap(_seconds: float) -> None:
        """Let so many go while the command waits."""
        count = next(naps)
        world.record(world.take(limit=count) if count else [])
        lifecycle.finish(world.engine, now=world.now)

    monkeypatch.setattr(watch.time, "sleep", nap)
    said = run("status", "--watch").out.splitlines()

    lines = [line[10:] for line in said if WEEKLY in line and line[2:3] == ":"]
    assert lines[0].startswith(f"{WEEKLY}: 0 of 3 done (0 %).")
    assert lines[1].startswith(f"{WEEKLY}: 1 of 3 done (33 %), ")
    assert lines[-1] == f"{WEEKLY} is finished: 3 readers, 3 accepted."


def test_with_nothing_under_way_it_says_so_and_ends(
    make_world: Callable[..., World], run: Run
) -> None:
    make_world()

    said = run("status", "--watch")

    assert said.code == 0, said
    assert said.out.startswith("All is well.\n")
    assert said.out.endswith("No edition is being sent.\n")


def test_one_object_and_a_view_exclude_each_other(run: Run) -> None:
    assert run("status", "--watch", "--json").code == 2


def test_on_a_terminal_the_last_view_stays_after_ctrl_c(
    make_world: Callable[..., World], run: Run, tmp_path: Path
) -> None:
    world = make_world()
    world.readers(2)
    world.article()
    world.freeze()
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "newsletter", "status", "--watch"],
        cwd=tmp_path,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as command:
        os.close(theirs)
        shown = b""
        while b"0 of 2 done" not in shown:
            shown += os.read(ours, 65_536)
        command.send_signal(signal.SIGINT)
        # A terminal that nobody writes to any more cannot be read.
        with suppress(OSError):
            while more := os.read(ours, 65_536):
                shown += more
    os.close(ours)

    assert command.returncode in {0, 3}
    assert b"Traceback" not in shown
    # The cursor that was hidden is back, below the view.
    assert shown.rstrip().endswith(b"\x1b[?25h")
