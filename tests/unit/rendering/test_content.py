from __future__ import annotations

from dataclasses import replace
from datetime import date
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from newsletter.rendering.content import DigestContent, Story, cleaned, one_line
from newsletter.rendering.selection import DETAILS, Detail, select


def test_a_title_with_line_ends_and_controls_is_one_line() -> None:
    assert one_line(" Two\r\nlines\u2028and\x00 more\t ") == "Two lines and more"


def test_cleaning_keeps_three_related_and_gives_every_story_a_minute(
    digests: SimpleNamespace,
) -> None:
    found = cleaned(digests.many(2), site_url="https://x.example/")

    assert len(found.related) == 3
    assert min(story.minutes for story in found.stories) >= 1


def test_a_digest_of_60_has_12_summaries_36_headlines_and_12_on_the_site(
    digests: SimpleNamespace,
) -> None:
    shown = select(digests.many(60), DETAILS[0])

    assert 1 + sum(len(section.stories) for section in shown.sections) == 12
    assert sum(len(section.stories) for section in shown.headlines) == 36
    assert (shown.more, shown.below, len(shown.contents)) == (12, 40, 8)


@given(st.integers(1, 90), st.sampled_from(DETAILS))
def test_every_story_is_shown_once_or_counted(count: int, detail: Detail) -> None:
    stories = _numbered(count)

    shown = select(stories, detail)

    listed = [
        story.url for section in (*shown.sections, *shown.headlines) for story in section.stories
    ]
    assert len(set(listed)) == len(listed)
    assert shown.lead.url not in listed
    assert 1 + len(listed) + shown.more == count


def test_stories_without_a_category_come_last(digests: SimpleNamespace) -> None:
    shown = select(digests.many(12), DETAILS[0])

    assert [section.category for section in shown.sections][-1] is None


def test_total_reading_time_is_not_claimed_for_stories_that_are_not_here(
    digests: SimpleNamespace,
) -> None:
    assert select(digests.WEEKLY, DETAILS[0]).minutes == 6
    assert select(replace(digests.WEEKLY, total_stories=9), DETAILS[0]).minutes is None


def _numbered(count: int) -> DigestContent:
    return DigestContent(
        cadence="daily",
        period_on=date(2026, 11, 22),
        covers_from=date(2026, 11, 21),
        covers_to=date(2026, 11, 22),
        stories=tuple(
            Story(title=str(n), url=str(n), minutes=1, category="ab"[n % 2] if n % 3 else None)
            for n in range(count)
        ),
    )
