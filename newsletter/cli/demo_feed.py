"""The feed of the demo: sample articles as RSS."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

from newsletter.settings import Settings


def rss(samples: Iterable[tuple[dict[str, Any], datetime]], settings: Settings) -> str:
    """Return sample articles with their dates as RSS 2.0, the newest first."""
    items = "".join(_item(one, at, settings) for one, at in reversed(list(samples)))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0"><channel>'
        f"<title>{escape(settings.name)}</title><link>{settings.site_url}</link>"
        f"<description>{escape(settings.tagline)}</description>{items}</channel></rss>\n"
    )


def _item(one: dict[str, Any], at: datetime, settings: Settings) -> str:
    # The number of words for the reading time, which the digest shows instead of the text.
    text = " ".join([one["standfirst"]] + ["…"] * (225 * one["minutes"] - 40))
    return (
        f"\n<item><title>{escape(one['title'])}</title>"
        f"<link>{settings.site_url}/articles/{one['slug']}</link>"
        f'<guid isPermaLink="false">{one["slug"]}</guid>'
        f"<description>{escape(one['standfirst'])}</description>"
        f"<category>{escape(one['category'])}</category>"
        f'<source url="{settings.site_url}">{escape(one["source"])}</source>'
        f"<pubDate>{format_datetime(at)}</pubDate>"
        '<encoded xmlns="http://purl.org/rss/1.0/modules/content/">'
        f"{escape(text)}</encoded></item>"
    )
