"""What a worker reports to its operator."""

from __future__ import annotations

import errno
import threading

from newsletter.sender.reports import reporting


def test_a_full_disk_under_the_log_stops_nothing() -> None:
    told = []

    def on_trouble(sentence: str, hint: str | None) -> None:
        told.append((sentence, hint))
        raise OSError(errno.ENOSPC, "No space left on device")

    with reporting(None, on_trouble) as reports:
        reports.tell("It happened.", "Look there.")
        reports.tell("It went on.", None)

    assert told == [("It happened.", "Look there."), ("It went on.", None)]


def test_without_anybody_to_tell_nothing_happens() -> None:
    with reporting(None, None) as reports:
        reports.tell("Nobody listens.", None)
        reports.show(1)


def test_a_terminal_that_stands_still_holds_nobody_up_and_sees_the_last_tally() -> None:
    goes_on = threading.Event()
    shown: list[int] = []

    def on_tally(tally: int) -> None:
        goes_on.wait(60)
        shown.append(tally)

    with reporting(on_tally, None) as reports:
        for tally in range(1000):
            reports.show(tally)
        reports.show(1000, is_last=True)
        goes_on.set()

    assert shown == [0, 1000]
