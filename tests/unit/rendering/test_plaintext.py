from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from newsletter.graphemes import columns
from newsletter.rendering import plaintext


@given(st.text(max_size=400))
def test_no_line_is_wider_than_72_columns(text: str) -> None:
    lines = plaintext.wrap(text.replace("://", ""), first="- ").split("\n")

    assert all(columns(line) <= 72 for line in lines)


@given(st.text(st.characters(categories=["L", "N", "P"]), max_size=400))
def test_wrapping_loses_nothing(text: str) -> None:
    wrapped = plaintext.wrap(text)

    assert "".join(wrapped.split()) == "".join(text.split())


def test_a_paragraph_hangs_under_its_first_word() -> None:
    lines = plaintext.wrap("word " * 30, first="- ").split("\n")

    assert lines[0].startswith("- word")
    assert all(line.startswith("  word") for line in lines[1:])


def test_a_no_break_space_holds_and_becomes_a_blank() -> None:
    lines = plaintext.wrap("x" * 69 + " (2\u00a0min)").split("\n")

    assert lines[1] == "(2 min)"


def test_a_wide_letter_takes_two_columns() -> None:
    assert columns("朝刊") == 4
    assert [len(line) for line in plaintext.wrap("朝" * 80).split("\n")] == [36, 36, 8]


def test_a_link_is_never_broken() -> None:
    url = "https://miasfeed.example/" + "a" * 100

    assert url in plaintext.wrap(f"Read it at {url} today").split("\n")


def test_the_same_link_has_the_same_number() -> None:
    notes = plaintext.Notes()

    numbers = [notes.number(url) for url in ("a", "b", "a")]

    assert numbers == [1, 2, 1]
    assert list(notes) == [(1, "a"), (2, "b")]


def test_a_page_has_no_trailing_blanks_and_no_gaps() -> None:
    assert plaintext.tidy("\n\na  \n\n\n\nb\n\n") == "a\n\nb\n"
