"""Selects the stories of an edition that a mail shows in full, and those shown as headlines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from newsletter.rendering.content import DigestContent, Story


@dataclass(frozen=True)
class Detail:
    """Numbers of stories with a standfirst (including the lead), and of bare headlines."""

    summaries: int
    headlines: int
    contents: int


#: Levels of detail, from everything to the lead alone; the first under the size limit is sent.
DETAILS = (
    Detail(summaries=12, headlines=36, contents=8),
    Detail(summaries=8, headlines=36, contents=8),
    Detail(summaries=4, headlines=36, contents=8),
    Detail(summaries=1, headlines=36, contents=8),
    Detail(summaries=1, headlines=18, contents=6),
    Detail(summaries=1, headlines=9, contents=0),
    Detail(summaries=1, headlines=0, contents=0),
)
#: No mail shows more stories than this.
MOST_SHOWN = DETAILS[0].summaries + DETAILS[0].headlines


@dataclass(frozen=True)
class Section:
    """The stories of one category, in the order of their weight."""

    category: str | None
    stories: tuple[Story, ...]


@dataclass(frozen=True)
class Selection:
    """The parts of a digest, as the templates lay them out."""

    #: The list of headlines at the top; empty if it would only repeat the stories below.
    contents: tuple[Story, ...]
    lead: Story
    sections: tuple[Section, ...]
    headlines: tuple[Section, ...]
    #: The number of stories that are shown below, but not in `contents`.
    below: int
    #: The number of stories that are only on the site.
    more: int
    total: int
    #: Reading time of all stories, or None if some are only on the site.
    minutes: int | None


def select(content: DigestContent, detail: Detail) -> Selection:
    """Select the stories that are shown at `detail`, the lead first."""
    lead, *others = content.stories
    summaries = others[: detail.summaries - 1]
    headlines = others[len(summaries) : len(summaries) + detail.headlines]
    shown = 1 + len(summaries) + len(headlines)
    listed = _contents(content.stories[:shown], detail.contents)
    is_whole = content.total == len(content.stories)
    return Selection(
        contents=listed,
        lead=lead,
        sections=tuple(_by_category(summaries)),
        headlines=tuple(_by_category(headlines)),
        below=shown - len(listed) if listed else 0,
        more=content.total - shown,
        total=content.total,
        minutes=sum(story.minutes for story in content.stories) if is_whole else None,
    )


def _contents(stories: Sequence[Story], limit: int) -> tuple[Story, ...]:
    """Return the list of headlines at the top.

    It is empty for one or two stories, as it would repeat the page, and one more than `limit` is
    allowed, as "and 1 more" is no shorter than the headline.
    """
    if len(stories) < 3 or not limit:
        return ()
    return tuple(stories if len(stories) <= limit + 1 else stories[:limit])


def _by_category(stories: Sequence[Story]) -> Iterator[Section]:
    """Group stories; categories in the order of their first story, those without one last."""
    groups: dict[str | None, list[Story]] = {}
    for story in stories:
        groups.setdefault(story.category, []).append(story)
    for category in sorted(groups, key=lambda name: name is None):
        yield Section(category, tuple(groups[category]))
