"""Feeds in the forms that real engines give them, each with the digest that comes of it.

The feeds are made for this project. Digests of five languages are among them: Arabic is written
from right to left, Japanese and Thai without spaces between words.
"""

from __future__ import annotations

import runpy
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

from newsletter.articles import ingest, parse
from newsletter.articles.item import ParsedFeed
from newsletter.cadences import SendTimes
from newsletter.editions import assemble
from newsletter.models import Article
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import Brand, DigestContent

SAMPLES = Path(__file__).parents[2] / "samples"
GOLDEN = Path(__file__).parent / "golden"
DIGESTS = SimpleNamespace(**runpy.run_path(str(SAMPLES / "digests.py")))

#: The dialects and their languages.
LANGUAGES = {
    "wordpress": "de",
    "ghost": "en",
    "substack": "es",
    "medium": "en",
    "blogger": "ar",
    "drupal": "fr",
    "hugo": "ja",
    "jekyll": "en",
    "mastodon": "en",
    "youtube": "th",
    "discourse": "en",
    "podcast": "en",
}


def read(dialect: str) -> ParsedFeed:
    body = (SAMPLES / "dialects" / f"{dialect}.xml").read_bytes()
    return parse.parse(body, url=f"https://{dialect}.example/feed")


@cache
def digest(dialect: str) -> Rendered:
    """The weekly digest of a publication that has this feed alone."""
    feed = read(dialect)
    stories = tuple(
        assemble.story(Article(link=one.link, **ingest._content(one)), SendTimes())
        for one in feed.items
    )
    content = DigestContent(
        cadence="weekly",
        period_on=date(2026, 11, 30),
        covers_from=date(2026, 11, 23),
        covers_to=date(2026, 11, 29),
        stories=stories,
        next_on=date(2026, 12, 7),
    )
    brand: Brand = replace(
        DIGESTS.BRAND,
        name=feed.title,
        tagline="",
        site_url=feed.site_url or "https://site.example/",
        language=LANGUAGES[dialect],
    )
    rendered: Rendered = DIGESTS.render(content, brand)
    return rendered


@pytest.mark.parametrize("dialect", LANGUAGES)
@pytest.mark.parametrize("part", ["html", "txt"])
def test_a_dialects_digest_is_the_golden_one(dialect: str, part: str) -> None:
    """Written anew when the file is missing; look at the difference before it is kept."""
    rendered = digest(dialect)
    found = rendered.html if part == "html" else rendered.text
    golden = GOLDEN / f"{dialect}.{part}"

    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(found, "utf-8")
        pytest.fail(f"{golden} was missing and has been written.")
    assert found == golden.read_text("utf-8")


@pytest.mark.parametrize("dialect", LANGUAGES)
def test_every_item_of_a_dialect_is_an_article_with_words_of_its_own(dialect: str) -> None:
    feed = read(dialect)

    assert feed.dropped == 0
    for one in feed.items:
        assert one.title
        assert one.standfirst
        assert one.standfirst != one.title
        assert not any(sign in one.title + one.standfirst for sign in ("<p", "</", "&#", "[…]"))


@pytest.mark.parametrize("dialect", LANGUAGES)
def test_of_a_dialects_pictures_the_articles_own_stands_above_it(dialect: str) -> None:
    image = read(dialect).items[0].image

    assert image is not None
    assert (
        image.url
        == {
            "wordpress": "https://hafenblog.example/wp-content/uploads/2026/11/kran.jpg",
            "ghost": "https://slowdesk.example/content/images/2026/11/room.jpg",
            "substack": "https://cdn.example/image/fetch/w_1456,c_limit,f_auto/faro.jpeg",
            "medium": "https://cdn-images-1.medium.com/max/1024/1*tap.jpeg",
            "blogger": "https://img.example/b/s640/boats.jpg",
            "drupal": "https://mairie.example/sites/default/files/inline-images/passerelle.jpg",
            "hugo": "https://minato.example/posts/kiteki/kiri.jpg",
            "jekyll": "https://tools.example/assets/diff.png",
            "mastodon": "https://files.social.example/media_attachments/files/115/original/posts.jpg",
            "youtube": "https://i2.ytimg.com/vi/aa11bb22cc3/hqdefault.jpg",
            "discourse": "https://forum.example/uploads/optimized/2X/d/deck_2_1380x920.jpeg",
            "podcast": "https://img.podhost.example/tideline/41.jpg",
        }[dialect]
    )
