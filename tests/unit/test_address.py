from __future__ import annotations

import re

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter import address
from newsletter.errors import InvalidAddress

TEXTS = st.sampled_from(
    ["ann@x.org", "Ann@X.org", "bob+1@mail.example", " cy@x.org", "d..e@x.org", "o'neil@x.org"]
) | st.from_regex(r"[A-Za-z.@-]{0,12}@[a-zA-Z.-]{1,8}(?:\.org)?", fullmatch=True)
CONTROLS = [*map(chr, range(32)), "\x7f", *map(chr, range(0x80, 0xA1)), "\u2028", "\u2029"]


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("ann@example.org", "ann@example.org"),
        (" Ann.Lee@Example.ORG\r\n", "ann.lee@example.org"),
        ("ann+news@example.org", "ann+news@example.org"),
        ("o'neil@example.org", "o'neil@example.org"),
        ("=ann@example.org", "=ann@example.org"),
        ("a@mail.test", "a@mail.test"),
        (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
    ],
)
def test_an_address_has_one_spelling(text: str, spelled: str) -> None:
    assert address.normalise(text) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "jorg@bücher.example",
        "JORG@BÜCHER.EXAMPLE",
        "jorg@xn--bcher-kva.example",
        "jorg@XN--BCHER-KVA.example",
        "jorg@bu\u0308cher.example",
        "jorg@bücher\u3002example",
    ],
)
def test_a_domain_is_written_in_a_labels(text: str) -> None:
    assert address.normalise(text) == "jorg@xn--bcher-kva.example"


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
@pytest.mark.parametrize("place", ["a{}b@example.org", "ab@exam{}ple.org", "ab{}@example.org"])
def test_a_control_character_never_reaches_a_header(control: str, place: str) -> None:
    with pytest.raises(InvalidAddress):
        address.normalise(place.format(control))


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.org\r\nBcc: eve@example.org",
        "ann@example.org\nRCPT TO:<eve@example.org>",
        "ann@example.org\u2028eve@example.org",
        "ann@example.org>\x00",
    ],
)
def test_an_address_smuggles_no_second_line(text: str) -> None:
    with pytest.raises(InvalidAddress):
        address.normalise(text)


@pytest.mark.parametrize(
    "text",
    [
        "u@=?utf-8?q?evil=2Ecom?=",
        "<u@=?utf-8?q?evil=2Ecom?=>",
        "=?utf-8?q?ann?=@example.org",
        "=?utf-8?b?YW5u?=@example.org",
    ],
)
def test_an_encoded_word_is_refused_before_it_becomes_another_recipient(text: str) -> None:
    with pytest.raises(InvalidAddress, match="encoded-word"):
        address.normalise(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "ann",
        "@example.org",
        "ann@",
        "ann@localhost",
        "ann@example..org",
        "ann@example.org.",
        "ann@-example.org",
        "ann@exa_mple.org",
        "ann@example.123",
        "ann@example.invalid",
        "ann@[127.0.0.1]",
        "ann@xn--a.example",
        "ann@\u2100.org",
        ".ann@example.org",
        "ann.@example.org",
        "a..nn@example.org",
        "ann@lee@example.org",
        "ann,lee@example.org",
        '"ann"@example.org',
        '"ann lee"@example.org',
        "Ann <ann@example.org>",
        "<ann@example.org>",
        "ann\u200b@example.org",
        "ann\u202e@example.org",
        "\ufeffann@example.org",
        "ann@exam\u00adple.org",
        "ann\uff20example.org",
        "ann\ud800@example.org",
    ],
    ids=ascii,
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        address.normalise(text)


def test_a_refusal_quotes_the_address_as_it_was_given() -> None:
    with pytest.raises(InvalidAddress, match=re.escape("'ann@exa_mple.org'")):
        address.normalise("ann@exa_mple.org")


@pytest.mark.parametrize(
    "text",
    [
        f"{'a' * 65}@example.org",
        f"{'ü' * 33}@example.org",
        f"{'a' * 64}@{'.'.join(['b' * 60] * 4)}.org",
        f"a@{'b' * 64}.org",
        f"{'a' * 1_000_000}@example.org",
    ],
    ids=["local part", "local part in octets", "whole", "label", "a million"],
)
def test_an_address_too_long_for_smtp_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(InvalidAddress) as raised:
        address.normalise(text)

    assert len(raised.value.message) < 400


@given(st.text(max_size=80))
@example("\u212aelvin@example.org")
@example("\u0130@example.org")
@example("a@\u1e9e.org")
def test_any_text_is_spelled_or_refused_and_nothing_else(text: str) -> None:
    try:
        spelled = address.normalise(text)
    except InvalidAddress:
        return

    _check_spelling(spelled)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    st.text(st.characters(codec="utf-8", categories=["L", "N", "M"]), min_size=1, max_size=12),
)
def test_a_spelling_is_its_own_spelling(local: str, label: str) -> None:
    try:
        spelled = address.normalise(f"{local}@{label}.example")
    except InvalidAddress:
        return

    _check_spelling(spelled)


@given(st.lists(st.text(max_size=12) | TEXTS, max_size=6, unique=True))
@example(["Ann@X.org", "a\nb@x.org", "bob@x.org"])
@example(["ann@x.org", "", "bob@x.invalid", f"{'a' * 60}@x.org", "\u212a@x.org", "bob@\u212a.org"])
def test_a_column_of_addresses_is_spelled_as_each_of_them(texts: list[str]) -> None:
    found = address.normalise_plain(texts)

    assert found == {text: address.normalise(text) for text in found}
    if all("\n" not in text and text.endswith("@x.org") for text in texts):
        assert {"ann@x.org"} & set(texts) <= found.keys()


def test_a_stranger_sees_an_address_masked() -> None:
    assert address.masked("ann.lee@example.org") == "a…@example.org"


def _check_spelling(spelled: str) -> None:
    assert address.normalise(spelled) == spelled
    assert spelled == spelled.strip()
    assert not set(spelled) & set(CONTROLS)
    assert "=?" not in spelled
    assert spelled.rpartition("@")[2].isascii()
    assert len(spelled.encode()) <= 254


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann+1@example.org", "ann+2@example.org"),
        ("ann@example.org", "ann+news+more@example.org"),
        ("a.nn@gmail.com", "ann+x@googlemail.com"),
        ("ann-box@yahoo.com", "ann-else@yahoo.com"),
        ("ann@yahoo.co.uk", "ann-news@yahoo.co.uk"),
        ("ann.lee@proton.me", "ann_lee+x@pm.me"),
        ("ann@me.com", "ann+x@icloud.com"),
        ("ann.lee@ya.ru", "ann-lee@yandex.com"),
    ],
)
def test_subaddresses_lead_to_one_mailbox(one: str, other: str) -> None:
    assert address.mailbox(one) == address.mailbox(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@example.org", "bob@example.org"),
        ("ann@example.org", "ann@example.net"),
        ("ann.lee@example.org", "annlee@example.org"),
        ("ann-lee@example.org", "ann@example.org"),
        ("ann@yahoo.com", "ann@yahoo.de"),
        ("+ann@example.org", "+bob@example.org"),
        ("ann@gmail.com", "ann@gmail.com.example.org"),
    ],
)
def test_mailboxes_of_two_people_stay_two(one: str, other: str) -> None:
    assert address.mailbox(one) != address.mailbox(other)


@given(st.emails())
def test_every_address_has_a_mailbox_that_is_its_own_mailbox(text: str) -> None:
    try:
        spelled = address.normalise(text)
    except InvalidAddress:
        return
    found = address.mailbox(spelled)
    local, at, domain = found.rpartition("@")
    assert at
    assert local
    assert domain
    assert address.mailbox(found) == found


@given(st.from_regex(r"[a-z0-9-]{1,12}(?:\.[a-z0-9-]{1,8}){0,3}(?:\.org)?", fullmatch=True))
@example("a--b.org")
@example("ab--c.org")
@example("xn--mnchen-3ya.de")
@example("mail.localhost")
@example("x.invalid")
@example("4.org")
@example("x.org1")
@example(f"{'a' * 63}.org")
@example(f"{'a' * 64}.org")
@example(f"{'a.' * 118}org")
def test_a_domain_is_valid_if_and_only_if_the_validator_says_so(domain: str) -> None:
    try:
        expected = validate_email(
            f"reader@{domain}", check_deliverability=False, test_environment=True
        ).ascii_domain
    except EmailNotValidError:
        expected = None

    try:
        found = address.normalise(f"reader@{domain}").rpartition("@")[2]
    except InvalidAddress:
        found = None

    assert found == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Ann Lee <ann@example.org>", "ann@example.org"),
        ('"Lee, Ann" (at home) <ann@example.org>', "ann@example.org"),
        ("ann@example.org", "ann@example.org"),
        ("nobody at all <", ""),
        # Comments may be nested (RFC 5322 3.2.2), and these more deeply than Python descends.
        ("<" + "(" * 5_000, ""),
        ("(" * 5_000 + "<ann@example.org>", ""),
    ],
)
def test_the_address_of_a_mailbox_is_found_whatever_stands_beside_it(text: str, found: str) -> None:
    assert address.bare(text) == found
