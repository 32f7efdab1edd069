"""The common base class of all tables."""

from __future__ import annotations

from pydantic import ConfigDict
from sqlmodel import SQLModel


class Table(SQLModel):
    """The base of the tables."""

    # Rows are not validated, so pydantic need not build a validator for each table.
    model_config = ConfigDict(defer_build=True)  # type: ignore[assignment]
