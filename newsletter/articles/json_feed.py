"""Reads JSON Feed 1.0 and 1.1 (https://jsonfeed.org/version/1.1); every type is checked."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import Any

from newsletter.articles import link, markup, text
from newsletter.articles.bounded import (
    MAX_AUTHOR,
    MAX_ITEMS,
    MAX_MARKUP,
    MAX_PARTS,
    MAX_TITLE_SOURCE,
    MAX_VALUE,
)
from newsletter.articles.item import Item
from newsletter.articles.pictures import Picture
from newsletter.errors import FeedError
from newsletter.graphemes import shorten

#: Items past the limit are counted up to here; the rest of the document is not read.
_MAX_COUNTED = 20 * MAX_ITEMS
_NEVER = datetime.min.replace(tzinfo=UTC)
_SPACE = re.compile(r"[ \t\n\r]*+")
_DECODER = json.JSONDecoder()


def is_json(body: bytes, content_type: str) -> bool:
    """Return whether a document is JSON, by its content type or its first character."""
    if body.lstrip()[:1] == b"<":
        return False
    return "json" in content_type.lower() or body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def read(body: bytes, url: str) -> tuple[str, str | None, list[Item], int]:
    """Return the feed's title, site and items, and how many items were dropped.

    Raises FeedError if the document is not a JSON Feed.
    """
    try:
        found, left_out = _load(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError) as exc:
        raise FeedError("That is not a feed: the JSON cannot be read.") from exc
    if found is None or not isinstance(found.get("items"), list):
        raise FeedError(
            "That is JSON, but not a JSON Feed.", hint="A JSON Feed has a list of items."
        )
    title = shorten(markup.plain(_string(found, "title", MAX_TITLE_SOURCE)), text.MAX_TITLE)
    items = [one for one in found["items"] if isinstance(one, dict)]
    site_url = link.canonical(_string(found, "home_page_url"), url)
    return title, site_url, [_item(one, found, url or site_url or "") for one in items], left_out


def _load(document: str) -> tuple[dict[str, Any] | None, int]:
    """Parse an object member by member, so that items are counted while they are built.

    After too many items the rest is not read. Returns None if the document is no JSON object.
    """
    found: dict[str, Any] = {}
    left_out = 0
    at = _skip(document, document.startswith("\ufeff"))
    if document[at : at + 1] != "{":
        _DECODER.raw_decode(document, at)
        return None, 0
    at = _skip(document, at + 1)
    while document[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(document, at)
        at = _expect(document, at, ":")
        if name == "items" and document[at : at + 1] == "[":
            found["items"], count, at = _newest(document, at + 1)
            if count == _MAX_COUNTED:
                return found, count - MAX_ITEMS
            left_out = max(0, count - MAX_ITEMS)
            at = _expect(document, at, "]")
        else:
            found[str(name)], at = _DECODER.raw_decode(document, at)
        at = _skip(document, at)
        at = at if document[at : at + 1] == "}" else _expect(document, at, ",")
    return found, left_out


def _newest(document: str, at: int) -> tuple[list[Any], int, int]:
    """Parse the newest items of an array, with at most MAX_ITEMS in memory.

    Returns them in their order, their number (or how many were counted), and where the array ends.
    """
    #: (date, negative position, item): a heap with the oldest first.
    kept: list[tuple[datetime, int, Any]] = []
    count = 0
    for count, (item, end) in enumerate(_elements(document, at), start=1):
        at = end
        date = _date(item) if isinstance(item, dict) else None
        entry = (date or _NEVER, -count, item)
        if len(kept) < MAX_ITEMS:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)
        if count == _MAX_COUNTED:
            break
    return [item for _, _, item in sorted(kept, key=lambda one: -one[1])], count, at


def _elements(document: str, at: int) -> Iterator[tuple[Any, int]]:
    """Yield the elements of an array after its bracket, with the position after each."""
    at = _skip(document, at)
    while document[at : at + 1] != "]":
        element, at = _DECODER.raw_decode(document, at)
        yield element, at
        at = _skip(document, at)
        if document[at : at + 1] != "]":
            at = _expect(document, at, ",")


def _expect(document: str, at: int, sign: str) -> int:
    """Return the position of the token after `sign`; raises ValueError if it is missing."""
    at = _skip(document, at)
    if document[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting {sign}", document, at)
    return _skip(document, at + 1)


def _skip(document: str, at: int) -> int:
    space = _SPACE.match(document, at)
    return space.end() if space else at


def _item(one: dict[str, Any], feed: dict[str, Any], url: str) -> Item:
    content = _string(one, "content_html", MAX_MARKUP) or escape(
        _string(one, "content_text", MAX_MARKUP), quote=False
    )
    picture = link.image(_string(one, "image") or _string(one, "banner_image"), url)
    return Item(
        guid=_guid(one.get("id")),
        links=(_string(one, "url"), _string(one, "external_url")),
        title=markup.plain(_string(one, "title", MAX_TITLE_SOURCE)),
        summary=escape(_string(one, "summary", MAX_MARKUP), quote=False),
        content=content,
        base=url,
        markup_base="",
        pictures=(Picture(picture),) if picture else (),
        author=_author(one) or _author(feed),
        source="",
        categories=tuple(_tags(one.get("tags"))),
        published_at=_date(one),
        recordings=tuple(_recordings(one)),
    )


def _recordings(one: dict[str, Any]) -> Iterator[str]:
    """Yield the URLs of audio, video and other attachments, but not of pictures."""
    found = one.get("attachments")
    for each in found[:MAX_PARTS] if isinstance(found, list) else ():
        if isinstance(each, dict) and not _string(each, "mime_type").startswith("image/"):
            yield _string(each, "url")


def _date(one: dict[str, Any]) -> datetime | None:
    return _instant(_string(one, "date_published") or _string(one, "date_modified"))


def _guid(value: object) -> str:
    """Return an id as text; version 1.0 of the format allows numbers."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value[:MAX_MARKUP] if isinstance(value, str) else repr(value) if is_number else ""


def _author(holder: dict[str, Any]) -> str:
    several = holder.get("authors")
    first = several[0] if isinstance(several, list) and several else holder.get("author")
    return _string(first, "name", MAX_AUTHOR) if isinstance(first, dict) else ""


def _tags(value: object) -> list[str]:
    found = value[:MAX_PARTS] if isinstance(value, list) else []
    return [markup.plain(tag[:MAX_VALUE]) for tag in found if isinstance(tag, str)]


def _instant(value: str) -> datetime | None:
    """Parse an RFC 3339 time; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _string(holder: dict[str, Any], name: str, limit: int = MAX_VALUE) -> str:
    value = holder.get(name)
    return value[:limit] if isinstance(value, str) else ""
