"""What the doctor says of a domain's SPF record, by relay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zones import FAILS, RELAY, only, texts

from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records.answers import Kind

Look = Callable[..., list[Finding]]
NAME = "miasfeed.example"


def test_a_missing_spf_record_is_given_with_the_addresses_of_the_relay(look: Look) -> None:
    found = look({NAME: texts("other")})

    one = only(found, "spf.one")
    assert one.level is Level.ERROR
    assert one.record == ('miasfeed.example. IN TXT "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ~all"')
    assert only(found, "spf.relay").level is only(found, "spf.lookups").level is Level.NOT_CHECKED


def test_several_spf_records_become_one(look: Look) -> None:
    records = ("v=spf1 a mx -all", "v=spf1 include:a.example a redirect=b.example", "v=spf1 ?all")

    found = only(look({NAME: texts(*records)}), "spf.one")

    assert "has 3 SPF records" in found.sentence
    assert found.record == (
        'miasfeed.example. IN TXT "v=spf1 a mx include:a.example include:b.example ~all"'
    )


def test_an_spf_record_that_cannot_be_read_says_where(look: Look) -> None:
    found = only(
        look({NAME: texts("v=spf1 mx ip4:192.0.2.256 include:_spf.mail.example -all")}), "spf.one"
    )

    assert '"ip4:192.0.2.256" in it cannot be read' in found.sentence
    assert found.record == ('miasfeed.example. IN TXT "v=spf1 mx include:_spf.mail.example -all"')


@pytest.mark.parametrize(
    ("urls", "level"),
    [
        (["smtps://a:b@smtp.sendgrid.net"], Level.WARNING),
        (["smtps://a:b@smtp.sendgrid.net", "smtps://a:b@smtp.mailgun.org"], Level.ERROR),
    ],
)
def test_a_missing_record_matters_less_where_a_provider_has_its_own(
    look: Look, urls: list[str], level: Level
) -> None:
    found = only(look({NAME: texts("other")}, smtp_url=urls), "spf.one")

    assert found.level is level
    assert "include:sendgrid.net" in found.record


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("smtp://localhost", "add ip4:ADDRESS if it is another one"),
        ("smtps://a:b@smtp.isp.example", "those of smtp.isp.example; it may send from others"),
    ],
)
def test_what_is_not_known_of_a_new_record_is_said(look: Look, url: str, words: str) -> None:
    changes = {NAME: texts("other"), "smtp.isp.example": {"A": ["198.51.100.7"]}}

    assert words in only(look(changes, smtp_url=url), "spf.one").hint


def test_the_include_of_the_relay_is_not_the_one_to_leave_out(look: Look) -> None:
    long = {"TXT": ["v=spf1" + " a:mail.miasfeed.example/30" * 8]}
    found = look(
        {
            NAME: texts("v=spf1 include:mailgun.org include:other.example -all"),
            "mailgun.org": long,
            "other.example": {"TXT": ["v=spf1 mx:miasfeed.example a:mail.miasfeed.example"]},
        },
        smtp_url="smtps://a:b@smtp.mailgun.org",
    )

    one = only(found, "spf.lookups")
    assert "include:mailgun.org alone takes 9" in one.sentence
    assert one.record == 'miasfeed.example. IN TXT "v=spf1 include:mailgun.org -all"'


@pytest.mark.parametrize("term", ["all", "+all", "+ALL"])
def test_a_record_that_lets_everybody_send_is_a_warning(look: Look, term: str) -> None:
    found = only(look({NAME: texts(f"v=spf1 mx {term}")}), "spf.one")

    assert found.level is Level.WARNING
    assert found.record == 'miasfeed.example. IN TXT "v=spf1 mx ~all"'


def test_too_many_lookups_name_the_costliest_include(look: Look) -> None:
    found = look(
        {
            NAME: texts("v=spf1 include:few.example include:many.example a:mail.miasfeed.example"),
            "few.example": {"TXT": ["v=spf1 mx:miasfeed.example"]},
            "many.example": {"TXT": ["v=spf1" + " a:mail.miasfeed.example/30" * 8]},
        }
    )

    one = only(found, "spf.lookups")
    assert one.level is Level.ERROR
    assert "needs 12 look-ups" in one.sentence
    assert "include:many.example alone takes 9" in one.sentence
    assert one.record == (
        'miasfeed.example. IN TXT "v=spf1 include:few.example a:mail.miasfeed.example"'
    )


def test_too_many_void_lookups_are_named(look: Look) -> None:
    gone = " ".join(f"a:gone{number}.example" for number in range(3))

    found = look({NAME: texts(f"v=spf1 {gone} a:mail.miasfeed.example -all")})

    one = only(found, "spf.lookups")
    assert "3 terms" in one.sentence
    assert "a:gone2.example of miasfeed.example" in one.sentence
    assert one.record == 'miasfeed.example. IN TXT "v=spf1 a:mail.miasfeed.example -all"'
    assert only(found, "spf.relay").level is Level.NOT_CHECKED


@pytest.mark.parametrize(
    ("included", "level", "words"),
    [
        (None, Level.ERROR, "gone.example has no SPF record"),
        ({"TXT": ["v=spf1 oops"]}, Level.ERROR, '"oops" in it cannot be read'),
        ({"TXT": ["v=spf1 include:gone.example"]}, Level.ERROR, "includes itself"),
        ({"TXT": FAILS}, Level.NOT_CHECKED, FAILS),
    ],
)
def test_an_include_that_cannot_be_evaluated_is_named(
    look: Look, included: Any, level: Level, words: str
) -> None:
    found = look(
        {NAME: texts("v=spf1 ip4:192.0.2.25 include:gone.example ~all"), "gone.example": included}
    )

    one = only(found, "spf.lookups")
    assert one.level is level
    assert words in one.sentence
    if level is Level.ERROR:
        assert one.record == 'miasfeed.example. IN TXT "v=spf1 ip4:192.0.2.25 ~all"'


@pytest.mark.parametrize(
    ("end", "result"),
    [("-all", "fail"), ("~all", "softfail"), ("?all", "neutral"), ("", "neutral")],
)
def test_a_relay_that_spf_leaves_out_is_an_error(look: Look, end: str, result: str) -> None:
    found = only(look({NAME: texts(f"v=spf1 ip4:192.0.2.25 {end}".rstrip())}), "spf.relay")

    assert found.level is Level.ERROR
    assert f"Mail from 2001:db8::25 (mail.miasfeed.example) gets {result}" in found.sentence
    rest = f" {end}" if end else ""
    assert found.record == (
        f'miasfeed.example. IN TXT "v=spf1 ip6:2001:db8::25 ip4:192.0.2.25{rest}"'
    )


@pytest.mark.parametrize("url", ["smtp://localhost", "smtp://127.0.0.1:2525", "smtp://[::1]"])
def test_from_where_a_relay_on_this_machine_sends_is_not_known(look: Look, url: str) -> None:
    found = look(smtp_url=url)

    for name in ("spf.relay", "ptr", "blocklist"):
        assert only(found, name).level is Level.NOT_CHECKED
        assert "sending_addresses" in only(found, name).hint


def test_addresses_that_are_set_take_the_place_of_the_relay(look: Look) -> None:
    found = look(smtp_url="smtp://localhost", sending_addresses=["192.0.2.25", "192.0.2.26"])

    assert only(found, "spf.relay").subject == "192.0.2.26"
    assert only(found, "ptr").record == "26.2.0.192.in-addr.arpa. IN PTR mail.miasfeed.example."
    assert not [one for one in found if one.id == "blocklist"]


def test_a_relay_of_somebody_else_is_a_warning_and_its_name_is_its_own(look: Look) -> None:
    found = look(
        {"smtp.isp.example": {"A": ["198.51.100.7"]}}, smtp_url="smtps://a:b@smtp.isp.example"
    )

    assert only(found, "spf.relay").level is Level.WARNING
    assert "doctor --file" in only(found, "spf.relay").hint
    assert only(found, "ptr").level is Level.NOT_CHECKED


@pytest.mark.parametrize(
    ("host", "address"), [("[2001:db8::7]", "2001:db8::7"), ("198.51.100.7", "198.51.100.7")]
)
def test_a_relay_may_be_an_address(look: Look, host: str, address: str) -> None:
    found = look(smtp_url=f"smtps://a:b@{host}")

    assert only(found, "spf.relay").subject == address
    assert only(found, "spf.relay").level is Level.WARNING


def test_a_relay_of_the_local_network_is_not_where_mail_leaves(look: Look) -> None:
    changes: Any = {"smarthost": {"A": ["192.0.2.9"]}, "mail.lan": {"A": ["10.1.2.3"]}}

    for host in ("smarthost", "mail.lan", "10.1.2.3"):
        found = look(changes, smtp_url=f"smtps://a:b@{host}")
        assert only(found, "spf.relay").level is Level.NOT_CHECKED


def test_a_relay_without_an_address_is_not_checked(look: Look) -> None:
    found = look(smtp_url="smtps://a:b@gone.miasfeed.example")

    assert "gone.miasfeed.example is not known: it has no address" in (
        only(found, "spf.relay").sentence
    )


@pytest.mark.parametrize(
    ("url", "include", "level"),
    [
        ("smtps://a:b@email-smtp.eu-west-1.amazonaws.com", "amazonses.com", Level.INFO),
        ("smtps://a:b@smtp.sendgrid.net", "sendgrid.net", Level.INFO),
        ("smtps://a:b@smtp.eu.mailgun.org", "mailgun.org", Level.WARNING),
        ("smtps://a:b@smtp.gmail.com", "_spf.google.com", Level.WARNING),
    ],
)
def test_a_provider_is_looked_for_by_its_include(
    look: Look, url: str, include: str, level: Level
) -> None:
    missing = only(look(smtp_url=url), "spf.relay")
    assert missing.level is level
    assert f'"v=spf1 include:{include} a:mail' in missing.record

    there = look(
        {
            NAME: texts("v=spf1 include:ours.example -all"),
            "ours.example": {"TXT": [f"v=spf1 include:{include.upper()} -all"]},
            include: {"TXT": ["v=spf1 ip4:198.51.100.0/24 -all"]},
        },
        smtp_url=url,
    )
    assert there == []


def test_a_machine_at_a_provider_is_not_the_provider(look: Look) -> None:
    host = "ec2-192-0-2-1.compute.amazonaws.com"

    found = look({host: {"A": ["192.0.2.1"]}}, smtp_url=f"smtps://a:b@{host}")

    assert "192.0.2.1" in only(found, "spf.relay").sentence


def test_of_several_relays_each_is_looked_at(look: Look) -> None:
    found = look(
        {"mail2.miasfeed.example": {"A": ["192.0.2.77"]}, "77.2.0.192.in-addr.arpa": None},
        smtp_url=[RELAY["smtp_url"], "smtps://a:b@mail2.miasfeed.example", "smtp://localhost"],
    )

    assert [one.subject for one in found if one.id == "spf.relay"] == ["192.0.2.77", "localhost"]
    assert [one.subject for one in found if one.id == "ptr"] == ["192.0.2.77", "localhost"]


def test_a_provider_may_be_behind_an_include_that_nobody_answers_for(look: Look) -> None:
    google = {"smtp_url": "smtps://a:b@smtp-relay.gmail.com"}
    changes: dict[str, Any] = {
        NAME: texts("v=spf1 include:_spf.miasfeed.example -all"),
        "_spf.miasfeed.example": {"TXT": ["v=spf1 include:_spf.google.com -all"]},
        "_spf.google.com": {"TXT": ["v=spf1 ip4:198.51.100.7 -all"]},
    }
    assert look(changes, **google) == []

    found = look({**changes, "_spf.miasfeed.example": {"TXT": FAILS}}, **google)

    assert only(found, "spf.relay").level is Level.NOT_CHECKED
    assert FAILS in only(found, "spf.relay").sentence


@pytest.mark.parametrize("term", ["include:%{i}._spf.mail.example", "redirect=%{d}.mail.example"])
def test_a_provider_may_be_behind_a_name_that_depends_on_the_mail(look: Look, term: str) -> None:
    found = only(
        look({NAME: texts(f"v=spf1 {term}")}, smtp_url="smtps://a:b@smtp-relay.gmail.com"),
        "spf.relay",
    )

    assert found.level is Level.NOT_CHECKED
    assert f"{term} is another domain for each mail" in found.sentence
    assert "--file" in found.hint


@pytest.mark.parametrize("failing", ["A", "AAAA"])
def test_half_of_the_addresses_of_a_relay_is_not_all_of_them(look: Look, failing: Kind) -> None:
    host: dict[Kind, Any] = {"A": ["192.0.2.25"], "AAAA": ["2001:db8::25"], failing: FAILS}

    found = look(
        {NAME: texts("v=spf1 ip4:192.0.2.25 ip6:2001:db8::25"), "mail.miasfeed.example": host}
    )

    of_the_relay = {one.id: one for one in found if one.subject == "mail.miasfeed.example"}
    assert {"spf.relay", "ptr", "blocklist"} <= of_the_relay.keys()
    for one in of_the_relay.values():
        assert one.level is Level.NOT_CHECKED
        assert f"not every address of mail.miasfeed.example is known: {FAILS}" in one.sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                NAME: {"TXT": ["v=spf1 mx -all"], "MX": [f"mx{n}.example" for n in range(11)]},
                "mx0.example": {"A": ["198.51.100.7"], "AAAA": ["2001:db8::7"]},
            },
            "miasfeed.example has more than 10 MX records",
        ),
        (
            # Clients of IPv4 and IPv6 are looked up by different types.
            {
                NAME: texts("v=spf1 a:a.example a:b.example a:c.example mx -all"),
                **{f"{name}.example": {"AAAA": ["2001:db8::7"]} for name in "abc"},
            },
            "more than 2 of its look-ups find nothing",
        ),
    ],
)
def test_what_only_an_evaluation_finds_broken_is_an_error(
    look: Look, changes: Any, words: str
) -> None:
    found = look(changes)

    one = only(found, "spf.relay")
    assert one.level is Level.ERROR
    assert "192.0.2.25" in one.subject
    assert "gets permerror from the SPF record of miasfeed.example" in one.sentence
    assert words in one.sentence
    # With the address before all that needs a look-up, the record passes.
    assert one.record.startswith('miasfeed.example. IN TXT "v=spf1 ip4:192.0.2.25 ')
    assert not [one for one in found if one.id == "spf.lookups"]


def test_addresses_with_different_failures_have_findings_of_their_own(look: Look) -> None:
    host = {"A": FAILS, "AAAA": "the name server answered SERVFAIL"}

    found = look({NAME: texts("v=spf1 a:a.example -all"), "a.example": host})

    theirs = {one.subject: one.sentence for one in found if one.id == "spf.relay"}
    assert FAILS in theirs["192.0.2.25"]
    assert "SERVFAIL" in theirs["2001:db8::25"]
