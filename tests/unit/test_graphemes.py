"""Letters as readers see them: none is cut in two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter import graphemes
from newsletter.graphemes import shorten

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FRANCE = "\U0001f1eb\U0001f1f7"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
LETTERS = st.sampled_from(
    ["a", " ", "é", "e\u0301", FAMILY, FRANCE, ENGLAND, "❤\ufe0f", "1\ufe0f\u20e3", "น้ำ", "ที่",
     "กำ", "क्षि", "स्ते", "ত্র", "கி", "각", "\u1100\u1161\u11a8", "\U0001fae9", "朝",
     "\U0001f44b\U0001f3fd"]
)  # fmt: skip


@given(st.text(), st.integers(2, 80))
def test_a_shortened_text_is_never_longer_than_asked(text: str, limit: int) -> None:
    assert len(shorten(text, limit)) <= limit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A short one", "A short one"),
        ("A headline that goes on", "A headline that…"),
        ("A headline, that goes on", "A headline, that…"),
        ("Unbreakablelongword!", "Unbreakablelongwo…"),
        ("Twelve words: yes more", "Twelve words: yes…"),
    ],
)
def test_a_text_is_cut_after_a_word(text: str, expected: str) -> None:
    assert shorten(text, 18) == expected


@pytest.mark.parametrize(
    "letter",
    [FAMILY, FRANCE, ENGLAND, "e\u0301", "น้ำ", "ที่", "क्षि", "स्ते", "ক্ষি", "\u1100\u1161\u11a8",
     "\U0001f44b\U0001f3fd", "❤\ufe0f\u200d\U0001f525", "1\ufe0f\u20e3"],
)  # fmt: skip
@pytest.mark.parametrize("limit", [20, 21, 22, 23, 24, 25, 26])
def test_no_letter_of_any_script_is_cut_in_two(letter: str, limit: int) -> None:
    found = shorten(letter * 30, limit)

    assert found == letter * ((limit - 1) // len(letter)) + "…"


@given(st.lists(LETTERS, min_size=30, max_size=60), st.integers(12, 29))
def test_what_a_cut_leaves_are_whole_letters_of_the_text(letters: list[str], limit: int) -> None:
    text = "".join(letters)
    whole = list(graphemes.clusters(text))

    left = list(graphemes.clusters(shorten(text, limit).removesuffix("…")))

    assert left == whole[: len(left)]


def test_one_endless_letter_is_cut_where_it_must_be() -> None:
    assert shorten("a" + "\u0301" * 500, 20) == "a" + "\u0301" * 18 + "…"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3),
        ("朝刊", 4),
        ("e\u0301", 1),
        (FAMILY, 2),
        (FRANCE, 2),
        (ENGLAND, 2),
        ("นี้", 1),
        ("", 0),
    ],
)
def test_a_text_takes_the_columns_that_a_terminal_shows(text: str, columns: int) -> None:
    assert graphemes.columns(text) == columns
