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
def test_a_date_means_the_same_with_and_without_spaces_around_it(
    meaning: Meaning, instant: datetime, separator: str
) -> None:
    for cell in (instant.isoformat(separator, "seconds"), instant.date().isoformat()):
        assert meaning.standing(cell) is meaning.standing(f" {cell} ")


@given(st.sampled_from(MEANINGS))
def test_a_date_of_zeros_is_an_empty_cell(meaning: Meaning) -> None:
    if meaning.dated is not None:
        for cell in ("0000-00-00", "0000-00-00 00:00:00"):
            assert meaning.standing(cell) in {meaning.empty, meaning.words.get(cell)}
