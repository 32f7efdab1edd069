"""The cost of hostile documents, measured by counting work instead of time."""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from collections import Counter
from typing import Any

import feedparser.mixin
import hostile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from newsletter.articles import bounded, json_feed, markup, parse, text
from newsletter.errors import FeedError


class Work:
    """Counts the input of the parts that are slow or need more than linear time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.elements = 0
        self.attributes = 0
        self.fields: Counter[str] = Counter()
        self.compared = 0
        self.namespaces = 0
        self.base = 0
        self.marks = 0
        self.markup: list[str] = []
        self._patch = monkeypatch
        mixin = feedparser.mixin._FeedParserMixin
        begin = bounded._Buffered.start_element_ns
        pop, start, add = mixin.pop, mixin.unknown_starttag, mixin._add_tag

        def count_pop(parser: Any, element: str, strip_whitespace: int = 1) -> object:
            if parser.elementstack and parser.elementstack[-1][0] == element:
                size = sum(map(len, parser.elementstack[-1][2]))
                self.fields[element] = max(self.fields[element], size)
            return pop(parser, element, strip_whitespace)

        def count_start(parser: Any, tag: str, attributes: list[tuple[str, str]]) -> None:
            self.elements += 1
            self.namespaces = max(self.namespaces, len(parser.namespaces_in_use))
            start(parser, tag, attributes)
            self.base = max(self.base, len(parser.baseuri))

        def count_attributes(parser: Any, name: str, attributes: dict[str, str]) -> None:
            self.attributes = max(self.attributes, len(attributes))
            begin(parser, name, attributes)

        def count_add(parser: Any, *values: str | None) -> object:
            self.compared += len(parser._get_context().get("tags", ()))
            return add(parser, *values)

        def normalize(form: str, value: str) -> str:
            runs = re.findall("[\u0300-\u0345]+", value)
            self.marks = max([self.marks, *map(len, runs)])
            return unicodedata.normalize(form, value)  # type: ignore[arg-type]

        def fromstring(html: bytes, parser: Any) -> Any:
            self.markup.append(html.decode())
            return etree.fromstring(html, parser)

        monkeypatch.setattr(mixin, "pop", count_pop)
        monkeypatch.setattr(mixin, "unknown_starttag", count_start)
        monkeypatch.setattr(mixin, "_add_tag", count_add)
        monkeypatch.setattr(bounded._Buffered, "start_element_ns", count_attributes)
        monkeypatch.setattr(text, "unicodedata", _With(unicodedata, normalize=normalize))
        monkeypatch.setattr(markup, "etree", _With(etree, fromstring=fromstring))

    def of(self, body: bytes) -> Work:
        with contextlib.suppress(FeedError):
            parse.parse(body, url="https://a.example/feed")
        return self


class _With:
    """A module with some names replaced."""

    def __init__(self, module: object, **names: object) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> object:
        return getattr(self._module, name)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


@pytest.mark.parametrize("kind", ["items", "entries", "items without an end"])
def test_items_are_counted_while_they_are_built(kind: str, work: Work) -> None:
    body = hostile.KINDS[kind](200_000)

    found, left_out = bounded.read(body, content_type="", url="")

    assert len(found["entries"]) == bounded.MAX_ITEMS
    assert left_out == len(re.findall(b"<(?:item|entry)", body)) - bounded.MAX_ITEMS
    assert work.elements <= bounded.MAX_ITEMS + 3


def test_items_of_json_are_counted_while_they_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0

    class Decoder(json.JSONDecoder):
        def raw_decode(self, s: str, idx: int = 0) -> tuple[object, int]:
            nonlocal decoded
            decoded += 1
            return super().raw_decode(s, idx)

    monkeypatch.setattr(json_feed, "_DECODER", Decoder())
    with pytest.MonkeyPatch.context() as patch:
        # Nothing else may read it whole either.
        patch.setattr(json, "loads", None)
        title, _, items, left_out = json_feed.read(hostile.KINDS["json"](400_000), "")

    assert (title, len(items), left_out) == ("T", 5_000, 95_000)
    assert decoded <= 100_010


@pytest.mark.parametrize("kind", sorted(hostile.KINDS))
def test_twice_the_size_is_at_most_twice_the_work(kind: str, work: Work) -> None:
    for size in (30_000, 60_000):
        work.of(hostile.KINDS[kind](size))

    # None of these grows with the document: they bound the work of each expression and list.
    caps = {name: bounded._CAPS.get(name, bounded.MAX_VALUE) for name in work.fields}
    assert {name: size for name, size in work.fields.items() if size > caps[name]} == {}
    assert work.namespaces <= 100
    # expat compares each name with those before, so it gets few.
    assert work.attributes <= 150
    assert work.base <= 2_100
    assert work.marks <= 30
    assert work.compared <= 50 * max(work.elements, 12_000)
    # A tag's attributes are compared with each other, so the tree gets few at a time.
    tags = re.findall(r"<[a-z][^<>]*", "".join(work.markup), re.IGNORECASE)
    assert max((len(re.split(r"[\s/=]+", one)) for one in tags), default=0) <= 110
    # It is read at most twice: a second time if it is nested too deep.
    assert sum(map(len, work.markup)) <= 2 * 2 * 5 * 90_000


@pytest.mark.parametrize(
    "kind",
    [
        "newlines before rss",
        "newlines in a comment",
        "newlines behind a declaration",
        "newlines in UTF-16",
        "encodings",
        "encodings behind",
        "doctypes",
        "entities",
    ],
)
def test_the_text_before_the_first_element_is_shortened(kind: str) -> None:
    body = hostile.KINDS[kind](200_000)

    prepared = bounded.prepare(body, "")

    # feedparser searches each line together with all that follows.
    assert prepared.index(b"<rss") <= 20_100
    assert b"\n\n" not in prepared[: prepared.index(b"<rss")]
    assert [one.title for one in parse.parse(body).items] == ["T"]


@pytest.mark.parametrize("label", ["", "text/xml", "application/rss+xml; charset=punycode"])
def test_a_slow_codec_is_ignored(label: str) -> None:
    [article] = parse.parse(hostile.KINDS["punycode"](40_000), content_type=label).items

    assert article.title.startswith("a-b9a-b9")


def test_a_feed_behind_white_space_keeps_its_declaration() -> None:
    body = '\n\n <?xml version="1.0" encoding="iso-8859-1"?><rss><channel><item><title>é</title>'
    end = "<link>https://a.example/</link></item></channel></rss>"

    [article] = parse.parse((body + end).encode("iso-8859-1")).items

    assert article.title == "é"


def test_a_tag_with_too_many_attributes_keeps_the_first() -> None:
    def tag(count: int) -> bytes:
        return b"<x " + b" ".join(b"a%d = '>%d'" % (n, n) for n in range(count)) + b"/>"

    kept = b"<rss>" + tag(150) * 2 + b"<y a='1'/>"

    assert bounded.prepare(kept, "").endswith(kept)
    assert bounded.prepare(kept.replace(tag(150), tag(151)), "").endswith(kept)


def test_a_link_tag_is_looked_at_one_at_a_time() -> None:
    tags = parse._LINK.findall(hostile.KINDS["page"](200_000) + hostile.KINDS["pages"](200_000))

    assert max(map(len, tags), default=0) <= 2_010


@given(st.lists(st.sampled_from(["<ul", "<a", "<img", ">", '"', "'", "=", " ", "x", "</ul", "<!--",
                                 "<script", "<", "é"]), max_size=40))  # fmt: skip
@settings(deadline=None)
def test_no_incomplete_tag_is_passed_to_the_tree(pieces: list[str]) -> None:
    harmless = markup._harmless("".join(pieces))

    assert not re.search("<[a-z][^>]*$", harmless)


@pytest.mark.parametrize(
    "opening",
    ["<div>", "<b>", "<div><b>", "<li><p><td>", "<ul><li>", "<font>", "<table><tr><td>",
     "<p><span>", "<x-y>", "<div></x>"],
)  # fmt: skip
@pytest.mark.parametrize("times", [300, 10_000])
def test_a_text_is_read_however_deep_it_is_nested(opening: str, times: int) -> None:
    found = markup.read(opening * times + "deep <i>down</i>, and <p>the rest")

    assert found.text == "deep down, and the rest"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="<&>\r")))
def test_every_letter_comes_back_from_the_tree(letters: str) -> None:
    found = markup.read(f'<a href="https://a.example/">{letters}</a>x<img src=/i.png>').text

    assert found == text.clean(f"{letters}x")


def test_each_letter_of_a_text_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    lookup = unicodedata.category

    def category(letter: str) -> str:
        looked.append(letter)
        return lookup(letter)

    monkeypatch.setattr("newsletter.articles.text.unicodedata.category", category)

    assert text.clean("\u200dé\x07" * 10_000) == "\u200dé" * 10_000
    assert len(looked) == 3


def test_an_unpaired_quote_is_no_part_of_the_text() -> None:
    assert markup.read('<ul "><li>One</ul>').text == "One"
    assert markup.read('<p title="a > b">Two <b>three</b></p>').text == "Two three"
    assert markup.read("1 < 2 and <b c <i>3</i>").text == "1 < 2 and <b c 3"


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("desk@example.com (The desk)", "The desk"),
        ("The desk <desk@example.com>", "The desk"),
        ("Jo (@jo)", "Jo (@jo"),
        ("@jo", "@jo"),
        ("desk@example.com", ""),
    ],
)
def test_an_author_is_named_without_the_address(author: str, expected: str) -> None:
    assert parse._without_addresses(author) == expected


def test_an_invalid_character_reference_loses_one_character_only() -> None:
    for size in (9, 5_000):
        well_formed = hostile.rss("", title=f"a &amp;#{'9' * size}; b")
        [article] = parse.parse(well_formed).items
        assert article.title == "a \ufffd b"

        [article] = parse.parse(well_formed.replace(b"&amp;#", b"&#")).items
        assert article.title.startswith("a")


@given(st.text("a\u0301\u0316\u05b0 é", max_size=80))
@settings(deadline=None)
def test_letters_keep_their_marks_up_to_thirty(value: str) -> None:
    cleaned = text.clean(value)

    if not re.search(r"[\u0301\u0316\u05b0]{30}", unicodedata.normalize("NFD", value)):
        assert cleaned == unicodedata.normalize("NFC", " ".join(value.split()))
    assert text.clean(cleaned) == cleaned
