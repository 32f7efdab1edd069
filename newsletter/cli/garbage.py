"""Makes the garbage collector skip the objects that live to the end, such as imported modules.

With Python's threshold of 700 it runs some two hundred times while a command starts, without any
effect. Later it is needed, because statements of SQLAlchemy are reference cycles that keep their
parameters alive. An import of readers has few statements for many rows, which are no cycles, so it
collects once per batch.
"""

from __future__ import annotations

import gc

_SELDOM = 50_000
_USUAL = gc.get_threshold()


def defer() -> None:
    """Collect rarely, while a command starts or creates many rows."""
    gc.set_threshold(_SELDOM)


def collect() -> None:
    """Collect now, between the batches of an import."""
    gc.collect()


def resume() -> None:
    """Collect as usual, but exclude all present objects from now on."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
