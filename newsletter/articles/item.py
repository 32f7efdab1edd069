"""Items as a feed has them, and their conversion to articles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from newsletter.articles import categories, link, markup, pictures, prose, sentences, text
from newsletter.articles.markup import Reading
from newsletter.articles.pictures import Picture
from newsletter.articles.prose import About
from newsletter.graphemes import shorten

MAX_GUID = 500
MAX_NAME = 200
MAX_CATEGORIES = 10
MAX_CATEGORY = 80
_TITLE_FROM_TEXT = 100
#: Earlier dates are defaults such as the Unix epoch.
_EARLIEST_YEAR = 1980


@dataclass(frozen=True)
class Item:
    """One item, independent of the format; only the title is cleaned."""

    guid: str
    #: In order of preference, relative to `base` or absolute.
    links: tuple[str, ...]
    title: str
    #: Summary and content are HTML.
    summary: str
    content: str
    #: The base URL of relative links.
    base: str
    #: The base URL of relative URLs in the markup; empty for the item's own page.
    markup_base: str
    pictures: tuple[Picture, ...]
    author: str
    source: str
    categories: tuple[str, ...]
    published_at: datetime | None
    #: The URL of the page with readers' comments.
    comments: str = ""
    #: URLs of audio and video, linked if the item has no page.
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParsedArticle:
    """One article of a feed, cleaned."""

    #: None if the item has no GUID: then the link may identify the article.
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
        """SHA-256 of the content that readers see, without link, GUID and date."""
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
    """The parsed document of a feed."""

    title: str
    site_url: str | None
    items: tuple[ParsedArticle, ...]
    #: Items without a link or text, and those past the limit.
    dropped: int = 0
    #: How long the document may be cached (RSS `ttl`).
    ttl_minutes: int | None = None
    #: Hours of the week in UTC in which not to fetch the feed (`skipHours`, `skipDays`).
    skip_hours: tuple[int, ...] = ()


def finish(
    item: Item, *, site: str = "", site_title: str = "", strip_tracking: bool = True
) -> ParsedArticle | None:
    """Convert an item to an article; None if it has no link or no text."""
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
    # Forums give each topic itself as its source.
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
    """Return the URL of an item's page, or else of its recording, or else of the site."""
    # A GUID that is a URL is a permalink (RSS 2.0), used if there is no link.
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
    """Return the standfirst, and the source that the last line names."""
    named, blocks = prose.source(content.blocks)
    named_first, first_blocks = prose.source(summary.blocks)
    paragraphs = prose.own(first_blocks, about)
    if paragraphs:
        found = sentences.standfirst(" ".join(paragraphs), is_article=False)
    else:
        found = sentences.standfirst(prose.opening(prose.own(blocks, about)), is_article=True)
    return found, named or named_first


def _titled(teaser: str) -> tuple[str, str]:
    """Return a title made from the text of an item without one, and the rest of the text."""
    end = next(iter(sentences.ends(teaser)), 0)
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
