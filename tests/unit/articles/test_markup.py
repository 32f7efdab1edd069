"""Reading untrusted HTML."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.articles import markup, prose
from newsletter.articles.pictures import Picture, pixels
from newsletter.articles.prose import About

_PIECES = st.sampled_from(
    ["<", ">", "</", "<a href=", "<img src=", "'", '"', "<!--", "-->", "<![CDATA[", "<script>",
     "</script>", "<style", "<div>", "<table>", "&lt;", "&#x202e;", "&#0;", "&#xD800;", "&",
     "javascript:x", "https://a.example/i.png", "text", " ", "\x00", "Source: ", "<svg onload=x>"]
)  # fmt: skip


def test_blocks_are_words_apart_and_inline_tags_are_not() -> None:
    found = markup.read("<div><p>One.</p><p>T<b>w</b>o</p></div>three<br>four<ul><li>five</ul>")

    assert found.text == "One. Two three four five"


def test_scripts_styles_and_comments_are_not_read() -> None:
    html = "a<script>x</script>b<style>y</style><!-- z -->c<script src='q'></script>"

    assert markup.read(html).text.replace(" ", "") == "abc"


def test_entities_are_decoded_once() -> None:
    assert markup.read("5 &lt; 6 &amp;amp; 7&nbsp;8 &#8211;").text == "5 < 6 &amp; 7 8 –"


def test_a_tag_made_of_entities_stays_text() -> None:
    assert markup.read("&lt;script&gt;alert(1)&lt;/script&gt;").text == "<script>alert(1)</script>"


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_any_html_is_read(html: str) -> None:
    found = markup.read(html, "https://base.example/")

    assert "\x00" not in found.text
    assert all(one.url.startswith(("http://", "https://")) for one in found.pictures)
    prose.own(found.blocks, About("Source: text", "x", "https://a.example/1"))
    prose.source(found.blocks)
    markup.plain(html)


def test_deep_nesting_is_read_in_linear_time() -> None:
    # A parser that keeps a stack of them would take minutes.
    assert markup.read("<div><b>" * 30_000 + "deep").text == "deep"


def test_the_first_picture_is_found_and_its_address_completed() -> None:
    html = '<p>x</p><img src="/a.jpg" alt=" A  &quot;nice&quot; one" width="640" height="480px">'

    found = markup.read(html + '<img src="/b.jpg">', "https://example.com/feed")

    assert found.pictures[0] == Picture("https://example.com/a.jpg", 640, 480, 'A "nice" one')


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="https://stats.example/p.gif" width="1" height="1">',
        '<img src="data:image/png;base64,AAAA">',
        '<img src="javascript:alert(1)">',
        "<img>",
    ],
)
def test_pixels_and_pictures_without_a_web_address_are_passed_over(tag: str) -> None:
    found = markup.read(tag + '<img src="https://example.com/real.jpg">')

    assert found.pictures == (Picture("https://example.com/real.jpg"),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("AT&amp;T <b>wins</b>", "AT&T wins"),
        ("5 < 6 and 7 > 2", "5 < 6 and 7 > 2"),
        ("if a<b then c", "if a<b then c"),
        ("<unknown> stays", "<unknown> stays"),
        ("Q&A", "Q&A"),
    ],
)
def test_a_plain_field_loses_markup_but_no_mathematics(value: str, expected: str) -> None:
    assert markup.plain(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("640", 640), (" 48px", 48), ("0", 0), ("1.5", 1), ("100%", None), ("-3", None),
     ("99999", None), (None, None), ("٣", None)],
)  # fmt: skip
def test_a_size_is_a_number_of_pixels(value: object, expected: int | None) -> None:
    assert pixels(value) == expected


@given(st.text(st.characters(exclude_characters="<&", exclude_categories=["Cs"]), max_size=60))
@settings(deadline=None)
def test_a_text_without_markup_reads_as_its_paragraph_would(text: str) -> None:
    assert markup.read(text).text == markup.read(f"<p>{text}</p>").text
