from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.subscribers.csv_rows import cells

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
DAY = timedelta(days=1)
SIGNS = "=+-@"


# Formulas


@pytest.mark.parametrize(
    "first", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\u200b+"], ids=ascii
)
def test_a_cell_is_never_a_formula(first: str) -> None:
    assert cells.guard(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"


def test_whatever_a_spreadsheet_normalises_into_a_formula_is_guarded() -> None:
    letters = (chr(code) for code in range(sys.maxunicode) if not 0xD800 <= code < 0xE000)
    signs = [one for one in letters if unicodedata.normalize("NFKC", one)[:1] in tuple(SIGNS)]

    assert {"＝", "＋", "－", "＠", "﹦", "₌"} <= set(signs)
    assert [one for one in signs if not cells.guard(f"{one}1").startswith("'")] == []


@settings(deadline=None)
@given(st.text(max_size=20) | st.text("'=+-@＝＠ \t\u200bax", max_size=6))
def test_unguard_reverses_guard(cell: str) -> None:
    guarded = cells.guard(cell)

    assert cells.unguard(guarded) == cell
    assert not unicodedata.normalize("NFKC", guarded).lstrip().startswith(tuple(SIGNS))


# Dates


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05.000Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04:05", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02 05:04:05+02:00", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04:05 UTC", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02", datetime(2024, 1, 2, tzinfo=UTC)),
        ("2.1.2024", datetime(2024, 1, 2, tzinfo=UTC)),
        ("Jan 2, 2024", datetime(2024, 1, 2, tzinfo=UTC)),
        ("1704164645", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1704164645000", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-02-30 03:04:05", None),
        ("0000-01-01 03:04:05", None),
        # Ambiguous: it may be the first of February.
        ("01/02/2024", None),
        ("2027-01-01", None),
        ("1989-12-31", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("9" * 10, None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_is_evidence_only_if_it_can_mean_one_past_instant(
    cell: str, found: datetime | None
) -> None:
    assert cells.moment(cell, now=NOW) == found


@settings(deadline=None)
@given(
    st.lists(
        st.datetimes().map(lambda at: at.isoformat(" ", "seconds"))
        | st.datetimes(NOW.replace(tzinfo=None) - DAY, NOW.replace(tzinfo=None) + DAY).map(str)
        | st.sampled_from(
            ["", "2023-04-01", "2023-04-01T09:00:00", "2023-02-30 09:00:00", "2023-04-01 09:00:0x"]
        ),
        max_size=5,
        unique=True,
    )
)
def test_a_column_of_dates_is_read_as_each_of_them(column: list[str]) -> None:
    found = cells.common_moments(column, now=NOW)

    assert found == {cell: cells.moment(cell, now=NOW) for cell in found}


def test_the_dates_of_a_column_are_read_at_once() -> None:
    column = ["2023-04-01 09:00:00", "", "2023-04-01T10:00:00", "1 April 2023"]

    assert cells.common_moments(column, now=NOW).keys() == {column[0], column[2]}


@given(st.text(max_size=50))
def test_no_cell_breaks_what_reads_it(cell: str) -> None:
    cells.moment(cell, now=NOW)
    cells.ip(cell)
    cells.language(cell)
    cells.timezone(cell)
    cells.key(cell)


# Addresses, languages, time zones


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.7, 10.0.0.1", None),
        ("<script>", None),
        ("", None),
    ],
)
def test_what_is_no_ip_address_is_dropped(cell: str, found: str | None) -> None:
    assert cells.ip(cell) == found


@pytest.mark.parametrize(
    ("cell", "found"),
    [("de", "de"), ("pt_BR.UTF-8", "pt-BR"), ("zh-hant", "zh-Hant"), ("EN", "en"),
     ("English", None), ("de; rm -rf", None), ("", None)],
)  # fmt: skip
def test_a_language_is_a_tag(cell: str, found: str | None) -> None:
    assert cells.language(cell) == found


@pytest.mark.parametrize(
    ("cell", "found"),
    [("Europe/Berlin", "Europe/Berlin"), ("america/new_york", "America/New_York"),
     ("UTC", "UTC"), ("GMT+25", None), ("../../etc/passwd", None), ("", None)],
)  # fmt: skip
def test_a_time_zone_is_one_that_exists(cell: str, found: str | None) -> None:
    assert cells.timezone(cell) == found
