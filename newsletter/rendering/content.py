"""The content of a mail: plain values, filled in by the code that composes it.

Dates are local calendar dates of the publication; links are complete addresses, with the markers
of slots inside where they differ from reader to reader.
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
    """A picture on the web. Width and height are its own, in pixels, if they are known."""

    url: str
    alt: str = ""
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class Brand:
    """The publisher: what is the same in every mail of a publication."""

    name: str
    site_url: str
    #: "Name <news@example.org>", as the From header will carry it.
    sender: str
    postal_address: str
    list_id: str
    tagline: str = ""
    #: #rrggbb; shown in a shade that is readable in both schemes.
    accent: str = "#9a1b2f"
    logo: Image | None = None
    #: A BCP 47 tag; English without a country writes dates the international way.
    language: str = "en"
    reply_to: str | None = None
    #: One sentence: why the reader gets this.
    why: str = ""
    #: Headers by which a provider's events name the mail: names and values, with %s in place of its
    #: Message-ID.
    event_headers: tuple[tuple[str, str], ...] = ()

    @property
    def site(self) -> str:
        """The host of the site, without "www."."""
        return (urlsplit(self.site_url).hostname or self.site_url).removeprefix("www.")


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where the mail's own links lead; `unsubscribe` and `manage` hold a marker."""

    unsubscribe: str
    manage: str
    unsubscribe_mailto: str | None = None
    view: str | None = None
    confirm: str | None = None
    erase: str | None = None
    data: str | None = None
    new_address: str | None = None


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

    #: daily, weekly or monthly
    cadence: str
    #: The date on which the edition is due.
    period_on: date
    #: The first and the last day whose articles are in it, both included.
    covers_from: date
    covers_to: date
    #: The lead first, then by weight.
    stories: tuple[Story, ...]
    related: tuple[Related, ...] = ()
    #: May exceed the number of `stories`; the mail then says how many more there are.
    total_stories: int | None = None
    next_on: date | None = None
    #: Whether it holds stories from before its period, as the first edition of a cadence may: its
    #: dateline then names the days that it covers, even in a daily one.
    reaches_back: bool = False
    #: The editor's words above the stories, in Markdown.
    note: str = ""

    @property
    def total(self) -> int:
        """How many stories the edition has, shown or not."""
        return max(self.total_stories or 0, len(self.stories))


@dataclass(frozen=True, kw_only=True)
class CorrectionContent:
    """The correction of an article of an edition, in the publisher's own words."""

    #: The article as the edition had it.
    title: str
    url: str
    #: The date on which that edition was due.
    period_on: date
    #: Plain text; templates escape it.
    paragraphs: tuple[str, ...]
    #: In place of the template's.
    subject: str | None = None


def cleaned(content: DigestContent, *, site_url: str) -> DigestContent:
    """Return `content` with every text on one line and every link one to the web.

    Text from feeds is not trusted: a malformed headline or link in one story must neither stop
    an edition nor do harm in a mailbox. A link that is none is replaced by the site's.
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
    """Say whether `url` is a whole address on the web."""
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
