"""Requests to stop: which signals are noted, and that nothing is interrupted."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from newsletter.sender.shutdown import STOPS, Shutdown, on_signals


@pytest.mark.parametrize(
    ("numbers", "is_urgent"),
    [
        ([signal.SIGTERM], False),
        ([signal.SIGINT], False),
        # What each process of a group receives when Ctrl-C is pressed once.
        ([signal.SIGINT, signal.SIGTERM], False),
        ([signal.SIGTERM, signal.SIGINT], False),
        ([signal.SIGTERM, signal.SIGTERM], False),
        ([signal.SIGINT, signal.SIGTERM, signal.SIGINT], True),
    ],
)
def test_a_signal_is_noted_and_the_second_interrupt_is_urgent(
    numbers: list[signal.Signals], *, is_urgent: bool
) -> None:
    with on_signals() as shutdown:
        assert not shutdown.is_wanted
        for number in numbers:
            os.kill(os.getpid(), number)
        assert (shutdown.is_wanted, shutdown.is_urgent) == (True, is_urgent)


def test_whoever_heard_signals_before_hears_them_again() -> None:
    before = {number: signal.getsignal(number) for number in STOPS}
    with on_signals():
        assert before != {number: signal.getsignal(number) for number in STOPS}
    assert before == {number: signal.getsignal(number) for number in STOPS}


def test_within_another_the_same_word_holds() -> None:
    with on_signals() as outer:
        with on_signals() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert inner is outer
        os.kill(os.getpid(), signal.SIGINT)
        assert outer.is_wanted
    with on_signals() as later:
        assert not later.is_wanted


def test_a_listener_is_told_each_time_and_no_longer_than_it_wants() -> None:
    shutdown, told = Shutdown(), []
    with shutdown.heeded_by(lambda: told.append(1)):
        shutdown.ask()
        shutdown.ask()
    shutdown.ask()
    assert told == [1, 1]


def test_another_thread_hears_no_signal_and_its_wait_ends_with_the_word() -> None:
    before = {number: signal.getsignal(number) for number in STOPS}
    shutdown, began = Shutdown(), threading.Event()

    def wait() -> None:
        with on_signals() as mine:
            assert mine is not shutdown
            began.set()
            shutdown.wait(3_600)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    began.wait()
    assert before == {number: signal.getsignal(number) for number in STOPS}
    shutdown.ask()
    thread.join(60)
    assert not thread.is_alive()
