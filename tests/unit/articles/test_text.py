"""Cleaning text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.articles import sentences, text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (" two \n\t words ", "two words"),
        ("bell\x07 and null\x00", "bell and null"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("soft\u00adhyphen\u200b \ufeffx", "softhyphen x"),
        ("line\u2028separator\x85here", "line separator here"),
        ("half \ud800 pair", "half pair"),
        ("not \ufdd0 a \uffff character\U0010ffff", "not a character"),
        ("cafe\u0301", "café"),
        ("👩\u200d⚕️ and \u200fעברית", "👩\u200d⚕️ and \u200fעברית"),
    ],
)
def test_text_is_one_line_of_what_a_reader_can_see(raw: str, expected: str) -> None:
    assert text.clean(raw) == expected


@given(st.text(st.characters(exclude_categories=[])))
def test_trap_14_no_control_character_survives(raw: str) -> None:
    cleaned = text.clean(raw)

    assert not any(unicodedata.category(mark) in {"Cc", "Cs", "Zl", "Zp"} for mark in cleaned)
    assert text.clean(cleaned) == cleaned
    cleaned.encode()


def test_a_summary_is_taken_whole_while_it_is_short() -> None:
    summary = "New ways to rest. They are cheap."

    assert sentences.standfirst(summary, is_article=False) == summary


def test_a_long_summary_ends_with_a_sentence() -> None:
    summary = "First sentence of a fair length, with a bit more to say about it. " * 9

    found = sentences.standfirst(summary, is_article=False)

    assert found.endswith("about it.")
    assert 100 < len(found) <= sentences.MAX_STANDFIRST


def test_a_long_sentence_ends_at_a_word() -> None:
    found = sentences.standfirst("word " * 200, is_article=False)

    assert found.endswith("word…")
    assert len(found) <= sentences.MAX_STANDFIRST


def test_of_an_article_only_its_first_sentence_is_shown() -> None:
    article = "Dr. A. Holm of the U.S. team waited approx. 3.5 hours. Then it rained."

    found = sentences.standfirst(article, is_article=True)

    assert found == "Dr. A. Holm of the U.S. team waited approx. 3.5 hours."


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Short and good. […]", "Short and good."),
        ("It goes on [...]", "It goes on…"),
        ("Good. The post Salt appeared first on Plain Health.", "Good."),
        ("Good. Continue reading “Salt” →", "Good."),
        ("Gut. Weiterlesen", "Gut."),
    ],
)
def test_what_blog_engines_add_is_no_standfirst(raw: str, expected: str) -> None:
    assert sentences.standfirst(raw, is_article=False) == expected


@given(st.text(), st.booleans())
def test_any_text_has_a_short_standfirst(raw: str, is_article: bool) -> None:
    found = sentences.standfirst(text.clean(raw), is_article=is_article)

    assert len(found) <= sentences.MAX_STANDFIRST


@pytest.mark.parametrize(
    ("words", "minutes"), [(0, 1), (1, 1), (225, 1), (226, 2), (450, 2), (2_251, 11)]
)
def test_reading_time_counts_words(words: int, minutes: int) -> None:
    assert text.minutes("word " * words) == minutes


def test_reading_time_counts_characters_where_there_are_no_spaces() -> None:
    assert text.minutes("読" * 900) == 2


def test_titles_are_the_same_whatever_their_case_and_punctuation() -> None:
    assert text.title_key("Salt: how MUCH is too much?") == text.title_key(
        "salt – how much is too much"
    )
    assert text.title_key("Salt") != text.title_key("Sugar")
    assert text.title_key("???") != text.title_key("!!!")
