"""Charts as SVG, drawn on the server: pure functions of names and numbers, for a page's HTML.

The policy of the desk's pages forbids inline styles, so there are only classes and attributes; the
colours stand in `templates/desk/charts.css`. Text keeps its size at every width of the page: it is
placed by percentages, and only the shapes, in a nested SVG, are stretched.

Numbers that are no numbers (NaN, infinity) count as missing, like None; others are limited to
10^15 in either direction. A chart is under 10 kB for up to 130 points in each of four series;
group longer spans by week or month before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from markupsafe import Markup, escape

#: A value of a chart; None for a missing one.
Number = float | None

_LIMIT = 1e15
#: Width of the stretched plane, in its own units.
_WIDE = 1000
#: Greatest width of a bar, in the same units.
_WIDEST = 80
#: Heights in px: of the chart, above the plane (for the highest label), and of the plane.
_HEIGHT, _ABOVE, _PLANE = 200, 18, 160
#: Smallest distance between two labels on the axis, as a share: 50 px at a width of 280.
_APART = 0.18
_LABEL = 12
#: The finest step of an axis, also as a share of its greatest value: labels have three decimals.
_FINEST = 1e-3
#: Characters that XML 1.0 does not allow (section 2.2).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Units of the labels on the axis of values.
_UNITS = ((1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e4, "k"))


@dataclass(frozen=True)
class Series:
    """A row of values with a name; all series of a chart have a value for each of its labels."""

    name: str
    values: Sequence[Number]
    #: A colour of `charts.css`: accent, good, warning, problem, muted; "" for one by place.
    hue: str = ""


@dataclass(frozen=True)
class _Scale:
    """A linear axis of values, from bottom to top, with round numbers as ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def y(self, value: float) -> float:
        """Return the distance from the upper end of the plane, in px."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _PLANE * (1 - share)


def lines(
    title: str, labels: Sequence[date | str], series: Sequence[Series], *, unit: str = ""
) -> Markup:
    """Return a chart of one line for each series; a missing value interrupts its line.

    `title` is the accessible name, and the last values are the description. Labels are evenly
    spaced: days without a gap, or words. `unit` follows each number, such as "%".
    """
    rows = [[_finite(value) for value in one.values] for one in series]
    present = [value for row in rows for value in row if value is not None]
    if not present:
        return _empty(title)
    scale = _scale(min(present), max(present), from_zero=min(present) <= max(present) / 2)
    last = max(len(labels) - 1, 1)
    places = [index / last if len(labels) > 1 else 0.5 for index in range(len(labels))]
    shapes = [
        _line(row, places, scale, _hue(one, place))
        for place, (one, row) in enumerate(zip(series, rows, strict=True))
    ]
    described = _described(labels, series, rows, unit)
    return _chart(title, described, shapes, _Axes(scale, unit, labels, places))


def bars(
    title: str, labels: Sequence[date | str], series: Sequence[Series], *, unit: str = ""
) -> Markup:
    """Return a chart of bars: the series of a label stand on each other, negative ones below zero.

    See `lines` for the arguments.
    """
    rows = [[_finite(value) for value in one.values] for one in series]
    if not any(value for row in rows for value in row):
        return _empty(title)
    floors, ceilings = [0.0] * len(labels), [0.0] * len(labels)
    places = [(index + 0.5) / len(labels) for index in range(len(labels))]
    boxes: list[list[tuple[float, float, float]]] = []
    for row in rows:
        boxes.append([])
        for index, value in enumerate(row):
            ends = ceilings if (value or 0) > 0 else floors
            start, ends[index] = ends[index], ends[index] + (value or 0)
            if value:
                boxes[-1].append((places[index], start, ends[index]))
    scale = _scale(min(floors), max(ceilings), from_zero=True)
    # A bar is a vertical stroke, which is stretched in its width: the shortest path.
    wide = _px(min(_WIDE / len(labels) * 0.8, _WIDEST))
    shapes = [
        f'<path class="bar {_hue(one, place)}" stroke-width="{wide}" d="{_strokes(box, scale)}"/>'
        for place, (one, box) in enumerate(zip(series, boxes, strict=True))
    ]
    described = _described(labels, series, rows, unit)
    return _chart(title, described, shapes, _Axes(scale, unit, labels, places))


def progress(title: str, done: float, whole: float) -> Markup:
    """Return a bar that is filled by the share of `done` in `whole`, at most in all its length.

    `title` says it in words.
    """
    total, part = _finite(whole) or 0.0, _finite(done) or 0.0
    share = min(max(part, 0.0) / total, 1.0) if total > 0 else 0.0
    return _html(
        f'<svg class="progress" role="img" width="100%" height="10"><title>{_text(title)}</title>'
        '<rect class="ground" width="100%" height="100%"/>'
        f'<rect class="bar" width="{_px(share * 100)}%" height="100%"/></svg>'
    )


def legend(series: Sequence[Series]) -> Markup:
    """Return the names of the series with their colours, as a list in HTML."""
    entries = "".join(
        '<li><svg class="swatch" aria-hidden="true" width="24" height="12">'
        f'<path class="line {_hue(one, place)}" d="M1 6H23"/></svg>{_text(one.name)}</li>'
        for place, one in enumerate(series)
    )
    return _html(f'<ul class="legend">{entries}</ul>')


def numbers(heading: str, labels: Sequence[date | str], series: Sequence[Series]) -> Markup:
    """Return the numbers of a chart as a table in HTML, the last label first."""
    heads = "".join(f'<th scope="col">{_text(one.name)}</th>' for one in series)
    rows = []
    for label, *row in zip(labels, *(one.values for one in series), strict=True):
        cells = "".join(f"<td>{'–' if one is None else f'{one:,}'}" for one in row)
        rows.append(f'<tr><th scope="row">{_text(str(label))}{cells}')
    return _html(
        f'<table><thead><tr><th scope="col">{_text(heading)}</th>{heads}</tr></thead>'
        f"<tbody>{''.join(reversed(rows))}</tbody></table>"
    )


def short(value: float, unit: str = "") -> str:
    """Return a number for an axis: 950, 9,500, 12k, 1.5M, 3.2%."""
    size = abs(value)
    factor, word = next(((f, word) for f, word in _UNITS if size >= f), (1.0, ""))
    factor = 1e3 if word == "k" else factor
    digits = f"{value / factor:,.3f}".rstrip("0").rstrip(".")
    return f"{'0' if digits == '-0' else digits}{word}{unit}"


# The plane


@dataclass(frozen=True)
class _Axes:
    scale: _Scale
    unit: str
    labels: Sequence[date | str]
    #: Where the labels are, as shares of the width.
    places: Sequence[float]


def _chart(title: str, described: str, shapes: Iterable[str], axes: _Axes) -> Markup:
    scale = axes.scale
    grid = "".join(f"M0 {_px(scale.y(tick))}H{_WIDE}" for tick in scale.ticks)
    # The numbers stand on their lines, so that the plane has the whole width.
    numbers = "".join(
        f'<text class="number" y="{_px(scale.y(tick) + _ABOVE - 4)}">'
        f"{_text(short(tick, axes.unit))}</text>"
        for tick in scale.ticks
    )
    words = "".join(
        f'<text x="{_px(at * 100)}%" y="{_HEIGHT - 5}" text-anchor="{_anchor(at)}">{_text(word)}'
        "</text>"
        for at, word in _ticks(axes.labels, axes.places)
    )
    has_zero = scale.low <= 0 <= scale.high
    zero = f'<path class="zero" d="M0 {_px(scale.y(0))}H{_WIDE}"/>' if has_zero else ""
    return _html(
        f"{_opening(title, described)}"
        f'<svg y="{_ABOVE}" height="{_PLANE}" viewBox="0 0 {_WIDE} {_PLANE}"'
        f' preserveAspectRatio="none"><path class="grid" d="{grid}"/>'
        f"{''.join(shapes)}{zero}</svg>{numbers}{words}</svg>"
    )


def _opening(title: str, described: str) -> str:
    desc = f"<desc>{_text(described, 600)}</desc>" if described else ""
    return (
        f'<svg class="chart" role="img" width="100%" height="{_HEIGHT}" font-size="{_LABEL}">'
        f"<title>{_text(title)}</title>{desc}"
    )


def _empty(title: str) -> Markup:
    return _html(
        f"{_opening(title, 'There is nothing to show yet.')}"
        f'<text x="50%" y="50%" text-anchor="middle">'
        "Nothing to show yet</text></svg>"
    )


def _described(
    labels: Sequence[date | str],
    series: Sequence[Series],
    rows: Sequence[Sequence[Number]],
    unit: str,
) -> str:
    if not labels:
        return ""
    said = []
    for one, row in zip(series, rows, strict=True):
        value = row[-1] if row else None
        said.append(f"{one.name} {'unknown' if value is None else f'{value:,.6g}{unit}'}")
    return f"From {_named(labels[0])} to {_named(labels[-1])}. Last: {', '.join(said)}."


def _line(row: Sequence[Number], places: Sequence[float], scale: _Scale, hue: str) -> str:
    """Return the path of a line, and one of dots for the values between two missing ones."""
    steps: list[str] = []
    dots: list[str] = []
    # Missing values at both ends, so that each value has two neighbours.
    around = [None, *row, None]
    for index, (at, value) in enumerate(zip(places, row, strict=True)):
        if value is None:
            continue
        is_first, is_last = around[index] is None, around[index + 2] is None
        point = f"{_px(at * _WIDE)} {_px(scale.y(value))}"
        if is_first and is_last:
            dots.append(f"M{point}h0")
        else:
            steps.append(f"{'M' if is_first else 'L'}{point}")
    path = f'<path class="line {hue}" d="{"".join(steps)}"/>'
    return f'{path}<path class="line dot {hue}" d="{"".join(dots)}"/>' if dots else path


def _strokes(boxes: Iterable[tuple[float, float, float]], scale: _Scale) -> str:
    return "".join(
        f"M{_px(at * _WIDE)} {_px(scale.y(start))}V{_px(scale.y(end))}" for at, start, end in boxes
    )


# Axes


def _scale(low: float, high: float, *, from_zero: bool) -> _Scale:
    """Return an axis of two to seven ticks, at 1, 2 or 5 times a power of ten.

    Between whole numbers there are no ticks at fractions, and no step is so small that the labels
    of two ticks would be equal.
    """
    are_whole = low.is_integer() and high.is_integer()
    if from_zero or low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    finest = max(1.0 if are_whole else _FINEST, _FINEST * max(abs(low), abs(high)))
    rough = max((high - low) / 4, finest) * 0.999
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + _FINEST), math.ceil(high / step - _FINEST)
    last = max(last, first + 1)
    ticks = tuple(round(index * step, 6) for index in range(first, last + 1))
    return _Scale(ticks[0], ticks[-1], ticks)


def _ticks(labels: Sequence[date | str], places: Sequence[float]) -> list[tuple[float, str]]:
    """Return places and words of the labels that have room."""
    days = [label for label in labels if isinstance(label, date)]
    if len(days) == len(labels):
        chosen = _round_days(tuple(days))
    else:
        every = max(math.ceil(len(labels) * _APART), 1)
        chosen = [(index, _named(labels[index])) for index in range(0, len(labels), every)]
    shown: list[tuple[float, str]] = []
    for index, word in chosen:
        if not shown or places[index] - shown[-1][0] >= _APART:
            shown.append((places[index], word))
    return shown


@lru_cache(maxsize=16)
def _round_days(days: tuple[date, ...]) -> list[tuple[int, str]]:
    """Return the days at which a day, week, month, quarter or year begins, at most six."""
    if len(days) == 1:
        return [(0, _named(days[0]))]
    for begins, worded in _CALENDAR:
        before = [days[0] - timedelta(1) if days[0] > date.min else days[0], *days]
        found = [
            (index, worded(day))
            for index, (previous, day) in enumerate(pairwise(before))
            if begins(previous) != begins(day)
        ]
        if len(found) <= 1 / _APART:
            return found or [(0, _named(days[0]))]
    return [(0, _named(days[0])), (len(days) - 1, _named(days[-1]))]


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _month(day: date) -> str:
    return f"{day:%b} {day.year}"


#: What changes at a tick, from the shortest to the longest, with the word for a day.
_CALENDAR: tuple[tuple[Callable[[date], int], Callable[[date], str]], ...] = (
    (lambda day: day.toordinal(), _day),
    (lambda day: (day.toordinal() - 1) // 7, _day),
    (lambda day: (day.toordinal() - 1) // 14, _day),
    (lambda day: day.year * 12 + day.month, _month),
    (lambda day: day.year * 4 + (day.month - 1) // 3, _month),
    (lambda day: day.year * 2 + (day.month - 1) // 6, _month),
    (lambda day: day.year, lambda day: str(day.year)),
    (lambda day: day.year // 5, lambda day: str(day.year)),
)


def _anchor(at: float) -> str:
    return "start" if at < 0.08 else "end" if at > 0.92 else "middle"


# Words and numbers


def _named(label: date | str) -> str:
    return f"{label.day} {label:%b} {label.year}" if isinstance(label, date) else label[:40]


def _hue(one: Series, place: int) -> str:
    return f"hue-{_text(one.hue) if one.hue else place % 6 + 1}"


def _finite(value: Number) -> Number:
    """Return a value within the limits; None for a missing one."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    # Compared before it is converted, as a Python int may be greater than any float.
    limited = float(max(min(value, _LIMIT), -_LIMIT))
    return None if isinstance(value, float) and math.isinf(value) else limited


def _px(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    digits = f"{value:.1f}".removesuffix(".0")
    return "0" if digits == "-0" else digits


def _html(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 - each name in it is escaped, see _text


def _text(words: str, limit: int = 200) -> str:
    return str(escape(_NOT_XML.sub("", words)[:limit]))
