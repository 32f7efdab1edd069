"""Reads what matters out of a feed's HTML: its text, its first picture, the source it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser

import nh3

from newsletter.articles import link, text
from newsletter.articles.bounded import MAX_MARKUP

# Tags that nh3 is to see. All others go before it does: its parser needs time that grows with the
# square of the depth (200,000 nested <div> took 156 seconds).
_SEEN = {"a", "img", "script", "style"}
_INLINE = {
    "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var",
    "wbr",
}  # fmt: skip
# As in HTML, a quote counts only behind an equals sign; one without its pair is a letter. A tag has
# a limited number of attributes, so that one without an end does not cost the rest of the text.
_TAG = re.compile(
    r"""</?([A-Za-z][A-Za-z0-9:_-]{0,60}+)"""
    r"""(?:=\s{0,9}+(?:"[^"]{0,4000}+"|'[^']{0,4000}+')|[^<>=]++|=){0,120}+>"""
)
# What is left of the others once the whole ones are gone: text.
_BROKEN_TAG = re.compile(r"<(?=/?[A-Za-z])(?!/?(?:a|img|script|style)(?:[\s/>]|$))", re.IGNORECASE)
# html.unescape makes a number of it, and Python refuses long ones.
_HUGE_CHARREF = re.compile(r"&#(?:[xX][0-9a-fA-F]{9,}+|[0-9]{9,}+);?")
_KNOWN_TAG = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|br|cite|code|div|em|font|h[1-6]|i|img|li|ol|p|s|small|span|"
    r"strong|sub|sup|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
# nh3 writes text in time that grows with the number of these, times the length: all that begin with
# the octet C2 in UTF-8. Meanwhile others, that nobody writes, stand for them (or nothing, or a
# space, for those that `text.clean` drops).
_AWAY = {
    **dict.fromkeys(range(0x80, 0xA0)),
    **dict.fromkeys((0x85, 0xA0), " "),
    **{code: chr(0x10_FF00 + code) for code in range(0xA1, 0xC0)},
}
_BACK = {0x10_FF00 + code: chr(code) for code in range(0xA1, 0xC0)}
_SOURCE = re.compile(r"(?:^|[\s.])(?:original )?sources?\s*:\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """A picture of an article; sizes in pixels where the feed names them."""

    url: str
    width: int | None = None
    height: int | None = None
    alt: str | None = None


@dataclass(frozen=True)
class Reading:
    """What a reader gets out of some HTML."""

    text: str
    picture: Picture | None = None
    #: The host of a closing "Source: <a href=...>", which is no part of the text.
    source: str | None = None


def read(html: str, base: str = "") -> Reading:
    """Read HTML that nobody vouches for; any text at all gives a Reading."""
    harmless = nh3.clean(
        flat(html[:MAX_MARKUP]).translate(_AWAY),
        tags={"a", "img"},
        attributes={"a": {"href"}, "img": {"src", "alt", "width", "height"}},
        clean_content_tags={"script", "style"},
        link_rel=None,
    )
    collector = _Collector(base)
    collector.feed(harmless.translate(_BACK))
    collector.close()
    return collector.reading()


def flat(html: str) -> str:
    """Return HTML without any tag that nests; what is broken of one is text."""
    return _BROKEN_TAG.sub("&lt;", _TAG.sub(_flatten, html))


def plain(value: str) -> str:
    """Return the text of a field that should be plain, but may be HTML or escaped twice."""
    if _KNOWN_TAG.search(value):
        return read(value).text
    return text.clean(unescape(_HUGE_CHARREF.sub("\ufffd", value)))


def pixels(value: object) -> int | None:
    """Return a size that a picture can have, or None."""
    found = re.fullmatch(r"\s*(\d{1,5})(?:px)?\s*", str(value), re.ASCII)
    return int(found[1]) if found and 0 < int(found[1]) <= 20_000 else None


def is_pixel(picture: Picture) -> bool:
    """Tell whether a picture only counts readers."""
    return (picture.width or 99) <= 2 or (picture.height or 99) <= 2


def _flatten(tag: re.Match[str]) -> str:
    name = tag[1].lower()
    if name in _SEEN:
        return tag[0]
    return "" if name in _INLINE else " "


class _Collector(HTMLParser):
    """Gathers text, links and pictures from what nh3 made well-formed."""

    def __init__(self, base: str) -> None:
        super().__init__(convert_charrefs=True)
        self._base = base
        self._parts: list[str] = []
        self._picture: Picture | None = None
        #: The last link: its address, and how many parts stood before and after it.
        self._link: tuple[str, int, int] | None = None

    def handle_data(self, data: str) -> None:
        self._parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a":
            self._link = (named.get("href") or "", len(self._parts), len(self._parts))
        elif tag == "img" and self._picture is None:
            self._picture = self._read_picture(named)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._link:
            self._link = (self._link[0], self._link[1], len(self._parts))

    def reading(self) -> Reading:
        """Return what was gathered."""
        source = self._closing_source()
        parts = self._parts[: self._link[1]] if source and self._link else self._parts
        found = text.clean("".join(parts))
        if source:
            found = _SOURCE.sub(lambda match: match[0][0].strip(), found)
        return Reading(found, self._picture, source)

    def _closing_source(self) -> str | None:
        if self._link is None:
            return None
        address, before, after = self._link
        head = "".join(self._parts[max(0, before - 3) : before])
        tail = "".join(self._parts[after:])
        if len(tail.strip(" .)\n\t")) > 0 or not _SOURCE.search(head):
            return None
        return link.host(address)

    def _read_picture(self, named: dict[str, str | None]) -> Picture | None:
        url = link.image(named.get("src") or "", self._base)
        if url is None:
            return None
        picture = Picture(
            url,
            pixels(named.get("width")),
            pixels(named.get("height")),
            text.shorten(text.clean(named.get("alt") or ""), text.MAX_TITLE) or None,
        )
        return None if is_pixel(picture) else picture
