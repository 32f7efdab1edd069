"""Two kinds of chart, as SVG that follows the reader's light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH = 760
_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1c2b2d }
.title { font-weight: 600; font-size: 16px }
.ours { fill: #0b7a75 } .theirs { fill: #b9c4c2 } .dot { fill: #1c2b2d } .ground { fill: #fff }
@media (prefers-color-scheme: dark) {
  text { fill: #e8efee } .ours { fill: #2fb3a8 } .theirs { fill: #51605f } .dot { fill: #e8efee }
  .ground { fill: #12191a }
}
"""
#: Told apart by lightness, too.
_SHADES = ("#0b4f6c", "#0b7a75", "#5aa897", "#e0a458", "#c8553d", "#8d6a9f", "#7f8c8d", "#b9c4c2")


def bars(title: str, rows: Sequence[tuple[str, Sequence[float], bool]]) -> str:
    """Draw a bar as long as the median of each row's values, and a dot for each value."""
    left, room = 230, _WIDTH - 230 - 90
    longest = max(max(values) for _, values, _ in rows)
    parts = []
    for number, (label, values, is_ours) in enumerate(rows):
        top = 48 + number * 34
        middle = sorted(values)[len(values) // 2]
        kind = "ours" if is_ours else "theirs"
        width = room * middle / longest
        parts.append(
            f'<text x="{left - 12}" y="{top + 16}" text-anchor="end">{escape(label)}</text>'
        )
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{top}" width="{width:.1f}" height="22" rx="2"/>'
        )
        for value in values:
            x = left + room * value / longest
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{top + 11}" r="2.5"/>')
        end = left + room * max(middle, *values) / longest + 10
        parts.append(f'<text x="{end:.1f}" y="{top + 16}">{middle:,.0f}</text>')
    return _drawn(title, parts, height=48 + len(rows) * 34 + 12)


def stacks(title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Draw each row's values side by side, in the same shades, with what the shades mean."""
    left, room = 80, _WIDTH - 80 - 80
    longest = max(sum(values.values()) for _, values in rows) or 1
    names = list(dict.fromkeys(name for _, values in rows for name in values))
    shade = {name: _SHADES[number % len(_SHADES)] for number, name in enumerate(names)}
    parts = []
    for number, (label, values) in enumerate(rows):
        top, start = 48 + number * 44, float(left)
        parts.append(
            f'<text x="{left - 12}" y="{top + 21}" text-anchor="end">{escape(label)}</text>'
        )
        for name in names:
            width = room * values.get(name, 0) / longest
            where = f'x="{start:.1f}" y="{top}" width="{width:.1f}"'
            parts.append(f'<rect {where} height="30" fill="{shade[name]}"/>')
            start += width
        parts.append(
            f'<text x="{start + 10:.1f}" y="{top + 21}">{sum(values.values()):,.0f}</text>'
        )
    below = 48 + len(rows) * 44 + 10
    for number, name in enumerate(names):
        x, y = 80 + (number % 2) * 340, below + (number // 2) * 24
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="14" fill="{shade[name]}"/>')
        parts.append(f'<text x="{x + 22}" y="{y + 12}">{escape(name)}</text>')
    return _drawn(title, parts, height=below + (len(names) + 1) // 2 * 24 + 10)


def _drawn(title: str, parts: Sequence[str], *, height: int) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>\n'
        f'<text class="title" x="16" y="28">{escape(title)}</text>\n{body}\n</svg>\n'
    )
