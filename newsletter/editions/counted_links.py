"""Counted links: what a digest has in place of the links of its articles if clicks are counted.

Such a link leads through the readers' pages to the article alone: its token, which is signed, has
the edition, the article and the article's own link, and nothing of a reader. So the redirect needs
no database, works for as long as the key that has signed it, and is the same in all mails.
"""

from __future__ import annotations

import html
import re

from newsletter.errors import InvalidToken
from newsletter.publication import Publication
from newsletter.rendering.content import is_web
from newsletter.tokens import LINK_SIGNATURE_LENGTH, CountedLink, unsigned_link

#: The first part of the path. Blockers of advertisements block words such as "click" and "track".
FOLDER = "read"
_COUNTED = re.compile(
    rf"https?://[^\s\"'<>/]+(?:/[^\s\"'<>/]+)*/{FOLDER}/"
    rf"([\w-]+\.[0-9]+\.[\w-]+\.[\w-]{{{LINK_SIGNATURE_LENGTH}}})(?![\w.-])",
    re.ASCII,
)


def of(publication: Publication, link: CountedLink) -> str:
    """Return the URL that counts a click and leads to `link.url`.

    A URL that is not one of the web, or not in ASCII, is returned unchanged.
    """
    if not (is_web(link.url) and link.url.isascii() and link.url.isprintable()):
        return link.url
    return f"{publication.base_url}/{FOLDER}/{publication.keyring.sign_link(link)}"


def direct(page: str) -> str:
    """Return the HTML of a digest with direct links in place of the counted ones."""
    return _COUNTED.sub(_direct, page)


def _direct(found: re.Match[str]) -> str:
    try:
        return html.escape(unsigned_link(found[1]).url)
    except InvalidToken:
        return found[0]
