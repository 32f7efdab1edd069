"""The content of a mail: plain values, filled in by the code that composes it.

Dates are local calendar dates of the publication. Links are absolute URLs; if they differ from
reader to reader, they contain markers of slots.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import urlsplit

from newsletter.graphemes import shorten

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\s]+")


@dataclass(frozen=True, kw_only=True)
class Image:
    """A picture on the web, with its own width and height in pixels, if they are known."""

    url: str
    alt: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class Brand:
    """The publisher's values that are the same in every mail of a publication."""

    name: str
    site_url: str
    #: The From header: "Name <news@example.org>".
    sender: str
    postal_address: str
    list_id: str
    tagline: str = ""
    #: #rrggbb; shown in a shade that is readable in both schemes.
    accent: str = "#9a1b2f"
    logo: Image | None = None
    #: A BCP 47 tag; for `en` without a country, dates have the day before the month.
    language: str = "en"
    reply_to: str | None = None
    #: One sentence that explains why the reader gets the mail.
    why: str = ""
    #: Names and values of headers that a provider returns in its events, to identify the mail; the
    #: Message-ID replaces %s in the value.
    event_headers: tuple[tuple[str, str], ...] = ()

    @property
    def site(self) -> str:
        """The host of the site, without "www."."""
        return (urlsplit(self.site_url).hostname or self.site_url).removeprefix("www.")


@dataclass(frozen=True, kw_only=True)
class Links:
    """URLs of the mail's own links; `unsubscribe` and `manage` contain a marker of a slot."""

    unsubscribe: str
    manage: str
    unsubscribe_mailto: str | None = None
    view: str | None = None
    confirm: str | None = None
    erase: str | None = None
    data: str | None = None
    new_address: str | None = None
    #: Whether the links to articles are counted; the mail must then say so.
    are_counted: bool = False


@dataclass(frozen=True, kw_only=True)
class Story:
    """One article of an edition."""

    title: str
    url: str
    minutes: int
    standfirst: str = ""
    source: str | None = None
    category: str | None = None
    image: Image | None = None
    published_on: date | None = None


@dataclass(frozen=True, kw_only=True)
class Related:
    """An earlier article on the subject of the lead."""

    title: str
    url: str
    minutes: int


@dataclass(frozen=True, kw_only=True)
class DigestContent:
    """One edition for the readers of one variant."""

    #: The cadence: daily, weekly or monthly.
    cadence: str
    #: The date on which the edition is due.
    period_on: date
    #: The first and the last day whose articles are in the edition, both included.
    covers_from: date
    covers_to: date
    #: The stories: the lead first, the others by weight.
    stories: tuple[Story, ...]
    related: tuple[Related, ...] = ()
    #: The number of all stories; if it exceeds that of `stories`, the mail says how many more there
    #: are.
    total_stories: int | None = None
    next_on: date | None = None
    #: Whether the edition has stories from before its period, as the first one of a cadence may.
    #: Then its dateline has the days that it covers, even if it is a daily one.
    reaches_back: bool = False
    #: The editor's words above the stories, in Markdown.
    note: str = ""

    @property
    def total(self) -> int:
        """The number of stories that the edition has, shown or not."""
        return max(self.total_stories or 0, len(self.stories))


@dataclass(frozen=True, kw_only=True)
class CorrectionContent:
    """The correction of an article of an edition, in the publisher's own words."""

    #: Title and link of the article in the edition.
    title: str
    url: str
    #: The date on which that edition was due.
    period_on: date
    #: The text of the correction, without markup; templates escape it.
    paragraphs: tuple[str, ...]
    #: The subject; None for that of the template.
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class AnnouncementContent:
    """A text of the publisher to chosen readers, outside of the digests."""

    subject: str
    #: The text in Markdown, without the headline, which is the subject.
    text: str
    #: The local date on which the announcement is made.
    made_on: date


def cleaned(content: DigestContent, *, site_url: str) -> DigestContent:
    """Return `content` with every text on one line and only http(s) links.

    Text from feeds is not trusted: a malformed headline or link in one story must neither stop
    an edition nor do harm in a mailbox. Other links are replaced by that of the site.
    """
    return replace(
        content,
        stories=tuple(_clean_story(story, site_url) for story in content.stories),
        related=tuple(
            replace(related, title=shorten(one_line(related.title), 300))
            for related in content.related
            if is_web(related.url)
        )[:3],
    )


def is_web(url: str) -> bool:
    """Return whether `url` is an absolute http(s) URL."""
    return bool(re.match(r"https?://[^\s<>\"]+$", url))


def one_line(text: str) -> str:
    """Return `text` without control characters and with single blanks."""
    return _CONTROLS.sub(" ", text).strip()


def _clean_story(story: Story, site_url: str) -> Story:
    has_image = story.image and (is_web(story.image.url) or story.image.url.startswith("cid:"))
    return replace(
        story,
        url=story.url if is_web(story.url) else site_url,
        image=story.image if has_image else None,
        title=shorten(one_line(story.title), 300) or story.url,
        standfirst=shorten(one_line(story.standfirst), 420),
        source=one_line(story.source or "") or None,
        category=one_line(story.category or "") or None,
        minutes=max(1, story.minutes),
    )
