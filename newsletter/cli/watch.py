"""`newsletter status --watch`: shows the progress of editions until none is being sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from newsletter import clock
from newsletter.cli import output, send, streams

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.editions.under_way import Look
    from newsletter.sender.limits import Limits
    from newsletter.settings import Settings

#: Seconds between two queries: on a terminal, and for output line by line.
_EVERY = 2.0
_EVERY_LINE = 5.0
#: A rate is measured over so many queries, as replies come in bursts.
_LOOKS = 6
_NOTHING = "No edition is being sent."


def watch(engine: Engine, *, limits: Limits, settings: Settings) -> None:
    """Show the progress of the editions repeatedly, until none is being sent, or Ctrl-C."""
    is_screen = streams.is_terminal(streams.stdout())
    with ExitStack() as stack:
        show: Callable[[list[str]], None] = _Lines(settings)
        if is_screen:
            show = stack.enter_context(output.live())
        with suppress(KeyboardInterrupt):
            _repeat(engine, show, limits=limits, settings=settings, is_screen=is_screen)


def _repeat(
    engine: Engine,
    show: Callable[[list[str]], None],
    *,
    limits: Limits,
    settings: Settings,
    is_screen: bool,
) -> None:
    from newsletter.db import session as sessions
    from newsletter.editions import under_way

    looks: deque[Look] = deque(maxlen=_LOOKS)
    gone: list[str] = []
    while True:
        with sessions.reading(engine) as session:
            look = under_way.look(session, limits=limits, now=clock.utc_now())
            names = {one.name for one in look.editions}
            before = looks[-1].editions if looks else ()
            ended = [one.name for one in before if one.name not in names]
            gone += [send.sentence(under_way.ended(session, name)) for name in ended]
        looks.append(look)
        lines = [
            under_way.sentence(one, under_way.rate(looks[0], look, one.name), look, settings.zone)
            for one in look.editions
        ]
        show([output.printable(line) for line in [*gone, *lines] or [_NOTHING]])
        if not lines:
            return
        time.sleep(_EVERY if is_screen else _EVERY_LINE)


class _Lines:
    """Prints each new line with the time, for output that is not a terminal."""

    def __init__(self, settings: Settings) -> None:
        self._zone = settings.zone
        self._printed: frozenset[str] = frozenset()

    def __call__(self, lines: list[str]) -> None:
        at = clock.utc_now().astimezone(self._zone)
        for line in lines:
            if line not in self._printed:
                output.say(f"{at:%H:%M:%S}  {line}")
        self._printed = frozenset(lines)
