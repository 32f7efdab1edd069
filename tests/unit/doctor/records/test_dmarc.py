"""DMARC records and the tree walk of RFC 9989."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zones import FAILS, Zone

from newsletter.doctor.records import dmarc


def zone(**records: str) -> Zone:
    """Return a DNS with these DMARC records; names have __ for dots."""
    return Zone(
        {
            f"_dmarc.{name.replace('__', '.')}": {"TXT": FAILS if text is FAILS else [text]}
            for name, text in records.items()
        }
    )


def test_a_walk_asks_at_most_eight_times_and_skips_labels_from_the_left() -> None:
    """The example of RFC 9989 4.10, and a longer one."""
    assert dmarc.targets("a.b.c.d.e.f.g.h.i.j.mail.example.com") == [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    ]
    assert dmarc.targets("mail.example.com") == ["mail.example.com", "example.com", "com"]
    assert dmarc.targets("com") == ["com"]


@pytest.mark.parametrize(
    ("records", "organizational", "policy"),
    [
        ({}, "a.mail.example.com", None),
        ({"example__com": "v=DMARC1"}, "example.com", "example.com"),
        # The examples of RFC 9989 4.10.2.
        (
            {"mail__example__com": "v=DMARC1", "example__com": "v=DMARC1"},
            "example.com",
            "example.com",
        ),
        ({"com": "v=DMARC1; psd=y"}, "example.com", "com"),
        ({"a__mail__example__com": "v=DMARC1"}, "a.mail.example.com", "a.mail.example.com"),
        (
            {"mail__example__com": "v=DMARC1; psd=n", "example__com": "v=DMARC1"},
            "mail.example.com",
            "mail.example.com",
        ),
        (
            {"example__com": "v=DMARC1; psd=y", "mail__example__com": "v=DMARC1"},
            "mail.example.com",
            "mail.example.com",
        ),
        # Of the domain itself it makes no registry of it.
        (
            {"a__mail__example__com": "v=DMARC1; psd=y", "example__com": "v=DMARC1"},
            "a.mail.example.com",
            "a.mail.example.com",
        ),
    ],
)
def test_the_organizational_domain_and_the_policy_are_those_of_the_rfc(
    records: dict[str, str], organizational: str, policy: str | None
) -> None:
    found = dmarc.walk("a.mail.example.com", zone(**records))

    assert found.organizational == organizational
    assert (found.policy and found.policy[0]) == policy


def test_of_several_records_at_a_name_none_counts() -> None:
    lookup = Zone(
        {
            "_dmarc.mail.example.com": {"TXT": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]},
            "_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject", "some other text"]},
        }
    )

    found = dmarc.walk("mail.example.com", lookup)

    assert list(found.crowded) == ["mail.example.com"]
    assert found.policy is not None
    assert found.policy[0] == "example.com"


def test_a_walk_ends_where_nobody_can_tell() -> None:
    found = dmarc.walk("mail.example.com", zone(example__com=FAILS))

    assert found.failure == f"_dmarc.example.com: {FAILS}"


@pytest.mark.parametrize(
    ("identifier", "strict", "expected"),
    [
        ("news.example.com", False, True),
        ("NEWS.example.com.", True, True),
        ("example.com", False, True),
        ("bounce.example.com", False, True),
        ("bounce.example.com", True, False),
        ("example.net", False, False),
        ("amazonses.com", False, False),
    ],
)
def test_domains_are_aligned_by_their_organizational_domain(
    identifier: str, strict: bool, expected: bool
) -> None:
    lookup = zone(example__com="v=DMARC1; p=none")

    found = dmarc.is_aligned(identifier, "news.example.com", lookup, strict=strict)

    assert found is expected


def test_alignment_is_unknown_where_dns_does_not_answer() -> None:
    lookup = zone(example__com=FAILS)

    assert dmarc.is_aligned("example.com", "news.example.com", lookup) is None
    assert dmarc.is_aligned("example.com", "example.com", lookup) is True


@pytest.mark.parametrize(
    "text",
    ["", "v=DMARC1x; p=none", "V=DMARC1", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=spf1 -all"],
)
def test_what_does_not_begin_with_the_version_is_no_record(text: str) -> None:
    assert dmarc.parse(text) is None


def test_a_record_is_read_with_its_errors() -> None:
    record = dmarc.parse(
        "v=DMARC1 ;p = Reject; sp=oops; oops; =x; pct=50; p=none; rua=mailto:a@b.c,x"
    )

    assert record is not None
    assert record.value("p") == "reject"
    assert record.value("sp") == ""
    assert record.reports_to == ("mailto:a@b.c",)
    assert list(record.wrong()) == ["sp", "rua"]
    assert record.is_applied


@pytest.mark.parametrize(
    ("text", "is_applied"),
    [
        ("v=DMARC1", True),
        ("v=DMARC1; p=none", True),
        ("v=DMARC1; p=oops", False),
        ("v=DMARC1; p=none; np=oops", False),
        ("v=DMARC1; p=oops; rua=mailto:a@example.com", True),
        ("v=DMARC1; p=oops; rua=nonsense", False),
    ],
)
def test_a_wrong_policy_counts_as_none_if_somebody_wants_reports(
    text: str, is_applied: bool
) -> None:
    record = dmarc.parse(text)

    assert record is not None
    assert record.is_applied is is_applied


@given(
    st.one_of(
        st.text(st.characters(max_codepoint=255), max_size=100),
        st.lists(
            st.sampled_from(
                [
                    "v=DMARC1",
                    ";",
                    "p",
                    "=",
                    "none",
                    "rua",
                    "mailto:",
                    "@",
                    ",",
                    "!",
                    "psd",
                    "y",
                    " ",
                ]
            )
        ).map("".join),
    )
)
def test_no_record_breaks_the_reader(text: str) -> None:
    lookup = Zone({"_dmarc.example.com": {"TXT": [text, f"v=DMARC1;{text}"]}})

    found = dmarc.walk("mail.example.com", lookup)

    for record in found.records.values():
        assert set(record.wrong()) <= set(record.tags)
        assert isinstance(record.is_applied, bool)
    assert found.organizational in {"mail.example.com", "example.com"}


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=70), max_size=15).map(".".join))
def test_no_name_breaks_a_walk(domain: str) -> None:
    lookup = Zone({})

    dmarc.walk(domain, lookup)

    assert len(lookup.asked) <= 8
