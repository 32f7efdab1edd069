"""A received mail: signed by dkimpy and judged, with DNS of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dkim
import pytest
from signed import WHOLE, signer
from zones import FAILS, Zone

from newsletter.doctor import mail, received, signatures
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.signatures import Verdict
from newsletter.errors import InvalidInput
from newsletter.settings import Settings

BASE = "https://news.miasfeed.example"
HEADERS = {
    "From": "Mia's Feed <digest@miasfeed.example>",
    "To": "reader@example.com",
    "Subject": "This week",
    "Date": "Mon, 30 Nov 2026 07:00:00 +0000",
    "Message-ID": "<a.b@miasfeed.example>",
    "List-Unsubscribe": f"<{BASE}/unsubscribe/x>, <mailto:digest@miasfeed.example>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "MIME-Version": "1.0",
    "Content-Type": "text/plain",
}
OWN = signer()
OTHER = signer("relay.example", "r1")
DNS: dict[str, Any] = {
    OWN.name: {"TXT": [OWN.record]},
    OTHER.name: {"TXT": [OTHER.record]},
    "_dmarc.miasfeed.example": {"TXT": ["v=DMARC1; p=none"]},
    "bounces.miasfeed.example": {"TXT": ["v=spf1 ip4:198.51.100.7 -all"]},
    "relay.example": {"TXT": ["v=spf1 ip4:198.51.100.7 -all"]},
}


def written(body: str = "Hello.\r\n", **headers: str | None) -> bytes:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{k}: {v}\r\n" for k, v in {**HEADERS, **changed}.items() if v is not None]
    return "".join([*lines, "\r\n", body]).encode()


def arrived(octets: bytes, *lines: str) -> bytes:
    """Return a mail with what its receiver has noted above it."""
    return "".join(f"{line}\r\n" for line in lines).encode() + octets


def judged(octets: bytes, dns: Mapping[str, Any] = DNS) -> list[Finding]:
    zone = Zone(dns)
    settings = Settings(
        sender="Mia's Feed <digest@miasfeed.example>",
        base_url=BASE,
        dkim_selectors=["s1", "m1"],
        sending_addresses=["198.51.100.7"],
    )
    found = mail.examine(
        received.read(octets), signatures.verify(octets, zone), settings, zone
    ).findings
    return list(found)


def ids(octets: bytes, dns: Mapping[str, Any] = DNS) -> dict[str, Level]:
    return {one.id: one.level for one in judged(octets, dns)}


# Signatures


def test_a_mail_that_is_signed_as_a_whole_is_right() -> None:
    assert ids(OWN.sign(written())) == {}


def test_dkimpy_and_we_agree_on_a_signature_that_holds() -> None:
    octets = OWN.sign(written())

    def key(name: bytes, timeout: float = 0) -> bytes:
        return OWN.record.encode()

    (found,) = signatures.verify(octets, Zone(DNS))
    assert dkim.verify(octets, dnsfunc=key)
    assert found.verdict is Verdict.HOLDS
    assert (found.domain, found.selector) == ("miasfeed.example", "s1")


def test_without_list_unsubscribe_post_under_the_signature_there_is_no_button() -> None:
    (found,) = judged(OWN.sign(written(), WHOLE[:-1]))

    assert (found.id, found.level) == ("dkim.headers", Level.ERROR)
    assert found.sentence.startswith("List-Unsubscribe-Post is in the mail and not under")
    assert "SignHeaders *,+List-Unsubscribe-Post" in found.hint
    assert "domains.conf" in found.hint


def test_all_headers_that_are_not_covered_are_named() -> None:
    (found,) = judged(OWN.sign(written(), WHOLE[:-2]))

    assert found.sentence.startswith("List-Unsubscribe, List-Unsubscribe-Post are in the mail")


def test_a_mail_without_a_signature_says_so() -> None:
    assert ids(arrived(written(), "Authentication-Results: mx; spf=none")) == {
        "dkim.signature": Level.ERROR,
        "align": Level.NOT_CHECKED,
    }


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"Hello.", b"Hello!", "the body was changed"),
        (b"This week", b"Last week", "a header that it covers was changed"),
    ],
)
def test_a_mail_that_was_changed_on_its_way_says_what(old: bytes, new: bytes, why: str) -> None:
    octets = OWN.sign(written()).replace(old, new)

    (found,) = [one for one in judged(octets) if one.id == "dkim.signature"]
    assert found.level is Level.ERROR
    assert why in found.sentence


def test_a_key_that_is_missing_is_named() -> None:
    found = judged(OWN.sign(written()), {**DNS, OWN.name: {}})

    assert "there is no key at s1._domainkey.miasfeed.example" in found[0].sentence


def test_a_key_that_cannot_be_looked_up_leaves_the_signature_unchecked() -> None:
    assert ids(OWN.sign(written()), {**DNS, OWN.name: {"TXT": FAILS}}) == {
        "dkim.signature": Level.NOT_CHECKED,
        "align": Level.NOT_CHECKED,
    }


def test_of_two_signatures_the_one_of_the_from_domain_counts() -> None:
    assert ids(OTHER.sign(OWN.sign(written()))) == {}
    assert ids(OWN.sign(OTHER.sign(written(), WHOLE[:-1]))) == {}


def test_more_signatures_than_a_mail_has_are_not_verified() -> None:
    octets = written()
    for _ in range(12):
        octets = OWN.sign(octets)

    assert len(signatures.verify(octets, Zone(DNS))) == signatures.MAXIMUM


@pytest.mark.parametrize(
    "octets",
    [
        # dkimpy itself would take hours to sign such a body.
        OWN.sign(written()).replace(b"Hello.", b" " * 1_500_000 + b"x"),
        OWN.sign(written()).replace(b"h=", b"h=" + b"x:" * 8_000, 1),
        b"DKIM-Signature: v=1; b=" + b" " * 60_000 + b"!\r\n" + written(),
    ],
    ids=["a long line", "a long list of headers", "a long signature"],
)
def test_what_would_take_long_is_not_verified(octets: bytes) -> None:
    assert signatures.verify(octets, Zone(DNS))[0].verdict is Verdict.UNKNOWN


def test_a_key_of_any_length_is_not_calculated_with() -> None:
    long = {**DNS, OWN.name: {"TXT": [OWN.record + "A" * 20_000]}}

    (found,) = signatures.verify(OWN.sign(written()), Zone(long))
    assert found.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "line",
    [
        "DKIM-Signature: ",
        "DKIM-Signature: v=1",
        "DKIM-Signature: v=1; a=rsa-sha256; d=miasfeed.example; s=s1; h=from; bh=!; b=!",
        "DKIM-Signature: v=1; a=rsa-sha256; d=\x00; s=\x00; h=; bh=; b=; t=" + "9" * 4_000,
        "DKIM-Signature: v=1; d=miasfeed.example; d=miasfeed.example",
    ],
)
@pytest.mark.parametrize(
    "record", ["v=DKIM1; p=", "v=DKIM1; p=AAAA", "no key", "v=DKIM1; k=ed25519; p=AA"]
)
def test_nothing_in_a_signature_or_a_key_fails_the_check(line: str, record: str) -> None:
    octets = f"{line}\r\n".encode() + written()

    (found,) = signatures.verify(octets, Zone({OWN.name: {"TXT": [record]}}))
    assert found.verdict is not Verdict.HOLDS


# Alignment


def by(domain: str, result: str = "pass") -> str:
    return f"Authentication-Results: mx.example; spf={result} smtp.mailfrom=x@{domain}"


def test_a_mail_signed_by_the_relay_alone_is_not_aligned() -> None:
    octets = arrived(OTHER.sign(written()), by("relay.example"))

    found = {one.id: one for one in judged(octets)}
    assert found["align"].level is Level.ERROR
    assert "signed by relay.example" in found["align"].sentence
    assert "SPF says pass for relay.example" in found["align"].sentence
    assert "no DKIM signature of miasfeed.example" in found["dkim.signature"].sentence


def test_spf_alone_is_a_warning() -> None:
    octets = arrived(OTHER.sign(written()), by("bounces.miasfeed.example"))

    assert ids(octets)["align"] is Level.WARNING


@pytest.mark.parametrize("result", ["fail", "softfail", "none", "neutral", "permerror"])
def test_spf_that_does_not_pass_does_not_count(result: str) -> None:
    octets = arrived(OTHER.sign(written()), by("bounces.miasfeed.example", result))

    assert ids(octets)["align"] is Level.ERROR


def test_a_strict_policy_wants_the_very_domain() -> None:
    below = signer("mail.miasfeed.example", "m1")
    dns = {**DNS, below.name: {"TXT": [below.record]}}
    octets = arrived(below.sign(written()), by("other.example"))
    strict = {**dns, "_dmarc.miasfeed.example": {"TXT": ["v=DMARC1; p=none; adkim=s"]}}

    assert ids(octets, dns) == {}
    assert ids(octets, strict)["align"] is Level.ERROR


def test_without_a_note_of_the_receiver_spf_of_the_client_is_evaluated() -> None:
    way = [
        "Return-Path: <b@bounces.miasfeed.example>",
        "Received: from inner ([10.0.0.3]) by mx.example",
        "Received: from relay.example (relay.example. [198.51.100.7]) by mx.example",
        "Received: from forged ([203.0.113.9]) by relay.example",
    ]
    octets = OTHER.sign(written())

    assert ids(arrived(octets, *way))["align"] is Level.WARNING
    other = [line.replace("198.51.100.7", "198.51.100.8") for line in way]
    assert ids(arrived(octets, *other))["align"] is Level.ERROR


def test_where_dns_does_not_answer_nobody_can_tell() -> None:
    octets = arrived(OTHER.sign(written()), by("bounces.miasfeed.example"))
    dns = {**DNS, "_dmarc.miasfeed.example": {"TXT": FAILS}}

    assert ids(octets, dns)["align"] is Level.NOT_CHECKED


# Headers


@pytest.mark.parametrize(
    ("header", "value", "words"),
    [
        ("List_Unsubscribe", None, "no List-Unsubscribe header"),
        ("List_Unsubscribe", "<mailto:x@miasfeed.example>", "exactly one https:// link"),
        ("List_Unsubscribe", f"<{BASE}/1>, <{BASE}/2>", "exactly one https:// link"),
        ("List_Unsubscribe_Post", None, "no single header"),
        ("List_Unsubscribe_Post", "List-Unsubscribe=Two-Clicks", "no single header"),
        ("List_Unsubscribe", "<https://u.relay.example/x>", "leads to u.relay.example"),
    ],
)
def test_one_click_needs_both_headers_as_we_write_them(
    header: str, value: str | None, words: str
) -> None:
    found = judged(OWN.sign(written(**{header: value})))

    assert [one.id for one in found] == ["list.unsubscribe"]
    assert words in found[0].sentence


def test_two_list_unsubscribe_headers_are_one_too_many() -> None:
    octets = OWN.sign(arrived(written(), f"List-Unsubscribe: <{BASE}/2>"))

    assert "has 2 List-Unsubscribe headers" in judged(octets)[0].sentence


def test_a_mail_of_somebody_else_is_named() -> None:
    found = judged(OWN.sign(written(From="other@miasfeed.example")))

    assert [(one.id, one.level) for one in found] == [("mail.sender", Level.WARNING)]
    assert "other@miasfeed.example" in found[0].sentence


def test_what_settings_want_to_know_of_its_way_is_named() -> None:
    other = signer("miasfeed.example", "s2")
    octets = arrived(other.sign(written()), "Received: from relay ([198.51.100.9]) by mx.example")

    (found,) = judged(octets, {**DNS, other.name: {"TXT": [other.record]}})
    assert (found.id, found.level) == ("mail.way", Level.INFO)
    assert "selector s2 (dkim_selectors)" in found.sentence
    assert "198.51.100.9 (sending_addresses)" in found.sentence


# Files


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "is empty"),
        (b"\r\n \r\n", "is empty"),
        (b"x" * 50_000_000, "more than 2 MB"),
        (b"From mia Mon Nov 30 07:00:00 2026\n" + written(), "whole mailbox"),
        (b"<!doctype html><p>Hello", "web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Outlook"),
        (b"Just a text.\n\nWith lines.", "does not begin with a header"),
        (b"\x00\xff\xfe", "does not begin with a header"),
        (b"Subject: x\n" + b"X: y\n" * 20_000 + b"\nHello", "headers do not end"),
        (b"Subject: no end", "headers do not end"),
        (b"Subject: x\n\nHello", "0 From headers"),
        (b"From: a@b.example\nFrom: c@d.example\n\n", "2 From headers"),
        (b"From: nobody at all\n\n", "no email address"),
        (b"From: " + b"(" * 2_000 + b"\n\n", "no email address"),
        (b"From: =?utf-8?q?=00?= <\x1b[31m>\n\n", "no email address"),
    ],
)
def test_what_is_no_mail_is_refused_with_the_way_out(octets: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        received.read(octets)
    assert caught.value.hint
