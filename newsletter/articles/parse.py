"""Parses feeds to articles: RSS 0.9 to 2.0, RDF, Atom, and JSON Feed.

Opens no file and no connection. Any input raises at most FeedError, or MemoryError.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import Any

from newsletter.articles import bounded, json_feed, link, markup, polling, text
from newsletter.articles.bounded import MAX_MARKUP, MAX_PARTS
from newsletter.articles.item import Item, ParsedFeed, finish
from newsletter.articles.pictures import Picture, pixels
from newsletter.errors import FeedError
from newsletter.graphemes import shorten

# feedparser takes a picture's caption (Media RSS) for the article's title and description, so these
# elements are renamed. Their attributes are removed: with them, feedparser drops the text.
_CAPTIONS = re.compile(rb"(</?media:)(title|description)\b(?:[^<>]{0,1000}(?<!/)(?=>))?")
# RSS has authors as "desk@example.com (The desk)", feedparser as "The desk (desk@example.com)".
# Matched word by word, since an expression with an @ in its middle takes quadratic time.
_WORD = re.compile(r"[<(]?([^\s<>()]++)[>)]?")
_LINK = re.compile(rb"<link\b[^<>]{0,2000}+>", re.IGNORECASE)
_FEED_TYPE = re.compile(rb"application/(?:rss\+xml|atom\+xml|feed\+json)", re.IGNORECASE)
_HREF = re.compile(rb"""\bhref\s*=\s*["']?([^"'\s<>]+)""", re.IGNORECASE)
_HREFLANG = re.compile(rb"""\bhreflang\s*=\s*["']?([A-Za-z0-9-]{1,35})""", re.IGNORECASE)
_PAGE_LANGUAGE = re.compile(
    rb"""<html\b[^<>]{0,2000}?\slang\s*=\s*["']?([A-Za-z0-9-]{1,35})""", re.IGNORECASE
)

_SHORT_NUMBER = re.compile(r"[0-9]{1,9}")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def parse(
    body: bytes, *, content_type: str = "", url: str = "", strip_tracking: bool = True
) -> ParsedFeed:
    """Parse a document fetched from `url`; raises FeedError if it is no feed."""
    if json_feed.is_json(body, content_type):
        title, site_url, items, left_out = json_feed.read(body, url)
        channel: Mapping[str, Any] = {}
    else:
        title, site_url, items, left_out, channel = _read_xml(body, content_type, url)
    finished = (
        finish(one, site=site_url or "", site_title=title, strip_tracking=strip_tracking)
        for one in items
    )
    kept = tuple(article for article in finished if article)
    return ParsedFeed(
        title,
        site_url,
        kept,
        dropped=left_out + len(items) - len(kept),
        ttl_minutes=_ttl(channel),
        skip_hours=_skip_hours(channel),
    )


def _read_xml(
    body: bytes, content_type: str, url: str
) -> tuple[str, str | None, list[Item], int, Mapping[str, Any]]:
    found, left_out = _feedparser(body, content_type, url)
    if not found.get("version") and not found.get("entries"):
        raise FeedError("That is not a feed: no RSS, Atom or JSON Feed.", hint=_hint(body, url))
    channel = found.get("feed") or {}
    title = shorten(markup.plain(_string(channel, "title")), text.MAX_TITLE)
    site_url = link.canonical(_string(channel, "link"), url)
    is_atom = str(found.get("version")).startswith("atom")
    # Plain dictionaries, because feedparser's warn when one key is looked up for another.
    # RFC 4287 4.2.1: an entry without an author has that of the feed.
    inherited = {"author": channel.get("author")} if is_atom else {}
    entries = [inherited | dict(entry) for entry in found.get("entries", ())]
    read = partial(
        _item,
        url=url,
        # A feed from a file has no URL: its links are relative to the site.
        start=url or site_url or "",
        language=_string(channel, "language"),
        is_atom=is_atom,
    )
    return title, site_url, list(map(read, entries)), left_out, channel


def _ttl(channel: Mapping[str, Any]) -> int | None:
    value = _string(channel, "ttl").strip()
    return int(value) if _SHORT_NUMBER.fullmatch(value) else None


def _skip_hours(channel: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the hours of the week in `skipHours` and `skipDays` (RSS 2.0; GMT)."""
    hours, days = (channel.get(bounded.SKIPPED[name]) or () for name in ("hour", "day"))
    # Older feeds count hours from 1 to 24.
    numbers = {int(one) % 24 for one in hours if _SHORT_NUMBER.fullmatch(one) and int(one) <= 24}
    named = {_DAYS.index(one.lower()) for one in days if one.lower() in _DAYS}
    return tuple(polling.skipped_hours(numbers, named))


def _feedparser(body: bytes, content_type: str, url: str) -> tuple[Mapping[str, Any], int]:
    body = _CAPTIONS.sub(rb"\1caption-\2", body)
    try:
        return bounded.read(body, content_type=content_type, url=url)
    except MemoryError:
        raise
    except Exception as exc:  # hostile input may raise any exception
        raise FeedError("The feed is broken beyond reading.") from exc


def _hint(body: bytes, url: str) -> str:
    """Return a hint with the feed that a web page links, preferably one in the page's language."""
    page = body[:200_000]
    spoken = _PAGE_LANGUAGE.search(page)
    language = spoken[1].decode() if spoken else ""
    offers = []
    for tag in _LINK.findall(page):
        address = _HREF.search(tag) if b"alternate" in tag.lower() else None
        if address and _FEED_TYPE.search(tag):
            found = link.image(address[1].decode("utf-8", "replace").replace("&amp;", "&"), url)
            named = _HREFLANG.search(tag)
            offers += [(found, named[1].decode() if named else "")] if found else []
    if offers:
        best, _ = max(offers, key=lambda offer: _kinship(offer[1], language))
        return f"That page offers a feed: {best}"
    return "Look for a link named RSS or feed on the site."


def _item(entry: Mapping[str, Any], *, url: str, start: str, language: str, is_atom: bool) -> Item:
    named = _base(entry)
    # feedparser returns the document's own URL if there is no xml:base.
    markup_base = named if named != url else ""
    base = markup_base or start
    address = _page(entry, language)
    summary, content = _summary(entry), _content(entry)
    is_whole = address.startswith(("https://", "http://"))
    beside = markup_base or (address if is_whole else link.canonical(address, base)) or base
    return Item(
        guid=_string(entry, "id"),
        links=(address,) if address else (),
        title=_title(entry, is_atom=is_atom),
        # feedparser returns the content as summary too, if there is no other.
        summary="" if summary == content else summary,
        content=content,
        base=base,
        markup_base=markup_base,
        pictures=tuple(_pictures(entry, beside)),
        author=_without_addresses(_string(entry, "author")),
        source=_source(entry),
        categories=tuple(_categories(entry)),
        published_at=_published_at(entry),
        recordings=tuple(_recordings(entry)),
        comments=link.canonical(_string(entry, "comments"), base) or "",
    )


def _page(entry: Mapping[str, Any], language: str) -> str:
    """Return the URL of an entry's page, preferably the one in the feed's language."""
    found = [
        one
        for one in _mappings(entry, "links")
        if one.get("rel") == "alternate" and "html" in (_string(one, "type") or "html")
    ]
    if not any(_string(one, "hreflang") for one in found):
        # feedparser uses any GUID as the link, if there is no other.
        is_only_guid = entry.get("guidislink") and entry.get("link") == entry.get("id")
        return "" if is_only_guid else _string(entry, "link")
    detail = entry.get("title_detail")
    own = language or _string(detail if isinstance(detail, Mapping) else {}, "language")
    return _string(max(found, key=lambda one: _kinship(_string(one, "hreflang"), own)), "href")


def _kinship(language: str, own: str) -> int:
    """Rank a language tag by its match with `own`: 3 equal, 2 same language, 1 none, 0 other."""
    language, own = language.lower().replace("_", "-"), own.lower().replace("_", "-")
    if not language:
        return 1
    if language == own:
        return 3
    return 2 if language.partition("-")[0] == own.partition("-")[0] else 0


def _recordings(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the URLs of enclosures such as audio and video, but not of pictures."""
    for one in _mappings(entry, "links"):
        if one.get("rel") == "enclosure" and not _is_image(one):
            yield _string(one, "href")


def _title(entry: Mapping[str, Any], *, is_atom: bool) -> str:
    value, detail = _string(entry, "title"), entry.get("title_detail")
    is_literal = is_atom and isinstance(detail, Mapping) and detail.get("type") == "text/plain"
    return text.clean(value) if is_literal else markup.plain(value)


def _without_addresses(author: str) -> str:
    named = _WORD.sub(lambda word: "" if "@" in word[1].strip("@") else word[0], author)
    return named.strip(" ()")


def _summary(entry: Mapping[str, Any]) -> str:
    described = escape(_string(entry, "media_caption-description"), quote=False)
    return _string(entry, "summary") or described.replace("\n", "<br>")


def _content(entry: Mapping[str, Any]) -> str:
    """Return the longest content of an entry; others are captions and excerpts."""
    contents = entry.get("content")
    found = contents if isinstance(contents, list) else []
    return max(
        (_string(one, "value") for one in found if isinstance(one, Mapping)), key=len, default=""
    )


def _base(entry: Mapping[str, Any]) -> str:
    """Return feedparser's base URL for the content."""
    contents = entry.get("content")
    details = [*(contents if isinstance(contents, list) else []), entry.get("summary_detail")]
    bases = (_string(detail, "base") for detail in details if isinstance(detail, Mapping))
    return next((base for base in bases if base), "")


def _pictures(entry: Mapping[str, Any], base: str) -> Iterator[Picture]:
    """Yield the pictures outside the text, the best first."""
    for one in _mappings(entry, "links"):
        if one.get("rel") == "enclosure" and _is_image(one):
            yield from _picture(_string(one, "href"), one, base, "")
    # If there is a summary, the media description belongs to the picture.
    has_text = bool(_string(entry, "summary"))
    found = [one for one in _mappings(entry, "media_content") if _is_image(one)]
    own = [_caption(one, has_text=True) for one in found]
    shared = _caption(entry, has_text=has_text)
    pairs = sorted(
        zip(found, own, strict=True), key=lambda pair: -(pixels(pair[0].get("width")) or 0)
    )
    for one, caption in pairs:
        # A picture without a caption has that of its group, but never that of another picture.
        alt = caption or ("" if any(own) else shared)
        yield from _picture(_string(one, "url"), one, base, alt)
    for one in _mappings(entry, "media_thumbnail"):
        yield from _picture(_string(one, "url"), one, base, "" if len(set(own)) > 1 else shared)
    itunes = entry.get("image")
    if isinstance(itunes, Mapping):
        yield from _picture(_string(itunes, "href"), itunes, base, "")
    # An <image> with a <url>, as in a channel.
    if _is_image({"href": entry.get("href")}):
        yield from _picture(_string(entry, "href"), {}, base, "")


def _caption(holder: Mapping[str, Any], *, has_text: bool) -> str:
    title, description = (text.clean(_string(holder, name)) for name in bounded.CAPTIONS)
    return shorten(title or (description if has_text else ""), text.MAX_TITLE)


def _picture(address: str, sizes: Mapping[str, Any], base: str, alt: str) -> Iterator[Picture]:
    url = link.image(address, base)
    if url:
        width, height = pixels(sizes.get("width")), pixels(sizes.get("height"))
        yield Picture(url, width, height, alt or None)


def _is_image(media: Mapping[str, Any]) -> bool:
    kind = _string(media, "medium") or _string(media, "type").partition("/")[0]
    address = _string(media, "url") or _string(media, "href")
    path = address.partition("?")[0].lower()
    is_named = path.endswith((".jpg", ".jpeg", ".png", ".webp", ".gif"))
    return (kind == "image" and "svg" not in _string(media, "type")) or (not kind and is_named)


def _source(entry: Mapping[str, Any]) -> str:
    """Return the source of an entry: RSS <source>, Atom <source> or dc:source."""
    source = entry.get("source")
    if isinstance(source, Mapping):
        named = markup.plain(_string(source, "title"))
        return named or link.host(_string(source, "href") or _string(source, "link")) or ""
    named = markup.plain(_string(entry, "dc_source"))
    return link.host(named) or named


def _categories(entry: Mapping[str, Any]) -> Iterator[str]:
    for tag in _mappings(entry, "tags"):
        yield markup.plain(_string(tag, "label") or _string(tag, "term"))


def _published_at(entry: Mapping[str, Any]) -> datetime | None:
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        moment = entry.get(name)
        if moment:
            try:
                found = datetime.fromtimestamp(timegm(moment), UTC)
            except (ValueError, OverflowError, OSError, TypeError):
                continue
            return found
    return None


def _mappings(entry: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = entry.get(name)
    several = found[:MAX_PARTS] if isinstance(found, list) else []
    return [one for one in several if isinstance(one, Mapping)]


def _string(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    return value[:MAX_MARKUP] if isinstance(value, str) else ""
