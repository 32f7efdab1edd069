"""Hostile documents of about `size` octets that cost a naive parser more than linear time.

Most of them make a regular expression or a search restart at every octet, so that twice the size
takes four times as long.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

ATOM = "http://www.w3.org/2005/Atom"
ITUNES = "http://www.itunes.com/DTDs/PodCast-1.0.dtd"


def rss(inner: str, *, title: str = "T") -> bytes:
    """Return an RSS feed with one item."""
    return (
        f'<rss version="2.0"><channel><title>T</title><item><title>{title}</title>'
        f"<link>https://a.example/1</link>{inner}</item></channel></rss>"
    ).encode()


def atom(inner: str) -> bytes:
    """Return an Atom feed with one entry."""
    return (
        f'<feed xmlns="{ATOM}"><title>T</title><entry><title>T</title>'
        f'<link href="https://a.example/1"/>{inner}</entry></feed>'
    ).encode()


def described(markup: str, size: int) -> bytes:
    """Return a feed whose item repeats some markup in its description."""
    text = escape(markup)
    return rss(f"<description>{text * (size // len(text.encode()))}</description>")


def loose(piece: str, size: int) -> bytes:
    """Return a document that is not well-formed, so that feedparser's loose parser reads it."""
    return f"<rss><channel><title>&nope;</title><item>{piece * (size // len(piece))}".encode()


def marks(size: int) -> str:
    """Return one letter with combining marks that are not in canonical order."""
    return "a" + "\u0301\u0316" * (size // 4)


KINDS: dict[str, Callable[[int], bytes]] = {
    "newlines before rss": lambda size: b"\n" * size + rss(""),
    "newlines in a comment": lambda size: b"<!--" + b"\n" * size + b"-->" + rss(""),
    "newlines behind a declaration": lambda size: b"<?xml version='1.0'?>" + b"\n" * size + rss(""),
    "newlines in UTF-16": lambda size: ("\n" * (size // 2) + rss("").decode()).encode("utf-16"),
    "encodings": lambda size: b"<?xml " + b'encoding="' * (size // 10) + rss(""),
    "encodings behind": lambda size: b"<?xml ?>" + b'encoding="' * (size // 10) + rss(""),
    "punycode": lambda size: (
        b'<?xml version="1.0" encoding="punycode"?>' + rss("", title="a-b9" * (size // 4))
    ),
    "doctypes": lambda size: b"<!DOCTYPE\n" * (size // 10) + rss(""),
    "entities": lambda size: b"<!DOCTYPE rss [\n" + b"<!ENTITY\n" * (size // 9) + b"]>" + rss(""),
    "expansion": lambda size: (
        f'<!DOCTYPE rss [<!ENTITY a "{"x" * (size // 2)}">]>'.encode() + rss("&a;" * (size // 6))
    ),
    "author": lambda size: rss(f"<author>{'a' * size}</author>"),
    "author with an @": lambda size: rss(f"<author>{'a' * size} @</author>"),
    "marks in the title": lambda size: rss("", title=marks(size)),
    "marks in the guid": lambda size: rss(f"<guid>{marks(size)}</guid>"),
    "marks in a category": lambda size: rss(f"<category>{marks(size)}</category>"),
    "marks in the text": lambda size: rss(f"<description>{marks(size)}</description>"),
    "unpaired quotes": lambda size: described('<ul ">"', size),
    "unpaired quotes of links": lambda size: described('<a ">"', size),
    "quotes out of step": lambda size: described('<a "="', size),
    "nested div": lambda size: described("<div>", size),
    "nested a": lambda size: described("<a href=x>", size),
    "attributes of a tag": lambda size: rss(
        f"<description>{escape('<a ' + ' '.join(f'a{n}=1' for n in range(size // 8)) + '>')}x"
        "</description>"
    ),
    "bare attributes of a tag": lambda size: described(f"<a{'/a' * 2_000}>", size),
    "ends of nothing": lambda size: described("<b></i>", size),
    "hidden in hidden": lambda size: described('<b class="meta"><i></i>', size),
    "sets of pictures": lambda size: described(f'<img srcset="{"a," * 1_900}">', size),
    "links to itself": lambda size: described('<a href="https://a.example/1">', size),
    "links in a row": lambda size: described('<a href="https://a.example/1">x</a>', size),
    "closing lines": lambda size: described("<p>T</p>", size),
    "names without an end": lambda size: described("<p>By " + "A" * 110 + "!</p>", size),
    "tags of a network": lambda size: described("<p>T</p><p>" + "#a" * 2_000 + " x</p>", size),
    "brackets": lambda size: described("<p>" + "[!]" * 200 + " x</p><p>y</p>", size),
    "ends of sentences": lambda size: described(
        f'<p>{".!" * (size // 2)}x <a href="https://a.example/1">y</a></p>', size * 2
    ),
    "numbers of a network": lambda size: described(
        f'<img src="https://a.example/x{"1" * 60}!">', size
    ),
    "breaks in the title": lambda size: rss("", title=escape("a<br>" * (size // 5))),
    "cut off": lambda size: described("[…] ", size),
    "scripts": lambda size: described("<script>", size),
    "comments": lambda size: described("<!--", size),
    "declarations": lambda size: described("<![CDATA[", size),
    "less-than": lambda size: described("<", size),
    "tags without an end": lambda size: described("<a x='", size),
    "sentences": lambda size: described('."" ', size),
    "boilerplate": lambda size: described("The post a appeared first on ", size),
    "page": lambda size: b"<html><head><link " + b"alternate " * (size // 10) + b"</html>",
    "pages": lambda size: b"<html><head>" + b"<link alternate " * (size // 16) + b"</html>",
    "items": lambda size: b"<rss><channel>" + b"<item/>" * (size // 7) + b"</channel></rss>",
    "entries": lambda size: (
        f'<feed xmlns="{ATOM}">'.encode() + b"<entry/>" * (size // 8) + b"</feed>"
    ),
    "items without an end": lambda size: b"<rss><channel>" + b"<item>" * (size // 6),
    "json": lambda size: b'{"title": "T", "items": [' + b"{}," * (size // 3) + b"{}]}",
    "json tags": lambda size: (
        b'{"items": [{"url": "https://a.example/", "title": "T", "tags": ['
        + b'"a",' * (size // 4)
        + b'"b"]}]}'
    ),
    "categories": lambda size: rss(
        "".join(f"<category>{number}</category>" for number in range(size // 26))
    ),
    "keywords": lambda size: rss(
        f"<i:keywords xmlns:i='{ITUNES}'>{','.join(map(str, range(size // 6)))}</i:keywords>"
    ),
    "links": lambda size: atom("<link href='https://a.example/x'/>" * (size // 34)),
    "enclosures": lambda size: rss(
        "<enclosure url='https://a.example/x.jpg' type='image/png'/>" * (size // 59)
    ),
    "contents": lambda size: atom("<content type='html'>x</content>" * (size // 32)),
    "depth": lambda size: rss("<x>" * (size // 7) + "</x>" * (size // 7)),
    "depth of XHTML": lambda size: atom(
        f"<content type='xhtml'>{'<b>' * (size // 7)}{'</b>' * (size // 7)}</content>"
    ),
    "newlines in XHTML": lambda size: atom(
        f"<content type='xhtml'>{'&#10;' * (size // 5)}<div>x</div></content>"
    ),
    "namespaces": lambda size: (
        "<rss "
        + " ".join(f"xmlns:n{number}='u{number}'" for number in range(size // 40))
        + f"><channel>{'<x/>' * (size // 8)}</channel></rss>"
    ).encode(),
    "nested namespaces": lambda size: (
        "<rss>" + "".join(f"<x xmlns='u{number}'>" for number in range(size // 16))
    ).encode(),
    "attributes": lambda size: (
        "<rss><channel><item "
        + " ".join(f"a{number}='1'" for number in range(size // 11))
        + "/></channel></rss>"
    ).encode(),
    "attributes with a prefix": lambda size: (
        "<rss xmlns:a='u' "
        + " ".join(f"a:b{number}='1'" for number in range(size // 13))
        + "><channel/></rss>"
    ).encode(),
    "attributes of many tags": lambda size: rss(
        "".join(
            "<x " + " ".join(f"a{tag}.{number}='1'" for number in range(900)) + "/>"
            for tag in range(size // 11_000)
        )
    ),
    "attributes of XHTML": lambda size: atom(
        "<content type='xhtml'><div "
        + " ".join(f"a{number}='1'" for number in range(size // 11))
        + ">x</div></content>"
    ),
    "names of elements": lambda size: rss("".join(f"<x{number}/>" for number in range(size // 9))),
    "names of prefixes": lambda size: rss(
        "".join(f"<x xmlns:p{number}='u'/>" for number in range(size // 22))
    ),
    "instructions": lambda size: rss("".join(f"<?p{number} x?>" for number in range(size // 12))),
    "names of entities": lambda size: (
        b"<!DOCTYPE rss ["
        + b"".join(b"<!ENTITY e%d 'x'>" % number for number in range(size // 20))
        + b"]>"
        + rss("")
    ),
    "declared attributes": lambda size: (
        b"<!DOCTYPE rss [<!ATTLIST item "
        + b" ".join(b"a%d CDATA '1'" % number for number in range(size // 16))
        + b">]>"
        + rss("")
    ),
    "bases": lambda size: rss("<x xml:base='abcdefgh/'>" * (size // 30) + "</x>" * (size // 30)),
    "dates": lambda size: rss(f"<pubDate>{'Mon, ' * (size // 5)}</pubDate>"),
    "loose quotes": lambda size: loose('<a "', size),
    "loose comments": lambda size: loose("<!--", size),
    "loose declarations": lambda size: loose("<!DOCTYPE a [", size),
    "loose instructions": lambda size: loose("<?", size),
    "loose depth": lambda size: loose("<b>", size),
    "loose ampersands": lambda size: loose("&#", size),
    "long number": lambda size: rss("", title=escape("&#" + "9" * size)),
}


def endless(size: int = 9_000_000) -> bytes:
    """Return a document that takes at least half a minute, because of feedparser's work per tag."""
    return loose("<b>", size)
