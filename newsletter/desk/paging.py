"""Long lists by pages, each found by an index: rows before a key, never an offset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BeforeValidator

#: The rows of a page.
SIZE = 50

T = TypeVar("T")
#: The parameter with the key of the last row of the page before.
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1)]

#: Marks the parameter of a filter whose form sends an empty text for "all".
EMPTY = BeforeValidator(lambda value: value or None)


@dataclass(frozen=True, kw_only=True)
class Rows(Generic[T]):
    """One page of a list, the newest first."""

    rows: Sequence[T]
    #: The key before which the next page begins; None on the last page.
    older: object | None
    is_first: bool


def cut(found: Sequence[T], *, key: Callable[[T], object], is_first: bool) -> Rows[T]:
    """Return a page of rows of which one more than SIZE was asked for."""
    rows = found[:SIZE]
    older = key(rows[-1]) if len(found) > SIZE else None
    return Rows(rows=rows, older=older, is_first=is_first)
