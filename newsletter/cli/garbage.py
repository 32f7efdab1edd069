"""Keeps the garbage collector from what lives to the end: all that a command imports.

At Python's threshold of 700 it runs some two hundred times while a command starts, for nothing. The
work itself needs it: statements of SQLAlchemy are cycles, which hold their parameters. An import
has few statements for many rows, which are no cycles: it collects once for each batch.
"""

from __future__ import annotations

import gc

_SELDOM = 50_000
_USUAL = gc.get_threshold()


def defer() -> None:
    """Collect seldom: while a command starts, or makes many rows."""
    gc.set_threshold(_SELDOM)


def collect() -> None:
    """Collect now: between the batches of an import."""
    gc.collect()


def resume() -> None:
    """Collect as usual, but never look again at what there is now."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
