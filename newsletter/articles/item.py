"""An item as a feed wrote it, and the article that readers can be shown of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from newsletter.articles import categories, link, markup, pictures, prose, text
from newsletter.articles.markup import Reading
from newsletter.articles.pictures import Picture
from newsletter.articles.prose import About
from newsletter.graphemes import shorten

MAX_GUID = 500
MAX_NAME = 200
MAX_CATEGORIES = 10
MAX_CATEGORY = 80
_TITLE_FROM_TEXT = 100
#: Earlier dates are defaults of some programming language.
_EARLIEST_YEAR = 1980


@dataclass(frozen=True)
class Item:
    """One item, format left behind, nothing cleaned but the title."""

    guid: str
    #: In order of preference, relative to `base` or absolute.
    links: tuple[str, ...]
    title: str
    #: HTML, both of them.
    summary: str
    content: str
    #: Where relative links start.
    base: str
    #: Where relative addresses in the markup start; empty for the item's own page.
    markup_base: str
    pictures: tuple[Picture, ...]
    author: str
    source: str
    categories: tuple[str, ...]
    published_at: datetime | None
    #: The page of its comments.
    comments: str = ""
    #: Where what is heard or watched is: readers find it there where there is no page.
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParsedArticle:
    """One article that can be shown and recognised."""

    #: None if the feed gives none: then the link identifies the article, where it can.
    guid: str | None
    link: str
    title: str
    standfirst: str
    image: Picture | None
    author: str | None
    source: str | None
    categories: tuple[str, ...]
    minutes: int
    published_at: datetime | None

    @property
    def content_hash(self) -> str:
        """SHA-256 of what a reader sees; link, GUID and date are no part of it."""
        shown = [
            self.title,
            self.standfirst,
            self.image.url if self.image else None,
            self.image.alt if self.image else None,
            self.author,
            self.source,
            self.categories,
            self.minutes,
        ]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


@dataclass(frozen=True)
class ParsedFeed:
    """A feed's document."""

    title: str
    site_url: str | None
    items: tuple[ParsedArticle, ...]
    #: Items that lead nowhere or have nothing to show, and those past the limit.
    dropped: int = 0
    #: How long the document may be kept, as it says (RSS `ttl`).
    ttl_minutes: int | None = None
    #: Hours of the week in UTC in which it does not want to be asked (`skipHours`, `skipDays`).
    skip_hours: tuple[int, ...] = ()


def finish(
    item: Item, *, site: str = "", site_title: str = "", strip_tracking: bool = True
) -> ParsedArticle | None:
    """Clean an item of a site up; None if it leads nowhere, or has nothing to show."""
    address = _link(item, site, strip_tracking=strip_tracking)
    if address is None:
        return None
    base = item.markup_base or address
    summary, content = markup.read(item.summary, base), markup.read(item.content, base)
    title = shorten(item.title, text.MAX_TITLE)
    author = shorten(text.clean(item.author), MAX_NAME)
    about = About(title, author, address, item.comments, site, site_title)
    teaser, named = _teaser(summary, content, about)
    if not title:
        title, teaser = _titled(teaser)
    if not title:
        return None
    source = text.clean(item.source) or named or ""
    # A forum names each topic as the source of itself.
    source = "" if text.title_key(source) == text.title_key(title) else source
    return ParsedArticle(
        guid=_guid(item.guid),
        link=address,
        title=title,
        standfirst=teaser,
        image=pictures.best((*item.pictures, *content.pictures, *summary.pictures)),
        author=author or None,
        source=shorten(source, MAX_NAME) or None,
        categories=_categories(item.categories),
        minutes=text.minutes(content.text or summary.text),
        published_at=_published_at(item.published_at),
    )


def _link(item: Item, site: str, *, strip_tracking: bool) -> str | None:
    """Return an item's page, else its recording, else the page of the whole feed."""
    # A GUID that is a web address is a permalink (RSS 2.0), if nothing better is there.
    permalink = item.guid, item.base if item.guid.startswith("/") else ""
    named = [*((one, item.base) for one in item.links), permalink]
    named += ((one, item.base) for one in (*item.recordings, site))
    found = (link.canonical(one, base, strip_tracking=strip_tracking) for one, base in named)
    return next((one for one in found if one), None)


def _guid(value: str) -> str | None:
    guid = text.clean(value)
    if len(guid) > MAX_GUID:
        return "sha256:" + hashlib.sha256(guid.encode()).hexdigest()
    return guid or None


def _teaser(summary: Reading, content: Reading, about: About) -> tuple[str, str | None]:
    """Return the standfirst, and the source that a closing line names."""
    named, blocks = prose.source(content.blocks)
    named_first, first_blocks = prose.source(summary.blocks)
    paragraphs = prose.own(first_blocks, about)
    if paragraphs:
        found = text.standfirst(" ".join(paragraphs), is_article=False)
    else:
        found = text.standfirst(prose.opening(prose.own(blocks, about)), is_article=True)
    return found, named or named_first


def _titled(teaser: str) -> tuple[str, str]:
    """Return a title for an item without one, and what of its text stands below."""
    end = next(iter(text.ends(teaser)), 0)
    if 0 < end <= _TITLE_FROM_TEXT:
        return teaser[:end], teaser[end:].strip()
    title = shorten(teaser, _TITLE_FROM_TEXT)
    return title, "" if title == teaser else teaser


def _categories(names: tuple[str, ...]) -> tuple[str, ...]:
    unique: dict[str, str] = {}
    for name in names:
        cleaned = shorten(text.clean(name), MAX_CATEGORY)
        if cleaned and not categories.is_default(cleaned):
            unique.setdefault(cleaned.casefold(), cleaned)
    return tuple(unique.values())[:MAX_CATEGORIES]


def _published_at(moment: datetime | None) -> datetime | None:
    return moment if moment and moment.year >= _EARLIEST_YEAR else None
