"""A DNS of a test's own in memory: answers to look-ups without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from newsletter.doctor.records.answers import Answer, Kind

#: In place of records: the query fails.
FAILS = "no name server answered in time"


class Zone:
    """Answers from a table of names; counts what it is asked."""

    def __init__(self, names: Mapping[str, Mapping[Kind, Sequence[str] | str]]) -> None:
        self._names = {name.lower(): records for name, records in names.items()}
        self.asked: list[tuple[str, Kind]] = []

    def __call__(self, name: str, kind: Kind) -> Answer:
        """Return what the table has; a text in place of records is a failure."""
        self.asked.append((name, kind))
        records = self._names.get(name.lower().removesuffix("."))
        if records is None:
            return Answer(exists=False)
        found = records.get(kind, ())
        return Answer(failure=found) if isinstance(found, str) else Answer(records=tuple(found))
