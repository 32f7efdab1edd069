"""Tables on a terminal: no letter is cut in two."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from newsletter.cli import cells, output, screen
from newsletter.graphemes import clusters

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
LETTERS = [FAMILY, "\U0001f1eb\U0001f1f7", "น้ำ", "กำ", "क्षि", "स्ते", "e\u0301"]
TEXTS = st.lists(st.sampled_from(["a", "b", " ", "é", "朝", *LETTERS]), max_size=60).map("".join)


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("width", [7, 8, 9, 10, 11])
def test_a_word_that_is_too_long_is_folded_between_its_letters(letter: str, width: int) -> None:
    lines = list(cells.fold(letter * 20, width))

    assert "".join(lines) == letter * 20
    assert all(len(line) % len(letter) == 0 for line in lines)
    assert all(cell_len(line) <= width for line in lines)


@given(TEXTS, st.integers(4, 20))
def test_folding_loses_nothing_but_blanks(text: str, width: int) -> None:
    lines = list(cells.fold(text, width))

    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)
    whole = [one for one in clusters("".join(text.split())) if one.strip()]
    assert [one for line in lines for one in clusters("".join(line.split()))] == whole


def test_words_stay_whole_where_they_fit() -> None:
    assert list(cells.fold("one two  three", 7)) == ["one two", "three"]
    assert list(cells.fold("", 7)) == [""]


def test_a_table_shows_whole_letters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_LOG_WIDTH", 20)

    output.table(["title", "id"], [[LETTERS[1] * 20, 1]])

    lines = capsys.readouterr().out.splitlines()[1:]
    assert "".join(line[:17].split()[0] for line in lines) == LETTERS[1] * 20


ROWS = st.lists(st.tuples(*[st.text(st.characters(max_codepoint=0x17F), max_size=9)] * 3))


@given(ROWS)
def test_a_table_that_fits_is_the_same_with_rich_and_without(rows: list[tuple[str, ...]]) -> None:
    columns = ("id", "title", "")
    cells = [[output.printable(cell) for cell in row] for row in rows]
    with redirect_stdout(StringIO()) as plain:
        output.table(columns, rows)
    with redirect_stdout(StringIO()) as rich:
        screen.table(columns, cells, "", width=200)

    assert plain.getvalue() == rich.getvalue()
