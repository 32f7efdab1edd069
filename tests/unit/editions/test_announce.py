"""What an editor writes becomes a subject, a text and an audience, or is refused in words."""

from __future__ import annotations

import pytest

from newsletter.editions import announce
from newsletter.errors import InvalidInput


def test_the_heading_with_which_a_text_begins_is_its_subject() -> None:
    found = announce.parse("# We *move* to [B](https://b.example)\r\n\r\nSoon.\n", audience="all")

    assert found == announce.Text(subject="We move to B", text="Soon.", audience="all")


def test_a_subject_of_its_own_leaves_another_heading_where_it_is() -> None:
    found = announce.parse("# We move\n\nSoon.", audience="weekly", subject="News")
    same = announce.parse("# We move\n\nSoon.", audience="weekly", subject="We  move")

    assert (found.subject, found.text) == ("News", "# We move\n\nSoon.")
    assert (same.subject, same.text) == ("We move", "Soon.")


@pytest.mark.parametrize(
    ("written", "subject", "said"),
    [
        ("Soon.", None, "has no subject"),
        ("# \n\nSoon.", None, "has no subject"),
        ("Soon.", " ", "has no subject"),
        ("Soon.", "x" * 201, "1 to 200 characters, not 201"),
        ("# Only a heading", None, "says nothing"),
        ("", "News", "says nothing"),
        ("![](https://x.example/pixel.gif)", "News", "says nothing"),
        ("a" * 20_001, "News", "too long"),
        ("Soon\x00.", "News", "control character"),
        ("- a\n\n" * 600, "News", "too many lists"),
    ],
)
def test_what_cannot_be_announced_is_said_in_words(
    written: str, subject: str | None, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        announce.parse(written, audience="all", subject=subject)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (" All ", "all"),
        ("WEEKLY", "weekly"),
        ("weekly-2026-12-07", "weekly-2026-12-07"),
        ("extra-2-2026-12-07", "extra-2-2026-12-07"),
    ],
)
def test_an_audience_is_read_as_people_type_it(typed: str, name: str) -> None:
    assert announce.parse_audience(typed) == name


@pytest.mark.parametrize("typed", ["", "everyone", "hourly", "weekly-2026-02-30", "ann@x.example"])
def test_an_unknown_audience_is_refused_with_the_choice(typed: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        announce.parse_audience(typed)

    assert "all, daily, weekly, monthly" in str(refusal.value.hint)


def test_texts_are_the_same_announcement_if_subject_words_and_readers_are() -> None:
    one = announce.parse("Soon.", audience="all", subject="News")

    assert one.key == announce.parse("# News\n\nSoon.\n", audience="ALL").key
    others = (("Soon!", "all", "News"), ("Soon.", "weekly", "News"), ("Soon.", "all", "New"))
    assert one.key not in {
        announce.parse(text, audience=to, subject=subject).key for text, to, subject in others
    }
