"""The colours of a mail: fixed greys in two schemes, and one accent that must stay readable.

Contrast is that of WCAG 2; the accent is darkened or lightened, with its hue unchanged, until its
contrast is sufficient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from newsletter.errors import RenderError

#: Minimum contrast of text of any size (WCAG 2.2, success criterion 1.4.3, AA).
READABLE = 4.5
#: Higher in the dark scheme, because small coloured labels look dimmer on black at the same ratio.
READABLE_AT_NIGHT = 5.5

Rgb = tuple[int, int, int]
_STEPS = 64


@dataclass(frozen=True)
class Palette:
    """The colours of one scheme, as #rrggbb."""

    canvas: str
    paper: str
    ink: str
    muted: str
    rule: str
    accent: str


def light(accent: str) -> Palette:
    """Return the palette of the light scheme: near-black on a warm near-white."""
    paper = "#fffefb"
    return Palette("#f0eee9", paper, "#1b1a18", "#5f5b55", "#dcd8d0", readable(accent, on=paper))


def dark(accent: str) -> Palette:
    """Return the palette of the dark scheme: near-white on near-black."""
    paper = "#1b1c1e"
    shade = readable(accent, on=paper, ratio=READABLE_AT_NIGHT)
    return Palette("#111213", paper, "#ecebe8", "#aaa7a1", "#3b3c3f", shade)


def readable(colour: str, *, on: str, ratio: float = READABLE) -> str:
    """Return `colour`, darkened or lightened just enough to have contrast `ratio` on `on`."""
    background = parse(on)
    wanted = parse(colour)
    goal = (0, 0, 0) if luminance(background) > 0.18 else (255, 255, 255)
    for step in range(_STEPS + 1):
        shade = _mix(wanted, goal, step / _STEPS)
        if contrast(shade, background) >= ratio:
            return write(shade)
    raise RenderError(f"No shade of {colour} has a contrast of {ratio}:1 on {on}.")


def contrast(one: Rgb, other: Rgb) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: Rgb) -> float:
    """Return the relative luminance of a colour, from 0 to 1 (WCAG 2.2)."""
    red, green, blue = (_linear(channel / 255) for channel in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def parse(colour: str) -> Rgb:
    """Read #rgb or #rrggbb; raise RenderError for anything else."""
    found = re.fullmatch(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", colour.strip())
    if not found:
        raise RenderError(
            f"{colour!r} is not a colour.", hint="Write it as #rrggbb, for example #a3142e."
        )
    digits = found[1] if len(found[1]) == 6 else "".join(digit * 2 for digit in found[1])
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def write(colour: Rgb) -> str:
    """Write a colour as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _mix(colour: Rgb, goal: Rgb, share: float) -> Rgb:
    red, green, blue = (
        round(channel + (end - channel) * share) for channel, end in zip(colour, goal, strict=True)
    )
    return red, green, blue
