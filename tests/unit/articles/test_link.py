"""One spelling of every link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.articles import link


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://Example.COM/Path", "https://example.com/Path"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com?a=1", "https://example.com/?a=1"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://example.com/a#part", "https://example.com/a"),
        ("https://example.com/a?utm_source=x&id=7&UTM_Medium=y", "https://example.com/a?id=7"),
        ("https://example.com/a?fbclid=x", "https://example.com/a"),
        ("https://example.com/a?b=%26&c", "https://example.com/a?b=%26&c"),
        ("https://user:secret@example.com/a", "https://example.com/a"),
        ("https://example.com./a", "https://example.com/a"),
        ("https://bücher.example/ä b", "https://xn--bcher-kva.example/%C3%A4%20b"),
        ("  https://example.com/a\n", "https://example.com/a"),
        ("https://example.com/a%2Fb", "https://example.com/a%2Fb"),
        ("http://[2001:DB8::1]/a", "http://[2001:db8::1]/a"),
    ],
)
def test_a_link_has_one_spelling(text: str, expected: str) -> None:
    assert link.canonical(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "mailto:a@example.com",
        "//example.com/a",
        "/a",
        "a",
        "",
        "http://",
        "http:///a",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://a\u202eb.example/\u202e",
        "https://example.com/" + "a" * 2_000,
    ],
)
def test_what_is_no_absolute_web_address_is_no_link(text: str) -> None:
    assert link.canonical(text) is None


def test_a_relative_link_starts_at_its_base() -> None:
    assert link.canonical("../c?x#y", "https://example.com/a/b") == "https://example.com/c?x"
    assert link.canonical("//other.example/c", "https://example.com") == "https://other.example/c"
    assert link.canonical("javascript:alert(1)", "https://example.com/") is None


def test_a_picture_keeps_its_query() -> None:
    signed = "https://img.example/a.jpg?utm_source=cdn&sig=1"

    assert link.image(signed + "#x") == signed


def test_a_host_is_named_for_people() -> None:
    assert link.host("https://www.example.com/a") == "example.com"
    assert link.host("https://xn--bcher-kva.example/") == "bücher.example"
    assert link.host("nonsense") is None


@given(st.text(), st.sampled_from(["", "https://example.com/a/"]))
def test_any_text_is_a_link_or_none(text: str, base: str) -> None:
    found = link.canonical(text, base)

    assert found is None or found.startswith(("http://", "https://"))


@given(
    st.from_regex(
        r"https?://[a-z0-9é.-]{1,12}(:[0-9]{1,5})?(/[a-z%0-9.;@é]{0,5}){0,3}(\?[a-z=&_%é]{0,9})?",
        fullmatch=True,
    )
)
def test_the_one_spelling_is_spelled_that_way_itself(text: str) -> None:
    found = link.canonical(text)

    assert found is None or link.canonical(found) == found
    assert found is None or (found.isascii() and found.isprintable() and " " not in found)
