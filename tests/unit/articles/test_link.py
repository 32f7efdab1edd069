"""Canonical links."""

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
        ("HTTPS://EXAMPLE.com:443/a", "https://example.com/a"),
        ("Http://example.com:80/a", "http://example.com/a"),
        ("http://example.com:443/a", "http://example.com:443/a"),
        ("https://example.com/a?gad_source=1&gad_campaignid=2", "https://example.com/a"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://example.com/a#part", "https://example.com/a#part"),
        ("https://example.com/a#", "https://example.com/a"),
        ("https://example.com/#!/a b", "https://example.com/#!/a%20b"),
        ("https://example.com/a#xtor=RSS-1", "https://example.com/a"),
        ("https://example.com/a?source=rss-aa11------2", "https://example.com/a"),
        ("https://example.com/a?source=rss------tides-5&b", "https://example.com/a?b"),
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
def test_a_link_has_one_canonical_form(text: str, expected: str) -> None:
    assert link.canonical(text) == expected


@pytest.mark.parametrize(
    "query",
    ["id=7", "campaign_id=7", "rss_id=7", "pk_id=7", "at_id=7", "source=wire", "ref=7", "p=7&sid=2",
     "spm=7", "utm=7", "stm_id=1"],
)  # fmt: skip
def test_a_parameter_that_may_identify_the_page_stays(query: str) -> None:
    assert link.canonical(f"https://example.com/a?{query}") == f"https://example.com/a?{query}"


def test_tracking_stays_where_it_is_wanted() -> None:
    tracked = "https://example.com/a?utm_source=x#utm_medium=y"

    assert link.canonical(tracked, strip_tracking=False) == tracked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://xn--yt8h.la/p", "https://xn--yt8h.la/p"),
        ("https://\U0001f4a9.la/p", "https://xn--ls8h.la/p"),
        ("https://i\u2764\ufe0f.ws/", "https://xn--i-7iqv272g.ws/"),
        ("https://xn--a.example/", "https://xn--a.example/"),
        ("https://fa\xdf.example/", "https://xn--fa-hia.example/"),
        ("https://-a-.example/", "https://-a-.example/"),
        ("https://a_b.example/", "https://a_b.example/"),
        ("https://EXAMPLE\u3002com/", "https://example.com/"),
        ("https://exam\u200bple.com/a", "https://example.com/a"),
        ("\ufeffhttps://example.com/a\u200b", "https://example.com/a"),
        ("\u2066https://example.com/a\u2069", "https://example.com/a"),
        ("https://example.com/a\u200bb", "https://example.com/a%E2%80%8Bb"),
        (
            "https://example.com/\u0645\u06cc\u200c\u062e",
            "https://example.com/%D9%85%DB%8C%E2%80%8C%D8%AE",
        ),
        ("https://example.com/\ud83d", "https://example.com/%EF%BF%BD"),
        ("https://exa\nmple.com/a\x00b", "https://example.com/ab"),
    ],
)
def test_no_odd_host_or_hidden_character_costs_the_link(text: str, expected: str) -> None:
    assert link.canonical(text) == expected
    assert link.canonical(expected) == expected
    assert link.host(text)


def test_an_invalid_base_loses_relative_links_only() -> None:
    assert link.canonical("https://example.com/a", "http://[") == "https://example.com/a"
    assert link.canonical("/a", "http://[") is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://a.example/x", "https://a.example/x?utm_source=d&utm_medium=email"),
        (
            "https://a.example/x?id=7#v3",
            "https://a.example/x?id=7&utm_source=d&utm_medium=email#v3",
        ),
        ("https://a.example/?UTM_source=old", "https://a.example/?utm_source=d&utm_medium=email"),
    ],
)
def test_parameters_of_ones_own_stand_before_the_fragment_and_once(
    address: str, expected: str
) -> None:
    assert link.with_parameters(address, "utm_source=d&utm_medium=email") == expected
    assert link.with_parameters(address, "") == address


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\nscript:alert(1)",
        "java\u200bscript:alert(1)",
        "\u200bjavascript:alert(1)",
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
    assert link.canonical("../c?x#y", "https://example.com/a/b") == "https://example.com/c?x#y"
    assert link.canonical("//other.example/c", "https://example.com") == "https://other.example/c"
    assert link.canonical("javascript:alert(1)", "https://example.com/") is None


def test_a_picture_keeps_its_query() -> None:
    signed = "https://img.example/a.jpg?utm_source=cdn&sig=1"

    assert link.image(signed + "#x") == signed


def test_a_host_is_named_for_people() -> None:
    assert link.host("https://www.example.com/a") == "example.com"
    assert link.host("https://xn--bcher-kva.example/") == "bücher.example"
    assert link.host("nonsense") is None


def test_a_host_that_is_no_idna_is_shown_as_it_stands() -> None:
    assert link.host("https://xn--yt8h.la/p") == "xn--yt8h.la"
    assert link.host("https://www.xn--a.example/") == "xn--a.example"


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
def test_canonical_is_idempotent(text: str) -> None:
    found = link.canonical(text)

    assert found is None or link.canonical(found) == found
    assert found is None or (found.isascii() and found.isprintable() and " " not in found)
