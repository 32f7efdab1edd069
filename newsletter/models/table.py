"""What all tables have in common."""

from __future__ import annotations

from pydantic import ConfigDict
from sqlmodel import SQLModel


class Table(SQLModel):
    """The base of the tables."""

    # Rows are not validated: pydantic builds a table's validator only if one is asked for.
    model_config = ConfigDict(defer_build=True)  # type: ignore[assignment]
