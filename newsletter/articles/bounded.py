"""feedparser within bounds: what a document may hold is capped before feedparser's own work on it.

feedparser builds every item before it returns, and several of its expressions need time that grows
with the square of a field's length. Here items are counted while they are built, each field is cut
before any expression sees it, and what stands before the first element is made short.
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

#: Of a document with more items the newest are read.
MAX_ITEMS = 5_000
#: No more of a field with markup is read; a page of 300 kB has about 40,000 words.
MAX_MARKUP = 300_000
#: A title as it stands in the document, markup and entities included.
MAX_TITLE_SOURCE = 10_000
#: Names and addresses of authors.
MAX_AUTHOR = 300
#: Any other field, and any attribute; one more than the longest link that is looked at.
MAX_VALUE = 4_001
#: Categories, enclosures, pictures and the like of one item.
MAX_PARTS = 50
#: What Media RSS says about a picture, by names that are not those of an item's own fields.
CAPTIONS = ("media_caption-title", "media_caption-description")
#: Where a channel's hours and days are kept in which it does not want to be asked.
SKIPPED = {"hour": "newsletter_hours", "day": "newsletter_days"}

_MAX_DATE = 100
_MAX_BASE = 2_000
_MAX_NAMESPACES = 100
_MAX_ATTRIBUTES = 50
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
# Text encodings of Python's that need time that grows with the square of the length.
_SLOW_CODECS = {"punycode", "idna"}
_LATIN_CODECS = {"ascii", "iso8859-1", "cp1252"}
_WHOLE = re.compile("[^\x00-\x7f\ufffd]")
# The beginning of a character of UTF-8 (RFC 3629 4), as no word of Latin-1 ends.
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
# Markup in it is text.
_QUOTED = re.compile(rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->", re.DOTALL)
# In no XML 1.0 document (2.2): the strict parser gives up at the first.
_CONTROLS = bytes({*range(32)} - {0x09, 0x0A, 0x0D})
_NONCHARACTER = re.compile(rb"\xef\xbf[\xbe\xbf]")
_CONTROL_REFERENCE = re.compile(
    rb"&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|[xX]0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]));"
)


class _Full(Exception):
    """Carries a parser out of feedparser when it has as many items as are read."""

    def __init__(self, parser: _Bounds) -> None:
        super().__init__()
        self.parser = parser


def read(body: bytes, *, content_type: str, url: str) -> tuple[Mapping[str, Any], int]:
    """Return what feedparser makes of a document, and how many items past the limit were left out.

    Raises whatever a parser of hostile bytes raises.
    """
    prepared, left_out = _newest(prepare(body, content_type))
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": url}
    # A stream, because feedparser opens anything else: a string as a URL or a file, and
    # even bytes as the name of a file.
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
    """Return a document as UTF-8, with little before its first element."""
    body = _narrow(body)
    body, declared = _without_long_declaration(body)
    labelled = _CHARSET.search(content_type)
    if labelled and _is_slow(labelled[1]):
        labelled, content_type = None, ""
    if _is_utf8(body, declared=declared, labelled=labelled[1] if labelled else ""):
        # Nothing to guess: guessing reads the whole document, slowly, and one octet misleads it.
        body = body.decode("utf-8", "replace").encode()
        content_type = "application/xml; charset=utf-8"
    found: dict[str, Any] = {}
    body = convert_to_utf8({"content-type": content_type or "application/xml"}, body, found)
    if not found.get("encoding"):
        body = body.decode("utf-8", "replace").encode()
    body = _NONCHARACTER.sub(b"", _CONTROL_REFERENCE.sub(b"", body.translate(None, _CONTROLS)))
    return _without_long_head(body)


def _newest(body: bytes) -> tuple[bytes, int]:
    """Leave the oldest items of a document out that has too many; return how many those were.

    By date, because not every feed has the newest first; without dates, those that stand first.
    """
    if len(_ITEM.findall(body)) <= MAX_ITEMS:
        return body, 0
    # Same length, so that what is found in the one is cut out of the other.
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
    """Return the first date of an item as seconds; one without any is the oldest."""
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
    """Return UTF-16 and UTF-32 as UTF-8, without the declaration that says otherwise."""
    body = body.lstrip()
    encoding = next((name for mark, name in _WIDE if body.startswith(mark)), None)
    if encoding is None:
        return body
    text = body.decode(encoding, "replace")
    declaration = _DECLARATION.match(text)
    text = text[declaration.end() if declaration else 0 :]
    return codecs.BOM_UTF8 + text.lstrip("\ufeff \t\r\n").encode("utf-8", "replace")


def _without_long_declaration(body: bytes) -> tuple[bytes, str]:
    """Return a document whose XML declaration is short, and the encoding that it names, if any.

    feedparser looks for the encoding with three wildcards in the first line.
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
    """Return Python's own name of an encoding, none for one that is not known."""
    try:
        return codecs.lookup(encoding).name if encoding else ""
    except (LookupError, ValueError):
        return ""


def _is_utf8(body: bytes, *, declared: str, labelled: str) -> bool:
    """Tell whether a document is UTF-8, broken characters aside, in spite of what may be said.

    Servers add a label of Latin-1 to whatever they send, and what reads as UTF-8 is.
    """
    names = {_codec(declared), _codec(labelled)} - {""}
    if not names - {"utf-8"} or _codec(declared) == "utf-8":
        return _is_nearly_utf8(body)
    try:
        return names <= {"utf-8", *_LATIN_CODECS} and not body.isascii() and bool(body.decode())
    except UnicodeDecodeError:
        return False


def _is_nearly_utf8(body: bytes) -> bool:
    """Tell whether more characters are whole than broken, or all broken ones were cut."""
    text = body.decode("utf-8", "replace")
    if "\ufffd" not in text:
        return True
    whole, broken = len(_WHOLE.findall(text)), text.count("\ufffd")
    return broken <= max(whole, len(_CUT.findall(body)))


def _without_long_head(body: bytes) -> bytes:
    """Make what stands before the first element short: feedparser looks there line by line."""
    first = _FIRST_ELEMENT.search(body)
    if first is None:
        return body
    head = _SPACES.sub(b"\n", body[: first.start()])
    if len(head) > _MAX_HEAD:
        head = b""
    return head + body[first.start() :]


class _Bounds:
    """Mixed into feedparser's parsers, strict and loose: it sees everything before they do."""

    # What is used of feedparser's own state.
    entries: list[Any]
    feeddata: Any
    version: str
    baseuri: str
    contentparams: Any
    elementstack: list[list[Any]]
    namespaces_in_use: dict[str | None, str]

    # A GUID is compared letter by letter (RFC 4287 4.2.6.1), whatever address the feed comes from.
    can_be_relative_uri = feedparser.api.StrictFeedParser.can_be_relative_uri - {"id"}

    def _start_item(self, attributes: dict[str, str]) -> None:
        if len(self.entries) >= MAX_ITEMS:
            raise _Full(self)
        super()._start_item(attributes)  # type: ignore[misc]

    _start_entry = _start_item

    #: The picture or recording (Media RSS) that is open: what is said in it is about it alone.
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
        """Add to the hours or days that a channel skips; feedparser keeps the last alone."""
        value = self.pop(element)
        if self.elementstack and self.elementstack[-1][0] == holder:
            kept = self.feeddata.setdefault(SKIPPED[element], [])
            kept += [value] if isinstance(value, str) and len(kept) < MAX_PARTS else []

    def startElementNS(  # noqa: N802 - the name that SAX gives it
        self, name: tuple[str | None, str], qname: str | None, attributes: AttributesNSImpl
    ) -> None:
        """Start an element with few attributes: SAX looks for each among all."""
        if len(attributes) > _MAX_ATTRIBUTES:
            kept = list(attributes.getNames())[:_MAX_ATTRIBUTES]
            attributes = AttributesNSImpl(
                {one: attributes.getValue(one) for one in kept},
                {one: attributes.getQNameByName(one) for one in kept},
            )
        super().startElementNS(name, qname, attributes)  # type: ignore[misc]

    def unknown_starttag(self, tag: str, attributes: list[tuple[str, str]]) -> None:
        """Start an element with few and short attributes."""
        kept = [
            (name, value[:MAX_VALUE])
            for name, value in attributes[:_MAX_ATTRIBUTES]
            if name.lower() not in {"base", "xml:base"}
            or len(self.baseuri) + len(value) <= _MAX_BASE
        ]
        super().unknown_starttag(tag, kept)  # type: ignore[misc]

    def track_namespace(self, prefix: str | None, uri: str) -> None:
        """Note a namespace; every element looks through all of them."""
        if len(self.namespaces_in_use) < _MAX_NAMESPACES:
            super().track_namespace(prefix, uri)  # type: ignore[misc]

    def handle_data(self, text: str, escape: int = 1) -> None:
        """Add text to the element that is open."""
        if not self.elementstack:
            return
        if escape and dict.get(self.contentparams, "type") == "application/xhtml+xml":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        self.elementstack[-1][2].append(text)

    def handle_charref(self, name: str) -> None:
        """Add a character by its number; a number that is no character's is replaced."""
        try:
            super().handle_charref(name)  # type: ignore[misc]
        except (ValueError, OverflowError):
            self.handle_data("\ufffd")

    def pop(self, element: str, strip_whitespace: int = 1) -> Any:  # noqa: ANN401 - feedparser's
        """End an element: its text is cut before anything is done with it."""
        if self.elementstack and self.elementstack[-1][0] == element:
            open_element = self.elementstack[-1]
            open_element[2] = [_joined(open_element[2])[: _CAPS.get(element, MAX_VALUE)]]
        value = super().pop(element, strip_whitespace)  # type: ignore[misc]
        if self._medium is not None and element in CAPTIONS and isinstance(value, str):
            self._medium.setdefault(element, value)
        return value

    def _add_tag(self, term: str | None, scheme: str | None, label: str | None) -> None:
        """Add a category; each is compared with all that are there."""
        context = self._get_context()  # type: ignore[attr-defined]
        if len(context.get("tags", ())) < MAX_PARTS:
            super()._add_tag(term, scheme, label)  # type: ignore[misc]


class _Buffered(ExpatParser):
    """Gives text in long pieces; else every entity begins one, and escaped HTML is full of them."""

    def reset(self) -> None:
        super().reset()
        self._parser.buffer_text = True  # type: ignore[attr-defined]
        self._parser.buffer_size = _BUFFER  # type: ignore[attr-defined]


def create_parser() -> ExpatParser:
    """Return the parser that feedparser has read XML; `xml.sax.make_parser` calls it."""
    return _Buffered()


def _joined(pieces: list[str | bytes]) -> str:
    return "".join(
        one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in pieces
    )


# Of an element's type, language and base, which are strings.
feedparser.mixin.copy = SimpleNamespace(deepcopy=dict)
feedparser.api.PREFERRED_XML_PARSERS = [__name__]
# Asked at every element for the base of relative links, which seldom changes.
feedparser.mixin.make_safe_absolute_uri = lru_cache(maxsize=16)(
    feedparser.mixin.make_safe_absolute_uri
)
# The parsers that feedparser.parse makes; it offers no other way to name one's own.
for _name in ("StrictFeedParser", "LooseFeedParser"):
    setattr(feedparser.api, _name, type(_name, (_Bounds, getattr(feedparser.api, _name)), {}))
