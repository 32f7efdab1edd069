"""An edition's note: Markdown in, harmless HTML and readable text out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import InvalidInput
from newsletter.graphemes import columns
from newsletter.rendering import note
from newsletter.rendering.plaintext import COLUMNS, Notes

_TAGS = re.compile(r"<(/?)([a-z0-9]+)([^<>]*)>")
_ALLOWED = {
    "p", "br", "strong", "em", "a", "ul", "ol", "li", "blockquote", "code", "h2",
}  # fmt: skip


def plain(markdown: str) -> str:
    return note.plain(markdown, Notes())


def bare(html: str) -> str:
    """Return HTML without attributes that are the layout's own."""
    return re.sub(r' (?:class|style|dir)="[^"]*"', "", html)


@pytest.mark.parametrize(
    ("markdown", "html", "text"),
    [
        ("Dear *all*,", "<p>Dear <em>all</em>,</p>", "Dear all,"),
        ("One\n\nTwo", "<p>One</p>\n<p>Two</p>", "One\n\nTwo"),
        ("One  \nTwo", "<p>One<br>\nTwo</p>", "One\nTwo"),
        (
            "[Here](https://a.example/?a=1&b=2)!",
            '<p><a href="https://a.example/?a=1&amp;b=2">Here</a>!</p>',
            "Here [1]!",
        ),
        ("<https://a.example/>", '<p><a href="https://a.example/">https://a.example/</a></p>',
         "https://a.example/"),
        ("<mia@a.example>", '<p><a href="mailto:mia@a.example">mia@a.example</a></p>',
         "mia@a.example"),
        ("# Big\nText", "<h2>Big</h2>\n<p>Text</p>", "Big\n\nText"),
        ("- a\n- b\n\nc", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>c</p>", "- a\n- b\n\nc"),
        ("1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>", "1. a\n2. b"),
        ("- a\n  - b\n- c",
         "<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n<li>c</li>\n</ul>", "- a\n  - b\n- c"),
        ("> a\n\nb", "<blockquote>\n<p>a</p>\n</blockquote>\n<p>b</p>", "> a\n\nb"),
        ("Mia\n---", "<p>Mia\n---</p>", "Mia ---"),
        ("5 < 6 & 7", "<p>5 &lt; 6 &amp; 7</p>", "5 < 6 & 7"),
    ],
)  # fmt: skip
def test_markdown_is_html_in_one_part_and_text_in_the_other(
    markdown: str, html: str, text: str
) -> None:
    assert bare(note.html(markdown)) == html
    assert plain(markdown) == text


@pytest.mark.parametrize(
    "hostile",
    [
        "a <script>alert(1)</script> b",
        "a <img src=https://t.example/p.gif onerror=alert(1)> b",
        "a ![](https://t.example/p.gif) b",
        "a ![](data:image/png;base64,AAAA) b",
        "a <style>*{display:none}</style> b",
        "a <iframe src=https://t.example></iframe> b",
        '<p style="position:fixed" onclick="alert(1)">a</p> b',
        "<svg><script>alert(1)</script></svg> a b",
        '<base href="https://t.example/"> a b',
        "<!-- hidden --> a b",
    ],
)
def test_nothing_of_a_note_acts_or_fetches(hostile: str) -> None:
    html = note.html(hostile)

    assert {name for _, name, _ in _TAGS.findall(html)} <= _ALLOWED
    for gone in ("alert", "t.example", "onclick", "position", "display", "data:", "hidden"):
        assert gone not in html + plain(hostile)
    assert "a" in plain(hostile)


@pytest.mark.parametrize("scheme", ["javascript:alert(1)", "data:text/html,x", "file:///etc", "/x"])
def test_links_lead_to_the_web_or_to_a_mailbox_only(scheme: str) -> None:
    for markdown in (f"[a]({scheme})", f'<a href="{scheme}">a</a>'):
        assert "href" not in note.html(markdown)
        assert "[1]" not in plain(markdown)


def test_a_picture_is_its_words() -> None:
    markdown = 'See ![a "graph" <b>](https://a.example/g.png).'

    assert bare(note.html(markdown)) == '<p>See a "graph" &lt;b&gt;.</p>'
    assert plain(markdown) == 'See a "graph" <b>.'


def test_its_links_are_numbered_with_those_of_the_stories() -> None:
    notes = Notes()
    notes.number("https://a.example/story")

    text = note.plain("[a](https://a.example/story) [b](https://b.example/)", notes)

    assert text == "a [1] b [2]"
    assert list(notes) == [(1, "https://a.example/story"), (2, "https://b.example/")]


@pytest.mark.parametrize(
    "words",
    [
        *("", "  \n ", "\n\n", "<script>alert(1)</script>", "<!-- a -->", "#"),
        *("\u200b", "\ufeff\u2060\n\u00ad", "&#8203;", "&nbsp;", "\u3000", "\u200f"),
        *("[](https://a.example/)", "[\u200b](https://a.example/)", "![](https://a.example/a.gif)"),
    ],
)
def test_a_note_that_says_nothing_is_refused(words: str) -> None:
    with pytest.raises(InvalidInput, match="says nothing"):
        note.check(words)


@pytest.mark.parametrize(
    "character", ["\0", "\x1b", "\x85", "\u2028", "\u202e", "\u2066", "\udc80"]
)
def test_a_control_character_is_refused_by_its_name(character: str) -> None:
    with pytest.raises(InvalidInput, match="control character"):
        note.check(f"Dear {character} all")


def test_a_note_has_so_many_characters_and_no_more() -> None:
    assert note.check("a" * note.LONGEST)
    with pytest.raises(InvalidInput, match="5,000"):
        note.check("a" * (note.LONGEST + 1))


@pytest.mark.parametrize("heavy", ["- a\n" * 1_200, "a\n\n" * 1_200, "[a](http://a) " * 350])
def test_a_note_that_would_crowd_out_the_mail_is_refused(heavy: str) -> None:
    with pytest.raises(InvalidInput, match="too large"):
        note.check(heavy)


@pytest.mark.parametrize("letter", ["a", "ü", "ก", "🎈"])
def test_a_note_of_as_many_letters_as_there_may_be_fits_whatever_its_script(letter: str) -> None:
    assert note.check(letter * note.LONGEST)


@pytest.mark.parametrize("deep", ["<blockquote>" * 300 + "a b", ">" * 2_000 + "a b"])
def test_quotations_within_quotations_are_not_indented_for_ever(deep: str) -> None:
    assert all(columns(line) <= COLUMNS for line in plain(deep).split("\n"))


def test_line_ends_and_tabs_are_what_markdown_takes_them_for() -> None:
    assert note.check(" a\r\nb\t c \r\n") == "a\nb     c"


@given(st.text(st.sampled_from("ab \n*_[]()<>!#-+`>1.&\"'/:hx\\"), max_size=200))
def test_any_note_is_two_parts_that_are_whole(markdown: str) -> None:
    html = note.html(markdown)

    assert {name for _, name, _ in _TAGS.findall(html)} <= _ALLOWED
    opened = [name for end, name, _ in _TAGS.findall(html) if not end and name != "br"]
    closed = [name for end, name, _ in _TAGS.findall(html) if end]
    assert sorted(opened) == sorted(closed)
    for line in plain(markdown).split("\n"):
        assert columns(line) <= COLUMNS or "http" in line or line.startswith(">")


def test_what_a_note_consists_of_looks_as_the_mail_does() -> None:
    found = note.html("Dear *all*, see [here](https://a.example/):\n\n- a\n\n# H\n\n> q\n\n1. b")

    for tag in ("p", "li", "blockquote", "h2", "a"):
        assert re.search(rf"<{tag} [^>]*class=\"[a-z ]+\"", found), tag
    for tag in ("p", "ul", "ol", "blockquote", "h2"):
        assert re.search(rf"<{tag} [^>]*style=\"[^\"]+\"", found), tag


def test_a_link_that_leads_nowhere_in_a_mail_is_its_words() -> None:
    found = note.html("See [the page](/x), [that](#y) and [this](https://a.example/).")

    assert bare(found) == '<p>See the page, that and <a href="https://a.example/">this</a>.</p>'
