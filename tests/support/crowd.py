"""Runs one command in many processes that begin at the same instant.

    python crowd.py TIMES WORDS...

Everything is imported once, before the first fork, so that the processes run concurrently from
their first statement, while fifty Python interpreters would spend their time starting. The program
prints a line when all have begun, forwards SIGTERM to each, and at the end prints their exit codes
as a JSON list. Their own output goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

from newsletter.articles import ingest  # noqa: F401 - the commands import it when they run
from newsletter.cli import app
from newsletter.editions import schedule, send  # noqa: F401 - and these


def main(times: int, words: list[str]) -> None:
    children = [_start(words) for _ in range(times)]

    def hand_on(number: int, _frame: object) -> None:
        for child in children:
            os.kill(child, number)

    signal.signal(signal.SIGTERM, hand_on)
    print("begun", flush=True)
    # The children are not reaped before all have ended, so that their ids are not reused.
    ended = [os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT) for child in children]
    assert all(ended)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps(codes), flush=True)


def _start(words: list[str]) -> int:
    child = os.fork()
    if child == 0:
        _be_the_child(words)
    return child


def _be_the_child(words: list[str]) -> None:
    code: object = 70
    try:
        os.dup2(2, 1)
        sys.argv = ["newsletter", *words]
        app.main()
    except SystemExit as exc:
        code = exc.code or 0
    except BaseException:  # noqa: BLE001 - shown in the output of the test
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
