"""Charts: well-formed SVG within its bounds, whatever the names and numbers are."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.desk import charts
from newsletter.desk.charts import Series

_NUMBERS = st.none() | st.integers() | st.floats()
_WORDS = st.text(max_size=80)


@st.composite
def _drawings(draw: st.DrawFn) -> tuple[str, list[Any], list[Series]]:
    size = draw(st.integers(0, 40))
    start = draw(st.dates())
    days = [start + timedelta(n) for n in range(size) if (date.max - start).days >= n]
    words = st.lists(_WORDS, min_size=len(days), max_size=len(days))
    labels = draw(st.just(days) | words)
    values = st.lists(_NUMBERS, min_size=len(labels), max_size=len(labels))
    series = draw(st.lists(st.builds(Series, _WORDS, values), max_size=7))
    return draw(_WORDS), labels, series


def _parsed(svg: str) -> ET.Element:
    assert "nan" not in re.sub(r"<(title|desc|text)\b[^>]*>.*?</\1>", "", svg, flags=re.DOTALL)
    assert "inf" not in re.sub(r"<(title|desc|text)\b[^>]*>.*?</\1>", "", svg, flags=re.DOTALL)
    assert " style=" not in svg
    return ET.fromstring(svg)


def _numbers(words: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?[\d.]+", words)]


def _assert_inside(root: ET.Element, width: float, height: float) -> None:
    """Follow each path, and compare its points with the view box."""
    for path in root.iter("path"):
        x = y = 0.0
        for command, words in re.findall(r"([MLHVhz])([^MLHVhz]*)", path.get("d", "")):
            found = _numbers(words)
            if command in "ML":
                x, y = found
            elif command == "H":
                x = found[0]
            elif command == "V":
                y = found[0]
            elif command == "h":
                x += found[0]
            assert -0.2 <= x <= width + 0.2
            assert -0.1 <= y <= height + 0.1
    for text in root.iter("text"):
        share = text.get("x", "0%")
        assert 0 <= float(share.removesuffix("%")) <= 100
        assert text.get("y") == "50%" or 11 <= float(text.get("y", "0")) <= 200


@pytest.mark.parametrize("draw", [charts.lines, charts.bars])
@given(drawing=_drawings())
def test_a_chart_of_anything_is_well_formed_and_within_its_view_box(
    draw: Any, drawing: tuple[str, list[Any], list[Series]]
) -> None:
    title, labels, series = drawing

    root = _parsed(draw(title, labels, series))

    assert root.get("role") == "img"
    assert root.find("title") is not None
    assert root.find("desc") is not None
    assert float(root.get("font-size", "0")) >= 11
    _assert_inside(root, 1000, 160)


@given(title=_WORDS, done=st.integers() | st.floats() | _NUMBERS, whole=st.integers() | st.floats())
def test_a_bar_of_progress_is_never_longer_than_its_whole(
    title: str, done: Any, whole: float
) -> None:
    root = _parsed(charts.progress(title, done, whole))

    wide = [float(one.get("width", "").removesuffix("%")) for one in root.findall("rect")[1:]]
    assert sum(wide) <= 100 + 0.1 * len(wide)


@pytest.mark.parametrize(
    ("done", "whole", "wide"),
    [(0, 4, "0%"), (1, 4, "25%"), (4, 4, "100%"), (5, 4, "100%"), (0, 0, "0%")],
)
def test_a_bar_of_progress_is_as_long_as_its_share(done: int, whole: int, wide: str) -> None:
    root = _parsed(charts.progress("So far", done, whole))

    assert root.findall("rect")[1].get("width") == wide


@given(series=st.lists(st.builds(Series, _WORDS, st.just([]), _WORDS), max_size=9))
def test_names_and_hues_are_escaped(series: list[Series]) -> None:
    ET.fromstring(charts.legend(series))


def test_charts_of_130_points_in_four_series_are_under_10_kb() -> None:
    days = [date(2025, 1, 6) + timedelta(7 * n) for n in range(130)]
    series = [
        Series(f"Series {n}", [1234567.8 * (1 + (i * 37 + n * 11) % 97) for i in range(130)])
        for n in range(4)
    ]

    assert len(charts.lines("Readers", days, series).encode()) < 10_000
    assert len(charts.bars("Readers", days, series).encode()) < 10_000


def test_axes_have_round_numbers_and_no_fractions_of_readers() -> None:
    def numbers(*values: float) -> list[str]:
        labels = [str(n) for n in range(len(values))]
        svg = charts.bars("Readers", labels, [Series("Readers", values)])
        return [one.text or "" for one in ET.fromstring(svg).iter("text")][: -len(labels)]

    assert numbers(1) == ["0", "1"]
    assert numbers(3) == ["0", "1", "2", "3"]
    assert numbers(7, -3) == ["-5", "0", "5", "10"]
    assert numbers(950) == ["0", "500", "1,000"]
    assert numbers(1_234_567) == ["0", "500k", "1M", "1.5M"]
    assert numbers(0.5) == ["0", "0.2", "0.4", "0.6"]


@pytest.mark.parametrize(
    ("start", "days", "words"),
    [
        (date(2026, 11, 30), 1, ["30 Nov 2026"]),
        (date(2026, 11, 27), 4, ["27 Nov", "28 Nov", "29 Nov", "30 Nov"]),
        (date(2026, 11, 1), 30, ["2 Nov", "9 Nov", "16 Nov", "23 Nov", "30 Nov"]),
        (date(2026, 9, 2), 90, ["Oct 2026", "Nov 2026"]),
        (date(2025, 12, 1), 365, ["Jan 2026", "Apr 2026", "Jul 2026", "Oct 2026"]),
        (date(2024, 12, 1), 730, ["Jan 2025", "Jul 2025", "Jan 2026", "Jul 2026"]),
        (date(2016, 12, 1), 3650, ["2020", "2025"]),
    ],
)
def test_dates_are_labelled_where_something_begins(
    start: date, days: int, words: list[str]
) -> None:
    labels = [start + timedelta(n) for n in range(days)]

    svg = charts.lines("Readers", labels, [Series("Readers", [0] * days)])

    shown = [one.text or "" for one in ET.fromstring(svg).iter("text")]
    assert [one for one in shown if one in words or not one.isdigit()][-len(words) :] == words


def test_a_missing_value_interrupts_the_line_and_one_alone_is_a_dot() -> None:
    svg = charts.lines("Rate", list("abcde"), [Series("Rate", [1, 2, None, 2, None])])

    line, dots = [
        one.get("d", "")
        for one in ET.fromstring(svg).iter("path")
        if (one.get("class") or "").startswith("line")
    ]
    assert (line.count("M"), line.count("L")) == (1, 1)
    assert dots.endswith("h0")


@pytest.mark.parametrize("draw", [charts.lines, charts.bars])
def test_a_chart_of_nothing_says_so(draw: Any) -> None:
    assert "Nothing to show yet" in draw("Readers", [], [])
    assert "Nothing to show yet" in draw("Readers", ["a"], [Series("Readers", [None])])


def test_the_description_has_the_last_values() -> None:
    days = [date(2026, 11, 29), date(2026, 11, 30)]
    svg = charts.lines("Readers", days, [Series("Daily", [1, 1200]), Series("Weekly", [1, None])])

    desc = ET.fromstring(svg).findtext("desc")
    assert desc == "From 29 Nov 2026 to 30 Nov 2026. Last: Daily 1,200, Weekly unknown."
