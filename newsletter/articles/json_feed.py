"""Reads JSON Feed 1.0 and 1.1 (https://jsonfeed.org/version/1.1), trusting none of its types."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html import escape
from typing import Any

from newsletter.articles import link, markup, text
from newsletter.articles.item import Item
from newsletter.articles.markup import Picture
from newsletter.errors import FeedError


def is_json(body: bytes, content_type: str) -> bool:
    """Tell whether a document claims to be JSON, by its label or its first character."""
    if body.lstrip()[:1] == b"<":
        return False
    return "json" in content_type.lower() or body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def read(body: bytes, url: str) -> tuple[str, str | None, list[Item]]:
    """Return the feed's title, site and items; raises FeedError if it is no JSON Feed."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise FeedError("That is not a feed: the JSON cannot be read.") from exc
    if not isinstance(found, dict) or not isinstance(found.get("items"), list):
        raise FeedError(
            "That is JSON, but not a JSON Feed.", hint="A JSON Feed has a list of items."
        )
    title = text.shorten(markup.plain(_string(found, "title")), text.MAX_TITLE)
    items = [one for one in found["items"] if isinstance(one, dict)]
    site_url = link.canonical(_string(found, "home_page_url"), url)
    return title, site_url, [_item(one, found, url) for one in items]


def _item(one: dict[str, Any], feed: dict[str, Any], url: str) -> Item:
    content = _string(one, "content_html") or escape(_string(one, "content_text"), quote=False)
    picture = link.image(_string(one, "image") or _string(one, "banner_image"), url)
    return Item(
        guid=_guid(one.get("id")),
        links=(_string(one, "url"), _string(one, "external_url")),
        title=markup.plain(_string(one, "title")),
        summary=escape(_string(one, "summary"), quote=False),
        content=content,
        base=url,
        pictures=(Picture(picture),) if picture else (),
        author=_author(one) or _author(feed),
        source="",
        categories=tuple(_tags(one.get("tags"))),
        published_at=_instant(_string(one, "date_published") or _string(one, "date_modified")),
    )


def _guid(value: object) -> str:
    """Return an id as text; version 1.0 allows numbers."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if isinstance(value, str) else repr(value) if is_number else ""


def _author(holder: dict[str, Any]) -> str:
    several = holder.get("authors")
    first = several[0] if isinstance(several, list) and several else holder.get("author")
    return _string(first, "name") if isinstance(first, dict) else ""


def _tags(value: object) -> list[str]:
    found = value if isinstance(value, list) else []
    return [markup.plain(tag) for tag in found if isinstance(tag, str)]


def _instant(value: str) -> datetime | None:
    """Read an RFC 3339 time; one without an offset is UTC."""
    try:
        found = datetime.fromisoformat(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _string(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    return value if isinstance(value, str) else ""
