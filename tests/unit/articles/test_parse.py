"""Feeds of all formats, valid and malformed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import feedparser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from newsletter.articles import parse
from newsletter.articles.item import ParsedArticle, ParsedFeed
from newsletter.articles.pictures import Picture
from newsletter.errors import FeedError

SAMPLES = Path(__file__).parents[2] / "samples" / "feeds"
URL = "https://base.example/feed"


def read(name: str) -> ParsedFeed:
    return parse.parse((SAMPLES / name).read_bytes(), url=URL)


def rss(item: str, *, channel: str = "<title>T</title>") -> ParsedFeed:
    head = '<rss version="2.0" xmlns:c="http://purl.org/rss/1.0/modules/content/">'
    return parse.parse(f"{head}<channel>{channel}{item}</channel></rss>".encode(), url=URL)


def only(item: str) -> ParsedArticle:
    [article] = rss(f"<item><title>T</title><link>https://a.example/1</link>{item}</item>").items
    return article


def test_the_sample_feed_is_read_whole() -> None:
    feed = read("mias-feed.rss.xml")

    assert (feed.title, feed.site_url) == ("Mia's Feed", "https://miasfeed.example/")
    assert len(feed.items) == 5
    first = feed.items[0]
    assert first.guid == "miasfeed:tumor-immune-cell-clusters-breast-cancer-metastasis"
    assert first.standfirst.startswith("New studies reveal how tumor-immune cell clusters")
    assert (first.minutes, first.source, first.categories) == (
        2,
        "medicalxpress.com",
        ("Oncology",),
    )
    assert first.published_at == datetime(2025, 9, 1, 14, 20, tzinfo=UTC)
    assert [one.minutes for one in feed.items[1:]] == [1, 1, 1, 1]


def test_rss_091_has_neither_guids_nor_dates() -> None:
    first, second = read("rss-0.91.xml").items

    assert first.title == "Why café workers sleep badly"
    assert (first.guid, first.published_at) == (None, None)
    assert second.link == "http://clinic.example/notes/handrails"


def test_rdf_is_read_with_its_dublin_core() -> None:
    first, second = read("rss-1.0.rdf").items

    assert (first.author, first.source, first.categories) == (
        "Ada Brandt",
        "registry.example",
        ("Rehabilitation",),
    )
    assert second.published_at == datetime(2026, 11, 17, 4, tzinfo=UTC)


def test_a_blog_is_read_without_its_tracking_and_its_footer() -> None:
    salt, steps = read("rss-2.0-blog.xml").items

    assert salt.title == "Salt – how much is too much?"
    assert salt.link == "https://plain.example/2026/11/salt/"
    assert salt.standfirst == "Five grams a day is a teaspoon. Most of it is in bread."
    assert salt.image == Picture(
        "https://plain.example/media/salt.jpg", 1200, 800, "A teaspoon of salt"
    )
    assert salt.categories == ("Nutrition", "Heart")
    assert steps.author == "The desk"
    assert steps.source == "Walkers' Weekly"
    assert steps.image == Picture("https://plain.example/media/steps.png")


def test_captions_of_pictures_are_neither_title_nor_standfirst() -> None:
    night, alarm, beds = read("rss-2.0-media.xml").items

    assert night.title == "What the night shift eats"
    assert night.standfirst == "Rice at three in the morning beats cake, say those who tried both."
    assert night.image == Picture(
        "https://radio.example/i/large.jpg", 1280, 720, "Two nurses at a desk"
    )
    assert alarm.image == Picture("https://radio.example/i/alarm.png")
    assert beds.image == Picture("https://radio.example/i/beds.jpg", 640, 360)


_MEDIA = (
    '<media:content url="https://a.example/{0}.jpg" medium="image" width="{1}">{2}</media:content>'
)


@pytest.mark.parametrize(
    ("media", "name", "alt"),
    [
        (
            _MEDIA.format("small", 300, "<media:title>Small</media:title>")
            + _MEDIA.format("wide", 900, "<media:title>Wide</media:title>")
            + _MEDIA.format("middle", 500, "<media:title>Middle</media:title>"),
            "wide",
            "Wide",
        ),
        (
            _MEDIA.format("wide", 900, "<media:description>Wide</media:description>")
            + _MEDIA.format("small", 300, "<media:description>Small</media:description>"),
            "wide",
            "Wide",
        ),
        (
            _MEDIA.format("wide", 900, "")
            + _MEDIA.format("small", 300, "<media:title>Small</media:title>"),
            "wide",
            None,
        ),
        (
            "<media:group><media:title>Both</media:title>"
            + _MEDIA.format("small", 300, "")
            + _MEDIA.format("wide", 900, "")
            + "</media:group>",
            "wide",
            "Both",
        ),
        (
            _MEDIA.format("wide", 900, "<media:title>Wide</media:title>")
            + '<media:thumbnail url="https://a.example/t.jpg" width="72"/>',
            "wide",
            "Wide",
        ),
    ],
)
def test_a_picture_has_its_own_caption_or_that_of_its_group(
    media: str, name: str, alt: str | None
) -> None:
    space = 'xmlns:media="http://search.yahoo.com/mrss/"'
    article = only(f"<description>It is.</description><x {space}>{media}</x>")

    assert article.image is not None
    assert (article.image.url, article.image.alt) == (f"https://a.example/{name}.jpg", alt)


@pytest.mark.parametrize(
    "named",
    [
        '<enclosure url="https://a.example/p.jpg" length="0"/>',
        "<image><url>https://a.example/p.jpg</url><title>Logo</title></image>",
    ],
)
def test_a_picture_without_a_type_is_one_by_its_name(named: str) -> None:
    article = only(named)

    assert article.image == Picture("https://a.example/p.jpg")
    assert (article.title, article.link) == ("T", "https://a.example/1")


def test_atom_is_read_with_its_base_its_types_and_its_authors() -> None:
    feed = read("atom-1.0.xml")
    value, placebo = feed.items

    assert (feed.title, feed.site_url) == ("Lab & Life", "https://lab.example/blog/")
    assert value.title == "When p < 0.05 means little"
    assert value.link == "https://lab.example/blog/p-value"
    assert value.image == Picture("https://lab.example/blog/plot.png", 700, 400, "A plot")
    assert (value.author, value.categories) == ("Iben Holm", ("Statistics",))
    assert value.published_at == datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert placebo.title == "The other placebo"
    assert (placebo.author, placebo.source) == ("Guest Writer", "Elsewhere Review")


def test_json_feed_11_is_read() -> None:
    feed = read("json-feed-1.1.json")
    schools, filters = feed.items

    assert (feed.title, feed.site_url, feed.dropped) == ("Clear Air", "https://air.example/", 1)
    assert schools.link == "https://air.example/schools#top"
    assert schools.image == Picture("https://air.example/img/class.jpg")
    assert (schools.author, schools.categories) == ("Noor Haddad", ("Schools", "Air"))
    assert schools.published_at == datetime(2026, 11, 19, 7, tzinfo=UTC)
    assert (filters.guid, filters.link) == ("2", "https://base.example/filters")
    assert filters.title == "Filters in buses caught <half> of the dust."
    assert filters.author == "The Clear Air desk"


def test_json_feed_10_is_read() -> None:
    [story] = read("json-feed-1.0.json").items

    assert (story.link, story.author) == ("https://other.example/story", "Desk")


def test_a_web_page_is_no_feed_but_may_name_one() -> None:
    with pytest.raises(FeedError, match="not a feed") as caught:
        read("page.html")

    assert caught.value.hint == "That page offers a feed: https://base.example/feed.xml"


@pytest.mark.parametrize(
    "body", [b"", b" ", b"hello", b"<a>", b"{}", b"{", b'{"items": 1}', b"[" * 99_999, b"\x00\xff"]
)
def test_what_is_no_feed_is_refused(body: bytes) -> None:
    with pytest.raises(FeedError):
        parse.parse(body)
    with pytest.raises(FeedError):
        parse.parse(body, content_type="application/json")


def test_a_feed_without_items_is_a_feed() -> None:
    assert rss("").items == ()


def test_trap_11_bytes_that_name_a_file_do_not_open_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_bytes((SAMPLES / "mias-feed.rss.xml").read_bytes())
    # feedparser itself opens the file, even for bytes.
    assert len(feedparser.parse(str(secret).encode()).entries) == 5

    with pytest.raises(FeedError, match="not a feed"):
        parse.parse(str(secret).encode())


def test_trap_11_bytes_that_name_a_url_do_not_fetch_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)

    with pytest.raises(FeedError, match="not a feed"):
        parse.parse(b"http://127.0.0.1/feed.xml")


def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    body = (
        f'<!DOCTYPE rss [<!ENTITY x SYSTEM "file://{secret}">]><rss version="2.0"><channel>'
        "<title>T</title><item><title>a &x; b</title><link>https://a.example/</link></item>"
        "</channel></rss>"
    )

    feed = parse.parse(body.encode())

    assert "hunter2" not in repr(feed)


def test_entities_that_multiply_are_not_expanded() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    body = (
        f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY e0 "lol">{levels}]><rss version="2.0">'
        "<channel><title>T</title><item><title>a &e9;</title><link>https://a.example/</link>"
        "</item></channel></rss>"
    )

    assert len(repr(parse.parse(body.encode()))) < 10_000


@pytest.mark.parametrize(
    "date",
    ["Mon, 99 Foo 2025", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "1970-01-01",
     "-1", "yesterday", "", "20261399", "99999999999999", "Thu, 01 Jan 99999 00:00:00 GMT"],
)  # fmt: skip
def test_a_nonsense_date_is_no_date_and_no_crash(date: str) -> None:
    for name in ("pubDate", "dc:date"):
        found = only(f"<{name}>{date}</{name}>").published_at

        assert found is None or found.year in {1999, 9999, 2026}


def test_a_nonsense_first_date_leaves_the_second() -> None:
    head = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>T</title>'
    body = (
        f"{head}<link href='https://a.example/'/><published>never</published>"
        "<updated>2026-11-20T10:00:00Z</updated></entry></feed>"
    )

    [article] = parse.parse(body.encode()).items

    assert article.published_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


def test_an_item_without_a_link_has_its_permalink_guid() -> None:
    [article] = rss("<item><title>T</title><guid>https://a.example/9</guid></item>").items

    assert (article.link, article.guid) == ("https://a.example/9", "https://a.example/9")


def test_an_item_without_a_title_is_called_by_its_first_words() -> None:
    summary = "A long sentence that goes on " * 8
    [article] = rss(
        f"<item><link>https://a.example/</link><description>{summary}</description></item>"
    ).items

    assert article.title.startswith("A long sentence")
    assert len(article.title) <= 100
    assert article.standfirst.startswith("A long sentence")


@pytest.mark.parametrize(
    "item",
    [
        "<title>No link</title>",
        "<title>No web link</title><link>javascript:alert(1)</link>",
        "<link>https://a.example/nothing-to-show</link>",
    ],
)
def test_an_item_without_link_or_words_is_dropped_and_counted(item: str) -> None:
    feed = rss(f"<item>{item}</item><item><title>T</title><link>https://a.example/</link></item>")

    assert (len(feed.items), feed.dropped) == (1, 1)


def test_a_standfirst_is_never_the_whole_article() -> None:
    sentence = "The first sentence says what it is about. "
    content = f"&lt;p&gt;{sentence}{'And it goes on. ' * 100}&lt;/p&gt;"

    assert only(f"<c:encoded>{content}</c:encoded>").standfirst == sentence.strip()
    assert len(only(f"<description>{content}</description>").standfirst) <= 300


def test_a_title_is_cut_cleaned_and_unescaped() -> None:
    long = "word " * 300
    [article] = rss(
        f"<item><title>AT&amp;amp;T\u202e &lt;b&gt;{long}&lt;/b&gt;</title>"
        "<link>https://a.example/</link></item>"
    ).items

    assert article.title.startswith("AT&T word")
    assert len(article.title) <= 500


def test_a_guid_too_long_for_an_index_is_hashed() -> None:
    first = only(f"<guid isPermaLink='false'>{'x' * 9_000}1</guid>").guid
    second = only(f"<guid isPermaLink='false'>{'x' * 9_000}2</guid>").guid

    assert first is not None
    assert len(first) < 100
    assert first != second


def test_the_content_hash_is_of_what_a_reader_sees() -> None:
    article = only("<description>Words</description><guid isPermaLink='false'>1</guid>")

    same = only("<description>Words</description><guid isPermaLink='false'>2</guid>")
    edited = only("<description>Other words</description><guid isPermaLink='false'>1</guid>")

    assert article.content_hash == same.content_hash
    assert article.content_hash != edited.content_hash


def test_five_thousand_items_are_enough() -> None:
    items = [{"id": n, "url": f"https://a.example/{n}", "title": "T"} for n in range(5_010)]

    feed = parse.parse(json.dumps({"items": items}).encode())

    assert (len(feed.items), feed.dropped) == (5_000, 10)


@pytest.mark.parametrize(
    ("item", "link"),
    [
        (
            '<enclosure url="https://pod.example/456.mp3" type="audio/mpeg"/><guid>P</guid>',
            "https://pod.example/456.mp3",
        ),
        ('<enclosure url="/456.mp3"/><guid>Pod-456</guid>', "https://feeds.example/456.mp3"),
        ('<enclosure url="https://a.example/i.png" type="image/png"/>', "https://site.example/"),
        ('<enclosure url="" type="audio/mpeg"/>', "https://site.example/"),
        ("<guid>Pod-456</guid>", "https://site.example/"),
        ("<guid>https://a.example/p</guid>", "https://a.example/p"),
        ("<link></link>", "https://site.example/"),
        ("<link>mailto:a@a.example</link>", "https://site.example/"),
        (f"<link>https://a.example/{'x' * 2_000}</link>", "https://site.example/"),
    ],
)
def test_an_item_without_a_link_links_its_recording_or_the_feeds_site(item: str, link: str) -> None:
    [article] = parse.parse(
        b'<rss version="2.0"><channel><title>T</title><link>https://site.example/</link>'
        b"<item><title>Tides</title>" + item.encode() + b"</item></channel></rss>",
        url="https://feeds.example/rss",
    ).items

    assert article.link == link


def test_an_item_of_json_without_a_link_links_its_attachment_or_the_feeds_site() -> None:
    feed = {
        "title": "T",
        "home_page_url": "https://site.example/",
        "items": [
            {"id": "1", "title": "A", "attachments": [{"url": "https://pod.example/1.mp3"}]},
            {"id": "2", "title": "B", "attachments": [{"url": 7}, 8]},
        ],
    }

    links = [one.link for one in parse.parse(json.dumps(feed).encode()).items]

    assert links == ["https://pod.example/1.mp3", "https://site.example/"]


def test_relative_links_of_a_feed_from_a_file_start_at_its_site() -> None:
    [article] = parse.parse(
        b'<rss version="2.0"><channel><link>https://site.example/blog/</link>'
        b"<item><title>A</title><link>a</link></item></channel></rss>"
    ).items

    assert article.link == "https://site.example/blog/a"


def test_an_unusual_host_loses_no_item() -> None:
    feed = parse.parse(
        "<rss version='2.0'><channel><link>https://xn--yt8h.la/</link>"
        "<image><url>https://\U0001f4a9.la/i.png</url></image>"
        "<item><title>A</title><link>https://\U0001f4a9.la/a</link></item>"
        "<item><title>B</title><link>https://b.example/</link><description>&lt;p&gt;Well said. "
        "Source: &lt;a href='https://xn--yt8h.la/p'&gt;link&lt;/a&gt;</description></item>"
        "<item><title>C</title><link>https://c.example/</link>"
        "<source url='https://xn--yt8h.la/'></source></item></channel></rss>".encode()
    )

    assert [one.link for one in feed.items] == [
        "https://xn--ls8h.la/a", "https://b.example/", "https://c.example/",
    ]  # fmt: skip
    assert [one.source for one in feed.items] == [None, "xn--yt8h.la", "xn--yt8h.la"]


_RSS = (
    "{declaration}<rss version='2.0'><channel><title>Caf\xe9</title><item><title>{title}</title>"
    "<link>https://a.example/</link></item></channel></rss>"
)


@pytest.mark.parametrize(
    ("broken", "read"),
    [
        (b"gek\xc3\xbcrzt \xc3", "gek\xfcrzt \ufffd"),
        (b"\xe2\x82 5", "\ufffd 5"),
        (b"\xff 5", "\ufffd 5"),
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"it\x92s", "it\ufffds"),
        (b"a\x00b\x0bc\x1bd", "abcd"),
        (b"a\xef\xbf\xbfb", "ab"),
        (b"a&#0;b&#x1F;c&#11;d", "abcd"),
    ],
)
@pytest.mark.parametrize("declaration", ["<?xml version='1.0' encoding='UTF-8'?>", ""])
@pytest.mark.parametrize("label", ["", "text/xml", "application/rss+xml; charset=utf-8"])
def test_one_invalid_octet_loses_one_character(
    broken: bytes, read: str, declaration: str, label: str
) -> None:
    body = _RSS.format(declaration=declaration, title="TITLE").encode().replace(b"TITLE", broken)

    feed = parse.parse(body, content_type=label)

    assert (feed.title, feed.items[0].title) == ("Caf\xe9", read)


def test_a_cut_character_among_letters_of_ascii_is_no_latin() -> None:
    declared = b"<?xml version='1.0' encoding='utf-8'?>"

    def title(octets: bytes) -> str:
        channel = b"<rss version='2.0'><channel><title>" + octets + b"</title></channel></rss>"
        return parse.parse(declared + channel).title

    assert title(b"caf\xc3") == "caf\ufffd"
    assert title(b"wait\xe2\x80") == "wait\ufffd"
    # A document of Latin-1 with another label is read too.
    assert title(b"caf\xe9 cr\xe8me") == "caf\xe9 cr\xe8me"


@pytest.mark.parametrize("label", ["text/xml; charset=iso-8859-1", "text/xml; charset=us-ascii"])
@pytest.mark.parametrize("declared", ["", "utf-8", "iso-8859-1"])
def test_a_document_that_decodes_as_utf_8_is_utf_8_whatever_its_label(
    label: str, declared: str
) -> None:
    declaration = f"<?xml version='1.0' encoding='{declared}'?>" if declared else ""
    body = _RSS.format(declaration=declaration, title="K\xf6nig").encode()

    assert parse.parse(body, content_type=label).items[0].title == "K\xf6nig"


def _many(count: int, *, kind: str = "rss", is_dated: bool = True, text: str = "") -> bytes:
    """A feed with the oldest item first."""
    start = datetime(2000, 1, 1, tzinfo=UTC)
    days = [(n, start + timedelta(days=n) if is_dated else None) for n in range(count)]
    if kind == "json":
        items = [
            {"id": str(n), "url": f"https://a.example/{n}", "title": f"T{n}"}
            | ({"date_published": day.isoformat()} if day else {})
            for n, day in days
        ]
        return json.dumps({"items": items}).encode()
    if kind == "atom":
        entries = "".join(
            f"<entry><title>T{n}</title><id>{n}</id><link href='https://a.example/{n}'/>"
            f"{f'<published>{day.isoformat()}</published>' if day else ''}{text}</entry>"
            for n, day in days
        )
        return (
            f"<feed xmlns='http://www.w3.org/2005/Atom'><title>T</title>{entries}</feed>".encode()
        )
    items = "".join(
        f"<item><title>T{n}</title><link>https://a.example/{n}</link>"
        f"{f'<pubDate>{format_datetime(day)}</pubDate>' if day else ''}{text}</item>"
        for n, day in days
    )
    return f"<rss version='2.0'><channel><title>T</title>{items}</channel></rss>".encode()


@pytest.mark.parametrize("kind", ["rss", "atom", "json"])
def test_of_too_many_items_the_newest_are_read_wherever_they_stand(kind: str) -> None:
    feed = parse.parse(_many(5_010, kind=kind))

    assert (len(feed.items), feed.dropped) == (5_000, 10)
    assert [feed.items[0].title, feed.items[-1].title] == ["T10", "T5009"]


@pytest.mark.parametrize(
    "kind", ["rss", *(pytest.param(kind, marks=pytest.mark.torture) for kind in ("atom", "json"))]
)
def test_of_too_many_items_without_dates_those_that_stand_first_are_read(kind: str) -> None:
    feed = parse.parse(_many(5_010, kind=kind, is_dated=False))

    assert (len(feed.items), feed.dropped) == (5_000, 10)
    assert [feed.items[0].title, feed.items[-1].title] == ["T0", "T4999"]


def test_items_that_are_quoted_in_a_text_are_not_counted() -> None:
    quoted = "<description><![CDATA[Write <item> and <entry>.]]></description><!-- <item> -->"

    feed = parse.parse(_many(2_600, text=quoted))

    assert (len(feed.items), feed.dropped) == (2_600, 0)
    assert feed.items[0].standfirst.startswith("Write")
    assert len(parse.parse(_many(5_010, text=quoted)).items) == 5_000


def test_a_broken_document_gives_the_items_before_the_break() -> None:
    body = (SAMPLES / "mias-feed.rss.xml").read_bytes()

    feed = parse.parse(body[: body.index(b"<item>", body.index(b"Legionnaires"))])

    assert len(feed.items) >= 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_a_feed_may_be_in_any_encoding(encoding: str) -> None:
    body = (
        f'<?xml version="1.0" encoding="{encoding}"?><rss version="2.0"><channel><title>É</title>'
        "<item><title>Déjà vu</title><link>https://a.example/</link></item></channel></rss>"
    )

    [article] = parse.parse(body.encode(encoding)).items

    assert article.title == "Déjà vu"


def _check(feed: ParsedFeed) -> None:
    for one in feed.items:
        assert one.title
        assert len(one.title) <= 500
        assert len(one.standfirst) <= 300
        assert one.link.startswith(("http://", "https://"))
        assert one.minutes >= 1
        assert one.published_at is None or one.published_at.tzinfo is UTC
        repr(one).encode()
        assert len(one.content_hash) == 64


def _survives(body: bytes, content_type: str) -> None:
    with contextlib.suppress(FeedError):
        _check(parse.parse(body, content_type=content_type, url=URL))


_SAMPLES = [path.read_bytes() for path in sorted(SAMPLES.iterdir()) if path.suffix != ".pem"]
_TYPES = st.sampled_from(
    ["", "text/xml", "application/rss+xml; charset=utf-16", "text/html; charset=nonsense",
     "application/json", "text/plain; charset=\xff"]
)  # fmt: skip
_fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(st.binary(max_size=300), _TYPES)
@_fuzz
def test_any_bytes_are_a_feed_or_refused(body: bytes, content_type: str) -> None:
    _survives(body, content_type)


@given(
    st.sampled_from(_SAMPLES),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 40)), max_size=6),
    _TYPES,
)
@_fuzz
def test_damaged_feeds_are_read_or_refused(
    body: bytes, wounds: list[tuple[float, bytes, int]], content_type: str
) -> None:
    for where, what, gone in wounds:
        at = int(where * len(body))
        body = body[:at] + what + body[at + gone :]

    _survives(body, content_type)


_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
_KEYS = ["id", "url", "external_url", "title", "summary", "content_html", "content_text", "image",
         "authors", "author", "tags", "date_published"]  # fmt: skip


@given(
    st.fixed_dictionaries(
        {"items": st.lists(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=8))},
        optional={"title": _VALUES, "authors": _VALUES, "home_page_url": _VALUES},
    )
)
@_fuzz
def test_json_of_any_types_is_read(feed: dict[str, object]) -> None:
    _check(parse.parse(json.dumps(feed).encode(), url=URL))


_FIELDS: list[Callable[[str], str]] = [
    lambda value, name=name: f"<{name}>{value}</{name}>"  # type: ignore[misc]
    for name in ("title", "link", "guid", "pubDate", "description", "author", "category", "source",
                 "c:encoded", "media:content", "dc:date", "enclosure", "itunes:image")
]  # fmt: skip


@given(
    st.lists(st.tuples(st.sampled_from(_FIELDS), st.text(max_size=20)), max_size=12),
    st.booleans(),
)
@_fuzz
def test_rss_of_any_fields_is_read(
    fields: list[tuple[Callable[[str], str], str]], is_escaped: bool
) -> None:
    inner = "".join(
        make(text.replace("&", "&amp;").replace("<", "&lt;") if is_escaped else text)
        for make, text in fields
    )

    body = f'<rss version="2.0"><channel><item>{inner}</item></channel></rss>'

    _survives(body.encode("utf-8", "surrogatepass"), "text/xml")
