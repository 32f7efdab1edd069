"""Runs the real worker in processes that are killed with SIGKILL.

    python killable.py

The program reads one order as JSON from each line of its input, runs a forked child for each fate
in the order, several at once, and prints their exit codes. Everything is imported once, before the
first fork, so a run costs milliseconds. A fate's fuse is a place in our code and a number n; the
child kills itself when it reaches the place for the n-th time. Other faults of an order are in
faults.py. The product has no code for this.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

import faults
import ledgers
import psycopg  # noqa: F401 - what an engine imports on its first connection
from sqlalchemy.dialects import postgresql, sqlite  # noqa: F401 - the same

from newsletter.db import engine as engines
from newsletter.errors import NewsletterError
from newsletter.ledger import queue, registry
from newsletter.ledger.holding import Hold, LeaseLost
from newsletter.sender import worker
from newsletter.sender.committer import Committer
from newsletter.smtp import reply
from newsletter.smtp.outcome import Outcome, Phase
from newsletter.smtp.session import Session

#: All places for a fuse: before a transaction, in it, and after its commit.
OFTEN = (
    "before begin", "in begin",
    "before mark", "in mark", "after mark",
    "before body", "half a body", "after body", "after reply",
    "before record", "in record", "after record",
)  # fmt: skip
PLACES = (
    "before sign-in", "in sign-in",
    "before take-over", "in take-over", "after take-over",
    "before claim", "in claim", "before store", "in store", "after claim",
    *OFTEN,
    "at the end",
)  # fmt: skip


#: Exit code of a worker that ended with an error.
STOPPED = 1


class Fuse:
    """Kills this process when its code reaches a given place for the n-th time."""

    def __init__(self, place: str, times: int) -> None:
        assert place in PLACES
        self.place = place
        self.times = times
        #: Actions of this process since its last commit.
        self.done: set[str] = set()

    def burn(self, place: str) -> None:
        if place == self.place:
            self.times -= 1
            if self.times <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, word: str) -> None:
        """Wrap `owner.name` with places for the fuse: before the call, and after it."""
        original: Callable[..., Any] = getattr(owner, name)

        def wrapped(*args: Any, **named: Any) -> Any:
            self.burn(f"before {word}")
            result = original(*args, **named)
            self.done.add(word)
            self.burn(f"in {word}")
            return result

        setattr(owner, name, wrapped)


def arm(fuse: Fuse) -> None:
    """Patch our code in this process, so that the fuse burns at its place."""
    fuse.around(registry, "sign_in", "sign-in")
    fuse.around(Hold, "begin", "begin")
    fuse.around(Hold, "store", "store")
    fuse.around(queue, "claim", "claim")
    fuse.around(queue, "mark", "mark")
    fuse.around(queue, "record", "record")
    _arm_take_over(fuse)
    _arm_commit(fuse)
    _arm_session(fuse)


def _arm_take_over(fuse: Fuse) -> None:
    fuse.around(registry, "take_over_dead", "take-over")
    forget, close = registry.forget, Committer.close

    def forgotten(engine: Any, names: Any) -> None:
        fuse.burn("after take-over")
        forget(engine, names)

    async def closed(committer: Committer) -> None:
        await close(committer)
        fuse.burn("at the end")

    registry.forget = forgotten
    Committer.close = closed  # type: ignore[method-assign]


def _arm_commit(fuse: Fuse) -> None:
    commit = Committer._transact

    def committed(committer: Committer, *args: Any) -> Any:
        fuse.done.clear()
        answers = commit(committer, *args)
        for word in ("claim", "mark", "record"):
            if word in fuse.done:
                fuse.burn(f"after {word}")
        return answers

    Committer._transact = committed  # type: ignore[method-assign]


def _arm_session(fuse: Fuse) -> None:
    body, classify = Session._body, reply.classify

    async def sent(session: Session, message: bytes, *following: Any) -> Any:
        fuse.burn("before body")
        if fuse.place == "half a body" and fuse.times == 1:
            session._transport.write(message[: len(message) // 2])
        fuse.burn("half a body")
        # Burns after the message and its final dot were written, before any reply is read.
        asyncio.get_running_loop().call_soon(fuse.burn, "after body")
        return await body(session, message, *following)

    def classified(phase: Phase, answer: reply.Reply) -> Outcome:
        if phase is Phase.BODY:
            fuse.burn("after reply")
        return classify(phase, answer)

    Session._body = sent  # type: ignore[method-assign]
    reply.classify = classified


def obey(order: dict[str, Any], fate: dict[str, Any]) -> int:
    """Run an order in the child; return the exit code."""
    if fate["fuse"]:
        arm(Fuse(*fate["fuse"]))
    engine = engines.open(order["url"])
    clock = faults.inflict(order, engine)
    plan = ledgers.plan(*order["ports"], connections=order["connections"], policy=order["policy"])
    try:
        worker.run(engine, plan, clock=clock)
    except LeaseLost:
        # No running worker may count as crashed in these tests.
        raise
    except NewsletterError as exc:
        print(f"{type(exc).__name__}: {exc}")
        return STOPPED
    engine.dispose()
    return 0


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(_fulfil(json.loads(line))), flush=True)


def _fulfil(order: dict[str, Any]) -> list[int]:
    """Run a child for each fate, a new one whenever one ends; return the exit codes."""
    fates = deque(order["fates"])
    living: dict[int, float] = {}
    codes = []
    while fates or living:
        while fates and len(living) < order["at_once"]:
            fate = fates.popleft()
            child = os.fork()
            if child == 0:
                _be_the_child(order, fate)
            after_ms = math.inf if fate["after_ms"] is None else fate["after_ms"]
            living[child] = time.monotonic() + after_ms / 1000
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            del living[ended]
            codes.append(os.waitstatus_to_exitcode(status))
            continue
        for child, dies_at in living.items():
            if time.monotonic() >= dies_at:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
    return codes


def _be_the_child(order: dict[str, Any], fate: dict[str, Any]) -> None:
    code = 70
    # The name identifies these connections in pg_stat_activity.
    os.environ["PGAPPNAME"] = "worker"
    try:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        code = obey(order, fate)
    except BaseException:  # noqa: BLE001 - shown in the output of the test
        traceback.print_exc()
    os._exit(code)


if __name__ == "__main__":
    main()
