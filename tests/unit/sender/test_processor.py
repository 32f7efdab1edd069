from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from newsletter.sender.processor import Processor

if sys.platform != "linux":
    pytest.skip("only Linux lets a thread choose its processors", allow_module_level=True)


@pytest.fixture(autouse=True)
def before() -> Iterator[set[int]]:
    allowed = os.sched_getaffinity(0)
    yield allowed
    os.sched_setaffinity(0, allowed)


def needs_two(allowed: set[int]) -> None:
    if len(allowed) < 2:
        pytest.skip("this machine has one processor")


@contextmanager
def waiting() -> Iterator[int]:
    """Another thread, by its native id."""
    ending = threading.Event()
    thread = threading.Thread(target=ending.wait)
    thread.start()
    assert thread.native_id is not None
    yield thread.native_id
    ending.set()
    thread.join()


@pytest.fixture
def other() -> Iterator[int]:
    with waiting() as thread:
        yield thread


def test_two_threads_are_kept_on_one_processor_and_let_go_again(
    before: set[int], other: int
) -> None:
    needs_two(before)
    processor = Processor()

    processor.share(other)
    shared = [os.sched_getaffinity(thread) for thread in (0, other)]
    processor.leave()
    left = [os.sched_getaffinity(thread) for thread in (0, other)]

    assert shared[0] == shared[1]
    assert len(shared[0]) == 1
    assert shared[0] < before
    assert left == [before, before]


def test_who_has_one_processor_alone_stays_there(before: set[int], other: int) -> None:
    (only, *_) = sorted(before)
    os.sched_setaffinity(0, {only})
    processor = Processor()

    processor.share(other)
    processor.leave()

    assert os.sched_getaffinity(0) == {only}
    assert os.sched_getaffinity(other) == before


def test_a_thread_that_has_ended_is_passed_over(before: set[int]) -> None:
    needs_two(before)
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    assert ended.native_id is not None
    processor = Processor()

    processor.share(ended.native_id)

    assert len(os.sched_getaffinity(0)) == 1


def test_another_process_that_has_the_id_of_a_thread_now_is_left_alone(before: set[int]) -> None:
    needs_two(before)
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as stranger:
        Processor().share(stranger.pid)
        theirs = os.sched_getaffinity(stranger.pid)
        assert stranger.stdin is not None
        stranger.stdin.close()

    assert theirs == before


def test_what_was_started_meanwhile_is_let_go_too(before: set[int]) -> None:
    needs_two(before)
    processor = Processor()
    processor.share()
    with waiting() as started:
        inherited = os.sched_getaffinity(started)
        processor.leave()
        left = os.sched_getaffinity(started)

    assert len(inherited) == 1
    assert left == before


def test_a_thread_that_somebody_else_has_moved_since_stays_there(
    before: set[int], other: int
) -> None:
    needs_two(before)
    processor = Processor()
    processor.share(other)
    elsewhere = before - os.sched_getaffinity(0)
    os.sched_setaffinity(other, elsewhere)

    processor.leave()

    assert os.sched_getaffinity(other) == elsewhere
    assert os.sched_getaffinity(0) == before


def test_processors_that_were_given_to_us_later_are_used(before: set[int]) -> None:
    needs_two(before)
    (only, *_) = sorted(before)
    os.sched_setaffinity(0, {only})
    processor = Processor()
    processor.share()
    processor.leave()
    os.sched_setaffinity(0, before)

    processor.share()
    shared = os.sched_getaffinity(0)
    processor.leave()

    assert len(shared) == 1
    assert os.sched_getaffinity(0) == before


def test_where_all_of_them_were_taken_meanwhile_it_takes_what_there_is(
    before: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_two(before)
    processor = Processor()
    with monkeypatch.context() as patch:
        # More than any machine has: what the kernel refuses as it does those of another cpuset.
        patch.setattr(os, "sched_getaffinity", lambda _: {1020, 1021})
        processor.share()
    shared = os.sched_getaffinity(0)

    processor.leave()

    assert len(shared) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("refused", ["sched_getaffinity", "sched_setaffinity"])
def test_where_the_kernel_says_no_nothing_happens(
    before: set[int], monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, refused, refuse)
        processor = Processor()
        processor.share()
        processor.leave()

    assert os.sched_getaffinity(0) == before


def test_a_thread_may_have_half_a_letter_for_its_name(before: set[int]) -> None:
    needs_two(before)
    name = Path("/proc/thread-self/comm")
    was = name.read_bytes()
    # A program's name is cut at 15 octets.
    name.write_bytes(b"newsletter-sch\xc3")
    try:
        Processor().share()
    finally:
        name.write_bytes(was)

    assert len(os.sched_getaffinity(0)) == 1
