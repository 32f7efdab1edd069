"""feedparser with bounds on time and memory: input is cut before feedparser processes it.

feedparser builds every item before it returns, and several of its regular expressions are quadratic
in the length of a field. Here items are counted while they are built, each field is cut before any
expression is applied to it, and the text before the first element is shortened.
"""

from __future__ import annotations

import codecs
import heapq
import io
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from xml.sax.expatreader import ExpatParser
from xml.sax.xmlreader import AttributesNSImpl

import feedparser
import feedparser.api
import feedparser.mixin
from feedparser.encodings import convert_to_utf8

#: Maximum number of items read from one document; if it has more, the newest are read.
MAX_ITEMS = 5_000
#: Maximum characters of a field with markup; 300,000 are about 40,000 words.
MAX_MARKUP = 300_000
#: Maximum characters of a title in the document, with markup and entities.
MAX_TITLE_SOURCE = 10_000
#: Maximum characters of the name or address of an author.
MAX_AUTHOR = 300
#: Maximum characters of other fields and attributes: one more than the longest link that is parsed.
MAX_VALUE = 4_001
#: Maximum number of categories, enclosures, pictures and the like of one item.
MAX_PARTS = 50
#: Media RSS fields of a picture, renamed so that they do not collide with those of the item.
CAPTIONS = ("media_caption-title", "media_caption-description")
#: Keys for the hours and days in which a channel should not be fetched.
SKIPPED = {"hour": "newsletter_hours", "day": "newsletter_days"}

_MAX_DATE = 100
_MAX_BASE = 2_000
_MAX_NAMESPACES = 100
_MAX_ATTRIBUTES = 50
#: Attributes of a tag in the document, with its declarations of namespaces.
_MAX_WRITTEN = _MAX_NAMESPACES + _MAX_ATTRIBUTES
_MAX_DECLARATION = 1_000
_MAX_HEAD = 20_000
_BUFFER = 1 << 16

_CAPS = {
    **dict.fromkeys(
        ("content", "description", "summary", "subtitle", "info", "rights", "id"), MAX_MARKUP
    ),
    "title": MAX_TITLE_SOURCE,
    **dict.fromkeys(("author", "name", "email", "publisher"), MAX_AUTHOR),
    **dict.fromkeys(("published", "updated", "created", "expired"), _MAX_DATE),
}
# Codecs of Python that are quadratic in the length.
_SLOW_CODECS = {"punycode", "idna"}
_LATIN_CODECS = {"ascii", "iso8859-1", "cp1252"}
_WHOLE = re.compile("[^\x00-\x7f\ufffd]")
# A truncated UTF-8 character (RFC 3629 4), in a form that no word of Latin-1 ends with.
_CUT = re.compile(rb"[\xc2-\xde](?![\x80-\xbf])|[\xe0-\xf4][\x80-\xbf]{1,2}(?![\x80-\xbf])")
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0<\0?", "utf-16-be"),
    (b"<\0?\0", "utf-16-le"),
)
_DECLARATION = re.compile(r"\ufeff?\s*+<\?xml[^>]{0,1000}>")
_ENCODING = re.compile(rb"""encoding\s{0,9}=\s{0,9}['"]([^'"<>]{1,50})""")
_CHARSET = re.compile(r"""charset\s{0,9}=\s{0,9}["']?([^"';\s]{1,50})""", re.IGNORECASE)
_SPACES = re.compile(rb"\s{2,}")
_FIRST_ELEMENT = re.compile(rb"<\w")
_ITEM = re.compile(rb"<(?:\w{1,20}:)?(?:item|entry)[\s/>]", re.IGNORECASE)
_ITEM_END = re.compile(rb"</(?:\w{1,20}:)?(?:item|entry)\s*>", re.IGNORECASE)
_DATE = re.compile(
    rb"<(?:pubDate|(?:\w{1,20}:)?(?:published|updated|issued|date))\b[^<>]{0,200}>([^<]{6,100})<",
    re.IGNORECASE,
)
# CDATA sections and comments: tags in them are plain text.
_QUOTED = re.compile(rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->", re.DOTALL)
# Control characters that XML 1.0 (2.2) does not allow; the strict parser fails at the first one.
_CONTROLS = bytes({*range(32)} - {0x09, 0x0A, 0x0D})
_NONCHARACTER = re.compile(rb"\xef\xbf[\xbe\xbf]")
_CONTROL_REFERENCE = re.compile(
    rb"&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|[xX]0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]));"
)


_ATTRIBUTE = rb"""\s++[^\s<>"'=/]++\s*+=\s*+(?:"[^"<]*+"|'[^'<]*+')"""
_EXCESS = re.compile(
    rb"""(<[^\s<>"'=/!?]++(?:%s){%d})(?:%s)++""" % (_ATTRIBUTE, _MAX_WRITTEN, _ATTRIBUTE)
)


class _Full(Exception):
    """Raised within feedparser to stop it at MAX_ITEMS; carries the parser with the items."""

    def __init__(self, parser: _Bounds) -> None:
        super().__init__()
        self.parser = parser


def read(body: bytes, *, content_type: str, url: str) -> tuple[Mapping[str, Any], int]:
    """Return feedparser's result for a document, and how many items past the limit were dropped.

    Hostile input may raise any exception.
    """
    prepared, left_out = _newest(prepare(body, content_type))
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": url}
    # A stream, because feedparser opens strings and bytes as URLs or names of files.
    try:
        found: Mapping[str, Any] = feedparser.parse(
            io.BytesIO(prepared),
            response_headers=headers,
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except _Full as full:
        parser = full.parser
        found = {"feed": parser.feeddata, "entries": parser.entries, "version": parser.version}
        return found, max(1, left_out, len(_ITEM.findall(prepared)) - MAX_ITEMS)
    return found, left_out


def prepare(body: bytes, content_type: str) -> bytes:
    """Return a document as UTF-8, with bounded text before its first element."""
    body = _narrow(body)
    body, declared = _without_long_declaration(body)
    labelled = _CHARSET.search(content_type)
    if labelled and _is_slow(labelled[1]):
        labelled, content_type = None, ""
    if _is_utf8(body, declared=declared, labelled=labelled[1] if labelled else ""):
        # Skips encoding detection, which is slow and misled by a single invalid octet.
        body = body.decode("utf-8", "replace").encode()
        content_type = "application/xml; charset=utf-8"
    found: dict[str, Any] = {}
    body = convert_to_utf8({"content-type": content_type or "application/xml"}, body, found)
    if not found.get("encoding"):
        body = body.decode("utf-8", "replace").encode()
    body = _NONCHARACTER.sub(b"", _CONTROL_REFERENCE.sub(b"", body.translate(None, _CONTROLS)))
    # Excess attributes are dropped, because expat keeps the name of each one in a table, which soon
    # exceeds the processor's caches.
    return _without_long_head(_EXCESS.sub(rb"\1", body))


def _newest(body: bytes) -> tuple[bytes, int]:
    """Drop the oldest items of a document with too many; return the rest and how many were dropped.

    By date, because not every feed has the newest first; without dates the first ones are kept.
    """
    if len(_ITEM.findall(body)) <= MAX_ITEMS:
        return body, 0
    # Replaced by spaces of the same length, so that positions are those in `body`.
    bare = _QUOTED.sub(lambda quoted: b" " * len(quoted[0]), body)
    starts = [item.start() for item in _ITEM.finditer(bare)]
    if len(starts) <= MAX_ITEMS:
        return body, 0
    *_, last = [starts[-1], *(end.end() for end in _ITEM_END.finditer(bare, starts[-1]))]
    spans = list(pairwise([*starts, last]))
    dates = [_date(bare, *span) for span in spans]
    kept = sorted(heapq.nlargest(MAX_ITEMS, range(len(spans)), key=lambda at: (dates[at], -at)))
    items = (body[slice(*spans[at])] for at in kept)
    return b"".join([body[: starts[0]], *items, body[last:]]), len(spans) - MAX_ITEMS


def _date(body: bytes, start: int, end: int) -> float:
    """Return the first date of an item as a POSIX timestamp; -inf without one."""
    found = _DATE.search(body, start, end)
    text = found[1].decode("ascii", "replace").strip() if found else ""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return -math.inf


def _narrow(body: bytes) -> bytes:
    """Convert UTF-16 and UTF-32 to UTF-8, without the XML declaration of the encoding."""
    body = body.lstrip()
    encoding = next((name for mark, name in _WIDE if body.startswith(mark)), None)
    if encoding is None:
        return body
    text = body.decode(encoding, "replace")
    declaration = _DECLARATION.match(text)
    text = text[declaration.end() if declaration else 0 :]
    return codecs.BOM_UTF8 + text.lstrip("\ufeff \t\r\n").encode("utf-8", "replace")


def _without_long_declaration(body: bytes) -> tuple[bytes, str]:
    """Drop an overlong XML declaration; return the document and the declared encoding, if any.

    feedparser searches the first line with an expression that has three wildcards.
    """
    bom = codecs.BOM_UTF8 if body.startswith(codecs.BOM_UTF8) else b""
    marked = "utf-8" if bom else ""
    body = body.removeprefix(bom).lstrip()
    if not body.startswith(b"<?"):
        return bom + body, marked
    end = body.find(b"?>", 0, _MAX_DECLARATION)
    if end < 0:
        first = _FIRST_ELEMENT.search(body)
        return bom + (body[first.start() :] if first else b""), marked
    declaration, rest = body[: end + 2], body[end + 2 :]
    named = _ENCODING.search(declaration)
    encoding = named[1].decode("ascii", "replace") if named else ""
    if _is_slow(encoding):
        return bom + rest.lstrip(), marked
    return bom + declaration + b"\n" + rest, marked or encoding


def _is_slow(encoding: str) -> bool:
    return _codec(encoding) in _SLOW_CODECS


def _codec(encoding: str) -> str:
    """Return Python's name of an encoding, empty for an unknown one."""
    try:
        return codecs.lookup(encoding).name if encoding else ""
    except (LookupError, ValueError):
        return ""


def _is_utf8(body: bytes, *, declared: str, labelled: str) -> bool:
    """Return whether a document is UTF-8 but for broken characters, whatever its label says.

    Servers label any document as Latin-1; one that decodes as UTF-8 is UTF-8.
    """
    names = {_codec(declared), _codec(labelled)} - {""}
    if not names - {"utf-8"} or _codec(declared) == "utf-8":
        return _is_nearly_utf8(body)
    try:
        return names <= {"utf-8", *_LATIN_CODECS} and not body.isascii() and bool(body.decode())
    except UnicodeDecodeError:
        return False


def _is_nearly_utf8(body: bytes) -> bool:
    """Return whether more characters are valid than broken, or all broken ones are truncated."""
    text = body.decode("utf-8", "replace")
    if "\ufffd" not in text:
        return True
    whole, broken = len(_WHOLE.findall(text)), text.count("\ufffd")
    return broken <= max(whole, len(_CUT.findall(body)))


def _without_long_head(body: bytes) -> bytes:
    """Shorten the text before the first element, which feedparser searches line by line."""
    first = _FIRST_ELEMENT.search(body)
    if first is None:
        return body
    head = _SPACES.sub(b"\n", body[: first.start()])
    if len(head) > _MAX_HEAD:
        head = b""
    return head + body[first.start() :]


class _Bounds:
    """A mixin for feedparser's strict and loose parsers; its overrides apply the bounds first."""

    # Attributes of feedparser's parsers that the methods below use.
    entries: list[Any]
    feeddata: Any
    version: str
    baseuri: str
    contentparams: Any
    elementstack: list[list[Any]]
    namespaces_in_use: dict[str | None, str]

    # A GUID is compared character by character (RFC 4287 4.2.6.1), so it is not made absolute.
    can_be_relative_uri = feedparser.api.StrictFeedParser.can_be_relative_uri - {"id"}

    def _start_item(self, attributes: dict[str, str]) -> None:
        if len(self.entries) >= MAX_ITEMS:
            raise _Full(self)
        super()._start_item(attributes)  # type: ignore[misc]

    _start_entry = _start_item

    #: The open media:content element: captions within it belong to it alone.
    _medium: dict[str, Any] | None = None

    def _start_media_content(self, attributes: dict[str, str]) -> None:
        super()._start_media_content(attributes)  # type: ignore[misc]
        self._medium = self._get_context()["media_content"][-1]  # type: ignore[attr-defined]

    def _end_media_content(self) -> None:
        self._medium = None

    def _end_hour(self) -> None:
        self._skip("hour", "skiphours")

    def _end_day(self) -> None:
        self._skip("day", "skipdays")

    def _skip(self, element: str, holder: str) -> None:
        """Add to the hours or days that a channel skips; feedparser keeps only the last one."""
        value = self.pop(element)
        if self.elementstack and self.elementstack[-1][0] == holder:
            kept = self.feeddata.setdefault(SKIPPED[element], [])
            kept += [value] if isinstance(value, str) and len(kept) < MAX_PARTS else []

    def startElementNS(  # noqa: N802 - a method of SAX
        self, name: tuple[str | None, str], qname: str | None, attributes: AttributesNSImpl
    ) -> None:
        """Drop excess attributes: each look-up in SAX is linear in their number."""
        if len(attributes) > _MAX_ATTRIBUTES:
            kept = list(attributes.getNames())[:_MAX_ATTRIBUTES]
            attributes = AttributesNSImpl(
                {one: attributes.getValue(one) for one in kept},
                {one: attributes.getQNameByName(one) for one in kept},
            )
        super().startElementNS(name, qname, attributes)  # type: ignore[misc]

    def unknown_starttag(self, tag: str, attributes: list[tuple[str, str]]) -> None:
        """Drop excess attributes and cut their values."""
        kept = [
            (name, value[:MAX_VALUE])
            for name, value in attributes[:_MAX_ATTRIBUTES]
            if name.lower() not in {"base", "xml:base"}
            or len(self.baseuri) + len(value) <= _MAX_BASE
        ]
        super().unknown_starttag(tag, kept)  # type: ignore[misc]

    def track_namespace(self, prefix: str | None, uri: str) -> None:
        """Ignore excess namespaces: each element searches all of them."""
        if len(self.namespaces_in_use) < _MAX_NAMESPACES:
            super().track_namespace(prefix, uri)  # type: ignore[misc]

    def handle_data(self, text: str, escape: int = 1) -> None:
        """Append text to the open element."""
        if not self.elementstack:
            return
        if escape and dict.get(self.contentparams, "type") == "application/xhtml+xml":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self.elementstack[-1][2].append(text)

    def handle_charref(self, name: str) -> None:
        """Append a character by its number; an invalid one becomes U+FFFD."""
        try:
            super().handle_charref(name)  # type: ignore[misc]
        except (ValueError, OverflowError):
            self.handle_data("\ufffd")

    def pop(self, element: str, strip_whitespace: int = 1) -> Any:  # noqa: ANN401 - feedparser's
        """End an element; its text is cut before feedparser processes it."""
        if self.elementstack and self.elementstack[-1][0] == element:
            open_element = self.elementstack[-1]
            open_element[2] = [_joined(open_element[2])[: _CAPS.get(element, MAX_VALUE)]]
        value = super().pop(element, strip_whitespace)  # type: ignore[misc]
        if self._medium is not None and element in CAPTIONS and isinstance(value, str):
            self._medium.setdefault(element, value)
        return value

    def _add_tag(self, term: str | None, scheme: str | None, label: str | None) -> None:
        """Ignore excess categories: each is compared with all others."""
        context = self._get_context()  # type: ignore[attr-defined]
        if len(context.get("tags", ())) < MAX_PARTS:
            super()._add_tag(term, scheme, label)  # type: ignore[misc]


class _Buffered(ExpatParser):
    """Buffers text: otherwise each entity begins a new piece, and escaped HTML has many."""

    def reset(self) -> None:
        super().reset()
        self._parser.buffer_text = True  # type: ignore[attr-defined]
        self._parser.buffer_size = _BUFFER  # type: ignore[attr-defined]


def create_parser() -> ExpatParser:
    """Return the XML parser for feedparser; called by `xml.sax.make_parser`."""
    return _Buffered()


def _joined(pieces: list[str | bytes]) -> str:
    return "".join(
        one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in pieces
    )


# A shallow copy is enough: the copied dict holds strings.
feedparser.mixin.copy = SimpleNamespace(deepcopy=dict)
feedparser.api.PREFERRED_XML_PARSERS = [__name__]
# Cached: feedparser resolves the base of relative links at each element, and it seldom changes.
feedparser.mixin.make_safe_absolute_uri = lru_cache(maxsize=16)(
    feedparser.mixin.make_safe_absolute_uri
)
# feedparser.parse has no argument for its parser classes.
for _name in ("StrictFeedParser", "LooseFeedParser"):
    setattr(feedparser.api, _name, type(_name, (_Bounds, getattr(feedparser.api, _name)), {}))
