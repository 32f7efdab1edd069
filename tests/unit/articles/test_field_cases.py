"""Cases from public bug reports of similar tools, rebuilt with the expected result.

More of them are in the tables of test_pictures, test_prose, test_categories, test_graphemes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from newsletter.articles import markup, parse
from newsletter.articles.item import ParsedArticle
from newsletter.articles.pictures import Picture
from newsletter.errors import FeedError

CASES = Path(__file__).parents[2] / "samples" / "cases"


def read(name: str, url: str = "") -> list[ParsedArticle]:
    return list(parse.parse((CASES / f"{name}.xml").read_bytes(), url=url).items)


def test_a_hidden_pixel_is_no_picture() -> None:
    [fog] = read("hidden-pixel")

    assert (fog.image, fog.standfirst) == (None, "Fog on the quay.")


def test_a_smiley_is_no_picture() -> None:
    [fog] = read("smiley-picture")

    assert (fog.image, fog.standfirst) == (None, "Fog again")


def test_the_authors_avatar_is_not_the_posts_picture() -> None:
    [gulls] = read("gravatar-picture")

    assert gulls.image is not None
    assert gulls.image.url == "https://site.example/gulls.jpg"


def test_the_picture_in_the_text_beats_a_small_thumbnail() -> None:
    [gates] = read("small-thumbnail")

    assert gates.image == Picture("https://site.example/s600/gates.jpg", 600, 450)


def test_a_picture_that_loads_late_beats_its_placeholder() -> None:
    [lazy] = read("lazy-placeholder")

    assert lazy.image == Picture("https://site.example/real.jpg")


@pytest.mark.parametrize("url", ["https://site.example/feed.xml", "https://cdn.example/f/1", ""])
def test_a_relative_picture_starts_at_the_items_page(url: str) -> None:
    [skiff] = read("relative-image", url)

    assert skiff.image == Picture("https://site.example/posts/skiff/cover.jpg")


def test_neither_heading_nor_caption_opens_the_standfirst() -> None:
    [tide] = read("caption-first")

    assert tide.standfirst == "The harbour empties twice a day."
    assert tide.image == Picture("https://site.example/a.jpg")


def test_the_fallback_of_a_video_does_not_open_the_standfirst() -> None:
    [film] = read("video-fallback")

    assert film.standfirst == "The film shows the dock."


def test_a_german_engines_closing_line_goes_with_the_mark_before_it() -> None:
    [crane] = read("yoast-german")

    assert crane.standfirst == "Der Kran hebt achtzig Tonnen."


def test_a_sentence_that_begins_with_read_more_stays() -> None:
    books, prize = read("read-more-text")

    assert books.standfirst == "Read more books in 2026: our editors pick ten."
    assert prize.standfirst == (
        "The library has a plan. Read more than ten books and you win a prize."
    )


def test_drupals_title_author_and_date_are_not_the_text() -> None:
    [road] = read("drupal-default")

    assert (road.title, road.standfirst) == ("Road closed", "Harbour Road is closed.")


def test_a_tag_without_its_pair_in_a_title_is_text() -> None:
    [why] = read("tag-in-title")

    assert why.title == "Why <b> is not <strong>"


def test_an_emoji_newer_than_pythons_tables_stays() -> None:
    [tired] = read("new-emoji")

    assert tired.title == "Tired \U0001fae9 today"


def test_the_engines_default_category_is_no_label() -> None:
    [fog] = read("uncategorized")

    assert fog.categories == ()


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Why <i> beats <em>", "Why <i> beats <em>"),
        ("The <br> element", "The <br> element"),
        ("<img> needs alt", "<img> needs alt"),
        ("</b> without a beginning", "</b> without a beginning"),
        ("<p>An open paragraph", "<p>An open paragraph"),
        ("<b>Bold</b> and <u>", "Bold and <u>"),
        ("One<br>Two<br/>Three", "One Two Three"),
        ("<em>All</em> of <a href='https://a.example/'>it</a>", "All of it"),
        ("a < b > c", "a < b > c"),
        ("Vec<T> or <T>", "Vec<T> or <T>"),
        ("Generics: List<i>", "Generics: List<i>"),
    ],
)
def test_unpaired_tags_of_a_title_are_text_and_pairs_are_markup(title: str, shown: str) -> None:
    assert markup.plain(title) == shown


@pytest.mark.parametrize(
    "point", ["\U0001fae9", "\U0001fadf", "\U0001faea", "\U0001f6d8", "\U0001facd"]
)
def test_what_is_not_assigned_yet_stays(point: str) -> None:
    body = f"<rss><channel><item><title>a {point} b</title><link>https://a.example/</link></item>"

    [article] = parse.parse(f"{body}</channel></rss>".encode()).items

    assert article.title == f"a {point} b"


ALTERNATES = {
    "en": "https://a.example/en/1",
    "de": "https://a.example/de/1",
    "fr": "https://a.example/fr/1",
    "pt-BR": "https://a.example/pt/1",
}


@pytest.mark.parametrize(
    ("language", "page"),
    [("en", "en"), ("de", "de"), ("de-AT", "de"), ("fr", "fr"), ("pt-br", "pt-BR"), ("pt", "pt-BR"),
     ("EN_us", "en"), ("", "en"), ("ja", "en")],
)  # fmt: skip
def test_of_an_entrys_pages_the_one_in_the_feeds_language_is_linked(
    language: str, page: str
) -> None:
    links = "".join(
        f"<link rel='alternate' type='text/html' hreflang='{lang}' href='{href}'/>"
        for lang, href in ALTERNATES.items()
    )
    body = (
        f"<feed xmlns='http://www.w3.org/2005/Atom' xml:lang='{language}'><title>T</title>"
        f"<entry><title>T</title><id>1</id>{links}</entry></feed>"
    )

    [article] = parse.parse(body.encode()).items

    assert article.link == ALTERNATES[page]


def test_of_an_entrys_pages_one_without_a_language_beats_a_foreign_one() -> None:
    body = (
        "<feed xmlns='http://www.w3.org/2005/Atom' xml:lang='ja'><title>T</title><entry>"
        "<title>T</title><link rel='alternate' href='https://a.example/1'/>"
        "<link rel='alternate' hreflang='en' href='https://a.example/en/1'/></entry></feed>"
    )

    [article] = parse.parse(body.encode()).items

    assert article.link == "https://a.example/1"


@pytest.mark.parametrize(
    ("language", "offered"),
    [("en", "en"), ("de", "de"), ("de-CH", "de"), ("fr", "fr"), ("it", "en"), ("", "en")],
)
def test_of_a_pages_feeds_the_one_in_the_pages_language_is_named(
    language: str, offered: str
) -> None:
    links = "".join(
        f'<link rel="alternate" type="application/rss+xml" hreflang="{lang}" href="/{lang}.xml">'
        for lang in ("en", "de", "fr")
    )
    page = f'<html class="x" lang="{language}"><head>{links}</head><body>Words</body></html>'

    with pytest.raises(FeedError) as caught:
        parse.parse(page.encode(), url="https://a.example/")

    assert caught.value.hint == f"That page offers a feed: https://a.example/{offered}.xml"


@pytest.mark.parametrize(
    ("attributes", "picture"),
    [
        ("", "https://site.example/posts/a/cover.jpg"),
        ("xml:base='https://cdn.example/x/'", "https://cdn.example/x/cover.jpg"),
        ("xml:base='/y/'", "https://feeds.example/y/cover.jpg"),
    ],
)
def test_an_explicit_base_is_where_a_relative_picture_starts(attributes: str, picture: str) -> None:
    body = (
        "<feed xmlns='http://www.w3.org/2005/Atom'><title>T</title><entry><title>T</title>"
        "<link href='https://site.example/posts/a/'/><content type='html' "
        f"{attributes}>&lt;img src='cover.jpg'&gt;</content></entry></feed>"
    )

    [article] = parse.parse(body.encode(), url="https://feeds.example/f").items

    assert article.image == Picture(picture)


def test_a_relative_picture_beside_the_text_starts_at_the_items_page_too() -> None:
    body = (
        "<rss><channel><title>T</title><link>https://site.example/</link><item><title>T</title>"
        "<link>/posts/a/</link><enclosure url='cover.jpg' type='image/png'/></item></channel></rss>"
    )

    [article] = parse.parse(body.encode()).items

    assert article.link == "https://site.example/posts/a/"
    assert article.image == Picture("https://site.example/posts/a/cover.jpg")
