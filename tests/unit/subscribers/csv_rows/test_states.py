from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from newsletter.subscribers.csv_rows import names, tools
from newsletter.subscribers.csv_rows.states import Meaning

MEANINGS = [
    *names.STATES.values(),
    *(meaning for tool in tools.TOOLS for meaning in tool.states.values()),
]


@given(st.sampled_from(MEANINGS), st.datetimes(), st.sampled_from([" ", "T"]))
def test_dates_of_a_column_mean_what_each_of_them_does(
    meaning: Meaning, instant: datetime, separator: str
) -> None:
    date = instant.date().isoformat()
    column = [instant.isoformat(separator, "seconds"), date, f"{date}x", "0000-00-00", "yes", ""]

    found = meaning.of_dates(column)

    assert found == {cell: meaning.standing(cell) for cell in found}
    if meaning.dated is not None and 1900 <= instant.year <= 2099:
        assert list(found) == column[:2]
