from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import RenderError
from newsletter.rendering import colour

COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(colour.write)


@given(COLOURS)
def test_any_accent_becomes_readable_by_day_and_by_night(accent: str) -> None:
    for palette in (colour.light(accent), colour.dark(accent)):
        ratio = colour.contrast(colour.parse(palette.accent), colour.parse(palette.paper))

        assert ratio >= colour.READABLE


@given(COLOURS, COLOURS)
def test_some_shade_of_any_colour_is_readable_on_any_other(one: str, other: str) -> None:
    shade = colour.readable(one, on=other)

    assert colour.contrast(colour.parse(shade), colour.parse(other)) >= colour.READABLE


@given(COLOURS)
def test_a_readable_accent_is_left_alone(accent: str) -> None:
    paper = colour.light(accent).paper

    if colour.contrast(colour.parse(accent), colour.parse(paper)) >= colour.READABLE:
        assert colour.light(accent).accent == accent


@pytest.mark.parametrize("palette", [colour.light("#0b7a75"), colour.dark("#0b7a75")])
def test_ink_and_muted_text_are_readable_on_paper(palette: colour.Palette) -> None:
    for text in (palette.ink, palette.muted):
        ratio = colour.contrast(colour.parse(text), colour.parse(palette.paper))

        assert ratio >= colour.READABLE


def test_black_on_white_has_a_contrast_of_21() -> None:
    assert colour.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_a_short_colour_is_read_like_a_long_one() -> None:
    assert colour.parse("#0b7") == colour.parse("#00bb77") == (0, 0xBB, 0x77)


@pytest.mark.parametrize("text", ["teal", "#12", "0b7a75", "#0b7a7g", "#0b7;}"])
def test_anything_else_is_no_colour(text: str) -> None:
    with pytest.raises(RenderError, match="is not a colour"):
        colour.parse(text)
