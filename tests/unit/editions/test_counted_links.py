from __future__ import annotations

import html
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.editions import counted_links
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.tokens import CountedLink

EDITION = "weekly-2026-11-23"
TARGETS = [
    "https://miasfeed.example/articles/uv-tracking-sun-protection",
    "http://old.example/?a=1&b=2#part",
    "https://xn--bcher-kva.example/%E2%82%AC",
    f"https://long.example/{'a' * 1_980}",
]


@pytest.fixture
def publication(settings: Callable[..., Settings]) -> Publication:
    return Publication.of(settings(base_url="https://news.miasfeed.example/letters"))


def of(publication: Publication, url: str) -> str:
    return counted_links.of(publication, CountedLink(EDITION, 17, url))


@pytest.mark.parametrize("target", TARGETS)
def test_a_page_gets_its_direct_links_back(publication: Publication, target: str) -> None:
    def page(url: str) -> str:
        shown = html.escape(url)
        return f'<p><a class="ink" href="{shown}">One</a> {shown} <a href=\'{shown}\'>two</a></p>'

    counted = page(of(publication, target))

    assert counted != page(target)
    assert counted_links.direct(counted) == page(target)


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "https://b\u00fccher.example/", "https://a.example/\nX: y"]
)
def test_what_is_no_link_of_the_web_is_not_signed(publication: Publication, url: str) -> None:
    assert of(publication, url) == url


@given(st.text() | st.from_regex(r"https?://[a-z./]{1,9}/read/[\w.-]{1,60}"))
def test_no_other_text_breaks_a_page(page: str) -> None:
    assert isinstance(counted_links.direct(page), str)


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://miasfeed.example/read/about.the.news">',
        '<a href="https://news.miasfeed.example/view/abc.def">',
    ],
)
def test_other_links_stay(page: str) -> None:
    assert counted_links.direct(page) == page


def test_no_blocker_of_advertisements_knows_the_path(publication: Publication) -> None:
    url = of(publication, "https://miasfeed.example/1")

    for word in ("click", "track", "stats", "analytics", "ads", "redirect", "count"):
        assert word not in url.partition(EDITION)[0]


def test_a_link_of_usual_length_stays_short(publication: Publication) -> None:
    """Outlook breaks longer ones in plain text; the own link has 61 characters."""
    assert len(of(publication, TARGETS[0])) < 180
