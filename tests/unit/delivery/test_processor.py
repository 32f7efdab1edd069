from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from newsletter.delivery.processor import Processor, own_thread

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


def test_two_threads_are_kept_on_one_processor_and_let_go_again(before: set[int]) -> None:
    needs_two(before)
    ending = threading.Event()
    other = threading.Thread(target=ending.wait)
    other.start()
    assert other.native_id is not None
    threads = [*own_thread(), other.native_id]
    processor = Processor()

    processor.share(threads)
    shared = [os.sched_getaffinity(thread) for thread in threads]
    processor.leave(threads)
    left = [os.sched_getaffinity(thread) for thread in threads]
    ending.set()
    other.join()

    assert shared[0] == shared[1]
    assert len(shared[0]) == 1
    assert shared[0] < before
    assert left == [before, before]


def test_who_has_one_processor_alone_stays_there(before: set[int]) -> None:
    (only, *_) = sorted(before)
    os.sched_setaffinity(0, {only})
    processor = Processor()
    os.sched_setaffinity(0, before)

    processor.share(own_thread())
    processor.leave(own_thread())

    assert os.sched_getaffinity(0) == before


def test_a_thread_that_has_ended_is_passed_over(before: set[int]) -> None:
    needs_two(before)
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()
    assert ended.native_id is not None
    processor = Processor()

    processor.share([ended.native_id, *own_thread()])

    assert len(os.sched_getaffinity(0)) == 1
