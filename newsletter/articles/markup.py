"""Extracts paragraphs and pictures, in order, from a feed's HTML.

The parser is lxml. Input that it could not parse in linear time, such as a tag with thousands of
attributes, is rewritten first; a document nested deeper than libxml2 allows is read without tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import NamedTuple

from lxml import etree

from newsletter.articles import pictures, text
from newsletter.articles.bounded import MAX_MARKUP, MAX_PARTS
from newsletter.articles.pictures import Picture
from newsletter.graphemes import shorten

#: libxml2 builds no deeper tree, and drops the rest of the document.
_MAX_DEPTH = 256
#: Characters of a tag; a longer one is rewritten with a limited number of attributes.
_LONG_TAG = 200
# As in HTML, a quote is special only after an equals sign, and an unpaired one is text. The number
# of attributes is limited, so that a tag without an end does not match the rest of the text.
_TAG = (
    r"""</?([A-Za-z][A-Za-z0-9:_-]{0,60}+)"""
    r"""(?:=\s{0,9}+(?:"[^"]{0,4000}+"|'[^']{0,4000}+')|[^<>=]++|=){0,120}+>"""
)
_WHOLE_TAG = re.compile(_TAG)
# Matches nearly all tags; these stay unchanged.
_TAME = (
    r"/[A-Za-z][A-Za-z0-9]{0,20}+>"
    r"""|[A-Za-z][A-Za-z0-9]{0,20}+(?:\s{1,9}+[A-Za-z-]{1,30}+="[^"<>]{0,1000}+"){0,8}+\s?/?>"""
)
# A tag that needs rewriting, or the `<` of an incomplete tag, which is text.
_WILD_TAG_OR_SIGN = re.compile(rf"(?!<(?:{_TAME}))(?:{_TAG}|<(?=/?[A-Za-z]))")
_ATTRIBUTE = re.compile(
    r"""([a-z][a-z-]{0,30}+)\s{0,9}=\s{0,9}("[^"]{0,4000}+"|'[^']{0,4000}+'|[^\s"'<>=]{1,4000}+)""",
    re.IGNORECASE,
)
# Numeric character references that html.unescape cannot convert: Python refuses to parse very long
# integers.
_HUGE_CHARREF = re.compile(r"&#(?:[xX][0-9a-fA-F]{9,}+|[0-9]{9,}+);?")
_PLAIN_TAG = re.compile(
    r"<(/?)(a|abbr|b|big|blockquote|br|cite|code|div|em|font|h[1-6]|i|img|li|mark|ol|p|q|s|small"
    r"|span|strike|strong|sub|sup|tt|u|ul|wbr)((?:[\s/][^<>]*+)?)>",
    re.IGNORECASE,
)

_INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "img", "ins", "kbd", "label", "mark", "nobr", "picture", "q", "ruby", "s", "samp",
    "small", "source", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
    *("rb", "rt", "rp", "noscript", "button", "svg", "math", "html", "body"),
}  # fmt: skip
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
#: Elements without text or pictures of the article.
_SKIPPED = {
    "annotation", "annotation-xml", "applet", "audio", "button", "canvas", "dialog", "embed",
    "form", "frameset", "iframe", "map", "nav", "noembed", "noframes", "object", "rp", "rt",
    "script", "select", "style", "svg", "template", "textarea", "title", "video",
}  # fmt: skip
#: Elements whose text is not the article's, but which may contain a picture of it.
_MUTED = {"caption", "figcaption", "noscript"}
_EMPHASES = {"em": "slanted", "i": "slanted", "small": "slanted", "b": "bold", "strong": "bold"}


def _names(words: str) -> re.Pattern[str]:
    """Compile an expression for whole words within classes: `wp-block-button` has `button`."""
    return re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE)


#: Classes of elements that are no part of the article: hidden ones, share and subscribe buttons.
_SKIPPED_CLASSES = _names(
    r"sr-only|screen-reader-text|visually-hidden|visuallyhidden|invisible|buttons?|btn"
    r"|sharedaddy|sd-sharing|jp-relatedposts|related-posts|feedflare|addtoany_\w+|share-links"
    r"|social-(?:share|links?|icons?)|sharing-buttons?|share-buttons?|subscription-widget\S*"
    r"|kg-(?:audio|bookmark|file|video|signup|button)-card|wp-embedded-content|skip-(?:to-\w+-)?link"
    r"|cta-caption|toc|toc_\w+|ez-toc\S*|table-of-contents|footnote-ref|footnote-anchor|footnotes|headerlink|mw-editsection|poll-embed"
)
_MUTED_CLASSES = _names(
    r"wp-caption(?:-text)?|tr-caption\S*|image-caption|img-caption|photo-credit|caption(?:-text)?"
    r"|credit|kg-card-caption|media-caption"
    # Quoted posts of social networks, which scripts replace by a frame.
    r"|twitter-tweet|twitter-video|instagram-media|tiktok-embed|bluesky-embed|mastodon-embed"
    r"|reddit-embed-bq|fb-post|threads-embed|text-post-media"
)
_SKIPPED_IDS = {"toc", "toc_container", "toc-container", "ez-toc-container"}
#: Classes of a line about the article, such as a byline. An element of such a class with more text
#: than a line is the article itself.
_ABOUT_CLASSES = re.compile(
    r"(?:^|\s)(?:author|by-?line|date|date-?line|meta|submitted|username|timestamp|posted-on|byline-\S+"
    r"|(?:entry|post|article)-(?:meta|date|author|byline|header)|published|post-info|reading-time"
    r"|field--name-(?:title|uid|created|changed)|field-name-(?:title|author|post-date|created)"
    r"|views-field-(?:title|created|name|uid))(?:\s|$)",
    re.IGNORECASE,
)
_LONGEST_LINE = 150
#: URLs of share links.
_SHARING = re.compile(
    r"^mailto:\?|^https?://(?:www\.|m\.)?(?:facebook\.com/(?:sharer|share|dialog)"
    r"|(?:twitter|x)\.com/(?:share|intent|home\?status)|bsky\.app/intent|linkedin\.com/share"
    r"|wa\.me/\?|api\.whatsapp\.com/send|t\.me/share|telegram\.me/share|reddit\.com/submit"
    r"|pinterest\.[a-z.]+/pin/create|tumblr\.com/(?:share|widgets/share)|addtoany\.com"
    r"|news\.ycombinator\.com/submitlink|getpocket\.com/save|feeds\.feedburner\.com/~ff/"
    r"|feeds\.wordpress\.com/1\.0/go)",
    re.IGNORECASE,
)


class Run(NamedTuple):
    """A piece of text within one block."""

    text: str
    #: The link's URL if the text is part of a link.
    href: str | None = None
    #: The classes of the link.
    classes: str = ""
    #: "slanted", "bold", or "" for neither.
    emphasis: str = ""


@dataclass(frozen=True)
class Block:
    """A block of text, such as a paragraph or heading."""

    runs: tuple[Run, ...]
    #: The cleaned text.
    text: str
    is_heading: bool = False
    #: Whether a picture is directly before it.
    follows_picture: bool = False

    @property
    def unlinked(self) -> str:
        """The text outside of links."""
        return text.clean("".join(run.text for run in self.runs if run.href is None))

    @property
    def hrefs(self) -> tuple[str, ...]:
        """The URLs of its links that have text."""
        return tuple(run.href for run in self.runs if run.href is not None and run.text.strip())

    def is_all(self, emphasis: str) -> bool:
        """Return whether all of its text has one emphasis."""
        return all(run.emphasis == emphasis for run in self.runs if run.text.strip())


@dataclass(frozen=True)
class Reading:
    """The content of some HTML."""

    blocks: tuple[Block, ...]
    #: Candidates for the picture of the article, in order.
    pictures: tuple[Picture, ...] = ()

    @property
    def text(self) -> str:
        """The text of all blocks but headings."""
        return " ".join(one.text for one in self.blocks if not one.is_heading)


def read(html: str, base: str = "") -> Reading:
    """Read untrusted HTML; never raises."""
    harmless = _harmless(html[:MAX_MARKUP])
    if "<" not in harmless and "&" not in harmless:
        # Fast path without the parser: most summaries are plain text.
        return _Collector(base).read_plain(harmless)
    try:
        return _Collector(base).read(_tree(harmless))
    except _TooDeep:
        return _Collector(base).read(_tree(_WHOLE_TAG.sub(_flat, harmless)))


class _TooDeep(Exception):
    """Raised for a tree at the maximum depth, which may be truncated."""


def plain(value: str) -> str:
    """Return the text of a field that should be plain, but may be HTML or escaped twice.

    An unpaired tag is text: a title may be about it.
    """
    pieces, at = [], 0
    for tag in _paired(list(_PLAIN_TAG.finditer(value))):
        pieces += [value[at : tag.start()], "" if tag[2].lower() in _INLINE else " "]
        at = tag.end()
    pieces.append(value[at:])
    return text.clean(unescape(_HUGE_CHARREF.sub("\ufffd", "".join(pieces))))


def _paired(tags: list[re.Match[str]]) -> list[re.Match[str]]:
    """Return the tags to keep as markup, in order: matched pairs, images and line breaks."""
    waiting: dict[str, list[re.Match[str]]] = {}
    found = []
    for tag in tags:
        name = tag[2].lower()
        if name in {"br", "img", "wbr"}:
            if _is_complete(tag):
                found.append(tag)
        elif not tag[1]:
            waiting.setdefault(name, []).append(tag)
        elif waiting.get(name):
            found += [waiting[name].pop(), tag]
    return sorted(found, key=lambda one: one.start())


def _is_complete(tag: re.Match[str]) -> bool:
    """Return whether a void tag is markup, unlike the one in the text "The <br> element"."""
    if tag[3].strip():
        return True
    before = tag.string[max(0, tag.start() - 1) : tag.start()]
    after = tag.string[tag.end() : tag.end() + 1]
    stands_apart = before.isspace() or not before
    return tag[2].lower() != "img" and not (stands_apart and after.isspace())


def _harmless(html: str) -> str:
    """Return HTML without incomplete tags, and with a bounded number of attributes."""
    html = html.replace("\0", "").replace("<![CDATA[", "").replace("]]>", "")
    return _WILD_TAG_OR_SIGN.sub(_tamed, _HUGE_CHARREF.sub("\ufffd", html))


def _tamed(found: re.Match[str]) -> str:
    tag = found[0]
    if tag == "<":
        return "&lt;"
    if len(tag) <= _LONG_TAG or tag[1] == "/":
        return tag if tag[1] != "/" else f"</{found[1]}>"
    kept = _ATTRIBUTE.findall(tag)[:MAX_PARTS]
    return f"<{found[1]} {' '.join(f'{name}={value}' for name, value in kept)}>"


def _flat(tag: re.Match[str]) -> str:
    name = tag[1].lower()
    if name in {"img", "script", "style"}:
        return tag[0]
    return "" if name in _INLINE else "<br>"


def _tree(html: str) -> etree._Element | None:
    parser = etree.HTMLParser(
        encoding="utf-8",
        no_network=True,
        recover=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )
    try:
        return etree.fromstring(html.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        # The document is empty.
        return None


class _Collector:
    """Collects blocks and pictures in one walk of the tree."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._blocks: list[Block] = []
        self._runs: list[Run] = []
        self._pictures: list[Picture] = []
        #: The element of the last picture.
        self._seen: etree._Element | None = None
        #: Pictures of <source> elements in the open <picture>.
        self._sources: list[Picture] = []
        self._links: list[tuple[str, str]] = []
        self._emphases: list[str] = []
        self._headings = 0
        self._muted: list[etree._Element] = []
        self._follows_picture = False

    def read(self, root: etree._Element | None) -> Reading:
        """Return the content of a tree; raises _TooDeep."""
        if root is None:
            return Reading(())
        depth = 0
        walker = etree.iterwalk(root, events=("start", "end"))
        skipped: set[etree._Element] = set()
        for event, element in walker:
            depth += 1 if event == "start" else -1
            if depth >= _MAX_DEPTH - 1:
                raise _TooDeep
            if event == "start" and _is_skipped(element):
                skipped.add(element)
                walker.skip_subtree()
                self._break(element.tag)
            elif event == "start":
                self._start(element)
                self._add(element.text)
            else:
                self._end(element, is_skipped=element in skipped)
                self._add(element.tail)
        self._flush()
        return Reading(tuple(self._blocks), tuple(self._pictures))

    def read_plain(self, text: str) -> Reading:
        """Return the content of text without markup."""
        self._add(text)
        self._flush()
        return Reading(tuple(self._blocks))

    def _start(self, element: etree._Element) -> None:
        name = element.tag
        self._break(name)
        if self._muted or _is_muted(element):
            self._muted.append(element)
        self._headings += name in _HEADINGS
        if name == "a":
            self._links.append((element.get("href") or "", element.get("class") or ""))
        elif name in _EMPHASES:
            self._emphases.append(_EMPHASES[name])
        elif name in {"img", "amp-img"}:
            self._see(element)
        elif name == "source":
            self._offer(element)

    def _end(self, element: etree._Element, *, is_skipped: bool) -> None:
        name = element.tag
        self._break(name)
        if is_skipped:
            return
        if self._muted:
            self._muted.pop()
        self._headings -= name in _HEADINGS
        if name == "a":
            self._links.pop()
        elif name in _EMPHASES:
            self._emphases.pop()
        elif name == "picture":
            self._pictures += self._sources[:1]
            self._sources = []

    def _see(self, element: etree._Element) -> None:
        if len(self._pictures) >= MAX_PARTS:
            return
        alt = shorten(text.clean(element.get("alt") or ""), text.MAX_TITLE) or None
        found = pictures.of_element(_attributes(element), self._base, alt=alt)
        if found:
            self._forget_placeholder(element, found)
            self._pictures.append(found)
            self._seen = element
            self._sources = []
        self._follows_picture = not any(run.text.strip() for run in self._runs)

    def _forget_placeholder(self, element: etree._Element, found: Picture) -> None:
        """Drop the placeholder before the `noscript` of this picture, unless it is known wider."""
        noscript = next(element.iterancestors("noscript"), None)
        if noscript is None or self._seen is None or noscript.getprevious() is not self._seen:
            return
        if (self._pictures[-1].width or 0) <= (found.width or 0):
            self._pictures.pop()

    def _offer(self, element: etree._Element) -> None:
        parent = element.getparent()
        is_shown = element.get("type", "").lower() not in {"image/svg+xml", "image/avif"}
        if parent is not None and parent.tag == "picture" and is_shown:
            found = pictures.of_element(_attributes(element), self._base, alt=None)
            self._sources += [found] if found else []

    def _add(self, words: str | None) -> None:
        if not words or self._muted:
            return
        href, classes = self._links[-1] if self._links else (None, "")
        emphasis = self._emphases[-1] if self._emphases else ""
        self._runs.append(Run(words, href, classes, emphasis))

    def _break(self, name: str) -> None:
        """End the open block if the element is no inline one."""
        if name not in _INLINE:
            self._flush(is_heading=self._headings > 0)

    def _flush(self, *, is_heading: bool = False) -> None:
        shown = text.clean("".join(run.text for run in self._runs)) if self._runs else ""
        if shown:
            block = Block(tuple(self._runs), shown, is_heading, self._follows_picture)
            self._blocks.append(block)
            self._follows_picture = False
        self._runs = []


def _attributes(element: etree._Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in element.attrib.items()}


def _is_skipped(element: etree._Element) -> bool:
    """Return whether an element contains nothing of the article."""
    name = element.tag
    if name in _SKIPPED:
        return True
    if name == "img":
        return False
    classes = element.get("class") or ""
    return (
        (bool(classes) and bool(_SKIPPED_CLASSES.search(classes)))
        or element.get("role") in {"button", "navigation"}
        or element.get("id") in _SKIPPED_IDS
        or (name == "a" and _is_apparatus(element))
        or pictures.is_hidden(element.get("style"), element.get("hidden"))
    )


def _is_apparatus(link: etree._Element) -> bool:
    """Return whether a link is a share link, or one to or from a footnote."""
    href = link.get("href") or ""
    parent = link.getparent()
    is_note = href.startswith("#") and parent is not None and parent.tag == "sup"
    is_note = is_note or link.get("role") in {"doc-noteref", "doc-backlink"}
    return is_note or bool(_SHARING.match(href))


def _is_muted(element: etree._Element) -> bool:
    """Return whether an element's text, such as a caption, does not belong to the article."""
    if element.tag in _MUTED or element.get("aria-hidden") == "true":
        return True
    classes = element.get("class") or ""
    if not classes:
        return False
    return bool(_MUTED_CLASSES.search(classes)) or bool(
        _ABOUT_CLASSES.search(classes) and _is_line(element)
    )


def _is_line(element: etree._Element) -> bool:
    """Return whether an element has no more text than a line."""
    return sum(map(len, _up_to(element.itertext(), _LONGEST_LINE))) <= _LONGEST_LINE


def _up_to(pieces: Iterator[str], limit: int) -> Iterator[str]:
    """Yield pieces of text until their total length is over the limit."""
    for piece in pieces:
        yield piece
        limit -= len(piece)
        if limit < 0:
            return
