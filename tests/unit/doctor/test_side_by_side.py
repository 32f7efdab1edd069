"""Checks that wait for a network: side by side, bounded, and none ends the others."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from newsletter.doctor import network
from newsletter.doctor.findings import Checks, Examined, Finding, Level
from newsletter.doctor.network import Job
from newsletter.errors import TransportUnavailable

FOUND = Examined(checks=Checks.DNS, looked_at=("spf",), findings=())


def job(name: str, run: Callable[[], Examined], seconds: float = 60) -> Job:
    return Job(name=name, checks=Checks.DNS, run=run, seconds=seconds)


def test_each_job_waits_while_the_others_run() -> None:
    both = threading.Barrier(2, timeout=60)

    def meet() -> Examined:
        both.wait()
        return FOUND

    found = network.side_by_side([job("a", meet), job("b", meet)], on_waiting=lambda _: None)

    assert found == [FOUND, FOUND]


def test_what_takes_too_long_was_not_checked_and_says_so() -> None:
    end = threading.Event()

    def wait() -> Examined:
        end.wait(60)
        return FOUND

    waiting: list[list[str]] = []
    jobs = [job("slow one", wait, seconds=0.05), job("fast one", lambda: FOUND)]
    slow, fast = network.side_by_side(jobs, on_waiting=lambda names: waiting.append([*names]))
    end.set()

    assert fast == FOUND
    assert [(one.level, one.subject) for one in slow.findings] == [(Level.NOT_CHECKED, "slow one")]
    assert "took more than 0 seconds" in slow.findings[0].sentence
    assert waiting[0] == ["slow one", "fast one"]


@pytest.mark.parametrize("error", [TransportUnavailable("No way."), ZeroDivisionError("oops")])
def test_a_check_that_fails_was_not_made(error: Exception) -> None:
    def fail() -> Examined:
        raise error

    failed, fine = network.side_by_side(
        [job("a", fail), job("b", lambda: FOUND)], on_waiting=lambda _: None
    )

    assert fine == FOUND
    assert [one.level for one in failed.findings] == [Level.NOT_CHECKED]
    assert str(error).rstrip(".") in failed.findings[0].sentence


def test_the_results_of_one_group_are_one() -> None:
    clock = Finding(id="clock", level=Level.ERROR, sentence="It is slow.", hint="Set it.")
    first = Examined(checks=Checks.MACHINE, looked_at=("keys", "clock"), findings=())
    second = Examined(checks=Checks.MACHINE, looked_at=("clock",), findings=(clock,))

    assert network.merged([second, FOUND, first]) == [
        Examined(checks=Checks.MACHINE, looked_at=("clock", "keys"), findings=(clock,)),
        FOUND,
    ]
