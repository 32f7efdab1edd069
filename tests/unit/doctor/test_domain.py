"""What the doctor says of a domain's DNS: right, wrong, missing, and where nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from zones import FAILS, RELAY, Zone, only, right

from newsletter.doctor import domain
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.records.answers import Answer, Kind
from newsletter.settings import Settings

Make = Callable[..., Settings]
Look = Callable[..., list[Finding]]

NAME = "miasfeed.example"


def test_what_is_right_has_no_finding(look: Look) -> None:
    assert look() == []


def test_every_check_that_fails_for_want_of_an_answer_says_so(settings: Make) -> None:
    found = domain.findings(settings(**RELAY), lambda *_: Answer(failure=FAILS))

    assert {one.id for one in found} == set(domain.IDS)
    assert {one.level for one in found} == {Level.NOT_CHECKED}
    assert all(FAILS in one.sentence for one in found)


def test_a_look_up_that_fails_makes_nothing_wrong(settings: Make) -> None:
    zone = Zone(right())
    domain.findings(settings(**RELAY), zone)
    for question in set(zone.asked):

        def lookup(name: str, kind: Kind, failing: tuple[str, Kind] = question) -> Answer:
            return Answer(failure=FAILS) if (name, kind) == failing else Zone(right())(name, kind)

        found = domain.findings(settings(**RELAY), lookup)

        assert {one.level for one in found} == {Level.NOT_CHECKED}, question


def test_a_domain_of_this_machine_has_nothing_to_look_at(look: Look) -> None:
    found = look(sender="newsletter@localhost")

    assert [one.id for one in found] == list(domain.IDS)
    assert {one.level for one in found} == {Level.NOT_CHECKED}


# from.domain, returnpath


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (None, "miasfeed.example is not in DNS"),
        ({"TXT": []}, "has neither MX nor address"),
        ({"MX": [""]}, "says that it takes no mail"),
        ({"MX": ["gone.miasfeed.example"]}, "none has an address in DNS (gone.miasfeed.example)"),
    ],
)
def test_a_domain_that_takes_no_mail_is_an_error(look: Look, kinds: Any, words: str) -> None:
    found = look({NAME: kinds})

    for name in ("from.domain", "returnpath"):
        assert only(found, name).level is Level.ERROR
        assert words in only(found, name).sentence


def test_the_record_for_it_is_the_relay_of_ones_own(look: Look) -> None:
    found = only(look({NAME: None}), "from.domain")

    assert found.record == "miasfeed.example. IN MX 10 mail.miasfeed.example."
    elsewhere = look({NAME: None}, smtp_url="smtp://localhost")
    assert only(elsewhere, "from.domain").record == ""


def test_a_domain_without_mx_is_its_own_host(look: Look) -> None:
    found = look({NAME: {"A": ["192.0.2.80"], "TXT": right()[NAME]["TXT"]}})

    assert found == []


@pytest.mark.parametrize("host", ["gmail.com", "yahoo.co.uk", "gmx.net", "outlook.com"])
def test_a_mailbox_provider_is_no_domain_to_send_from(look: Look, host: str) -> None:
    found = only(look(sender=f"mia@{host}"), "from.domain")

    assert found.level is Level.ERROR
    assert "a domain of your own" in found.hint


def test_the_return_path_is_looked_at_by_itself(look: Look) -> None:
    found = look(return_path="bounces+{token}@b.miasfeed.example")

    assert only(found, "returnpath").subject == "b.miasfeed.example"
    assert only(found, "spf.one").subject == "b.miasfeed.example"
    assert not [one for one in found if one.id == "from.domain"]


# from.name


@pytest.mark.parametrize(
    "name",
    [
        "Mia's Feed", "Mia from Mia's Feed", "The Club 2026", "R&D Weekly", "Réseau Santé",
        "医学ニュース", "C++ Weekly", "Ask Mia!", "Records of 2026",
    ],
)  # fmt: skip
def test_a_name_that_says_who_sends_is_right(look: Look, name: str) -> None:
    assert look(sender=f"{name} <digest@miasfeed.example>") == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Re: your account", "words of a subject"),
        ("Mia's Feed (2)", "words of a subject"),
        ("Last Chance", "words of a subject"),
        ("Important Update ---- Mia", "words of a subject"),
        ("Mia ✅", "white heavy check mark"),
        ("Mia ✓", "check mark"),
        ("Mia 🔵", "large blue circle"),
        ("security@gmail.com", "another address"),
    ],
)
def test_a_name_that_says_more_is_a_warning(look: Look, name: str, words: str) -> None:
    found = only(look(sender=f'"{name}" <digest@miasfeed.example>'), "from.name")

    assert found.level is Level.WARNING
    assert words in found.sentence


# dkim.key


TOO_SHORT = (
    "p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL1zjJMdEoOpLZFU8IlF9rV/23F+c/LV6R1O5vKfpxDiuOS4lJw+1K84I2WU"
    "xcbUDf6osNHchXdtVpHPIUvDX8sCAwEAAQ=="
)


def key(**tags: str) -> dict[Kind, Sequence[str] | str]:
    """Return the right key with other tags."""
    text = next(iter(right()["mail2026._domainkey.miasfeed.example"]["TXT"]))
    return {"TXT": [f"{text}; {'; '.join(f'{tag}={value}' for tag, value in tags.items())}"]}


def test_without_a_selector_no_key_is_looked_at(look: Look) -> None:
    found = only(look(dkim_selectors=[]), "dkim.key")

    assert found.level is Level.NOT_CHECKED
    assert "doctor --file" in found.hint


def test_a_missing_key_is_an_error(look: Look) -> None:
    found = only(look(dkim_selectors=["gone"]), "dkim.key")

    assert found.level is Level.ERROR
    assert found.subject == "gone._domainkey.miasfeed.example"


@pytest.mark.parametrize(
    ("kinds", "level", "words"),
    [
        ({"TXT": FAILS}, Level.NOT_CHECKED, FAILS),
        ({"TXT": ["v=DKIM1; p="]}, Level.ERROR, "revoked"),
        ({"TXT": ["v=DKIM1; p=AAAA"]}, Level.ERROR, "is no key"),
        ({"TXT": ["v=DKIM1; p=", "other"]}, Level.ERROR, "2 TXT records"),
        (right()["short._domainkey.miasfeed.example"], Level.WARNING, "1024 bits; 2048"),
        (
            {"TXT": [TOO_SHORT]},
            Level.ERROR,
            "RSA of 512 bits",
        ),
        (
            {"TXT": ["k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]},
            Level.WARNING,
            "many mailboxes cannot verify",
        ),
    ],
)
def test_a_key_that_is_not_as_it_should_be_is_found(
    look: Look, kinds: Any, level: Level, words: str
) -> None:
    found = only(look({"mail2026._domainkey.miasfeed.example": kinds}), "dkim.key")

    assert found.level is level
    assert words in found.sentence


def test_a_key_in_test_mode_is_given_without_it_in_strings_of_255_octets(look: Look) -> None:
    found = only(look({"mail2026._domainkey.miasfeed.example": key(t="y:s")}), "dkim.key")

    assert found.level is Level.WARNING
    assert found.record.startswith('mail2026._domainkey.miasfeed.example. IN TXT "v=DKIM1; k=rsa')
    assert found.record.endswith('; t=s"')
    first, second = re.findall(r'"([^"]*)"', found.record)
    assert len(first) == 255
    assert len(second) < 255


def test_a_key_of_ed25519_beside_one_of_rsa_is_right(look: Look) -> None:
    curve = {"TXT": ["k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]}

    found = look({"curve._domainkey.miasfeed.example": curve}, dkim_selectors=["mail2026", "curve"])

    assert found == []


def test_the_key_of_a_domain_above_signs_for_one_below(look: Look) -> None:
    found = look(
        {"news.miasfeed.example": right()[NAME]}, sender="Mia <digest@news.miasfeed.example>"
    )

    assert found == []


# dmarc.record, dmarc.tags

RECORD = "_dmarc.miasfeed.example"


def test_a_missing_dmarc_record_is_given(look: Look) -> None:
    found = only(look({RECORD: None}), "dmarc.record")

    assert found.level is Level.ERROR
    assert found.record == (
        '_dmarc.miasfeed.example. IN TXT "v=DMARC1; p=none; rua=mailto:digest@miasfeed.example"'
    )


@pytest.mark.parametrize(
    ("record", "level", "words", "proposed"),
    [
        ("v=DMARC1; p=none; rua=mailto:a@b.c", Level.INFO, "policy for miasfeed.example is none",
         "v=DMARC1; p=quarantine; rua=mailto:a@b.c"),
        ("v=DMARC1; p=none; adkim=s", Level.WARNING, "there is no rua",
         "v=DMARC1; p=none; rua=mailto:digest@miasfeed.example; adkim=s"),
        ("v=DMARC1; p=oops", Level.ERROR, "neither none, quarantine nor reject",
         "v=DMARC1; p=none; rua=mailto:digest@miasfeed.example"),
    ],
)  # fmt: skip
def test_a_policy_that_asks_for_little_is_told(
    look: Look, record: str, level: Level, words: str, proposed: str
) -> None:
    found = only(look({RECORD: {"TXT": [record]}}), "dmarc.record")

    assert found.level is level
    assert words in found.sentence
    assert found.record == f'_dmarc.miasfeed.example. IN TXT "{proposed}"'


def test_several_dmarc_records_are_an_error(look: Look) -> None:
    found = look({RECORD: {"TXT": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}})

    assert only(found, "dmarc.record").level is Level.ERROR
    assert only(found, "dmarc.tags").level is Level.NOT_CHECKED


def test_several_dmarc_records_above_a_domain_without_one_are_the_reason(look: Look) -> None:
    records = ["v=DMARC1; p=none", "v=DMARC1; p=reject"]

    found = look({RECORD: {"TXT": records}}, sender="Mia's Feed <digest@news.miasfeed.example>")

    one = only(found, "dmarc.record")
    assert "_dmarc.miasfeed.example has 2 DMARC records" in one.sentence
    assert one.record == '_dmarc.miasfeed.example. IN TXT "v=DMARC1; p=none"'


def test_the_record_of_a_registry_is_not_the_publishers(look: Look) -> None:
    found = look({RECORD: None, "_dmarc.example": {"TXT": ["v=DMARC1; p=reject; psd=y"]}})

    assert "that of _dmarc.example is its registry's" in only(found, "dmarc.record").sentence


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ("pct=50; rf=afrf; ri=86400", "pct, rf, ri was removed in RFC 9989"),
        ("t=y", "test mode"),
        ("policy=reject", "policy is no tag"),
        ("adkim=strict; sp=oops", "adkim=strict, sp=oops is no value"),
        ("fo=\x1b[31m", "fo=\\027[31m is no value"),
    ],
)
def test_tags_that_do_nothing_are_left_out_of_the_record(look: Look, tags: str, words: str) -> None:
    record = f"v=DMARC1; p=reject; {tags}; rua=mailto:a@miasfeed.example"

    found = only(look({RECORD: {"TXT": [record]}}), "dmarc.tags")

    assert found.level is Level.WARNING
    assert words in found.sentence
    assert found.record == (
        '_dmarc.miasfeed.example. IN TXT "v=DMARC1; p=reject; rua=mailto:a@miasfeed.example"'
    )


# ptr


def test_an_address_without_a_name_is_an_error_with_the_record(look: Look) -> None:
    found = only(look({"25.2.0.192.in-addr.arpa": None}), "ptr")

    assert found.level is Level.ERROR
    assert found.record == "25.2.0.192.in-addr.arpa. IN PTR mail.miasfeed.example."


def test_a_name_that_does_not_lead_back_is_an_error(look: Look) -> None:
    found = only(look({"25.2.0.192.in-addr.arpa": {"PTR": ["srv7.isp.example"]}}), "ptr")

    assert "srv7.isp.example, and that name does not lead back" in found.sentence
    assert found.record == "srv7.isp.example. IN A 192.0.2.25"


def test_a_name_that_is_not_the_relays_is_told(look: Look) -> None:
    changes: Any = {
        "25.2.0.192.in-addr.arpa": {"PTR": ["srv7.isp.example"]},
        "srv7.isp.example": {"A": ["192.0.2.25"]},
    }

    found = only(look(changes), "ptr")

    assert found.level is Level.INFO
    assert "is srv7.isp.example, and the relay is known as mail.miasfeed" in found.sentence
    named = look(changes, sending_addresses=["192.0.2.25"])
    assert not [one for one in named if one.id == "ptr"]


@pytest.mark.parametrize(
    "changes",
    [
        {"25.2.0.192.in-addr.arpa": {"PTR": FAILS}},
        {
            "25.2.0.192.in-addr.arpa": {"PTR": ["srv7.isp.example"]},
            "srv7.isp.example": {"A": FAILS},
        },
    ],
)
def test_a_name_that_nobody_can_look_up_is_not_checked(look: Look, changes: Any) -> None:
    assert only(look(changes), "ptr").level is Level.NOT_CHECKED


# blocklist


def test_an_address_and_a_domain_on_a_blocklist_are_errors(look: Look) -> None:
    found = look(
        {
            "25.2.0.192.zen.spamhaus.org": {"A": ["127.0.0.3", "127.0.0.10"]},
            "miasfeed.example.dbl.spamhaus.org": {"A": ["127.0.1.104"]},
        }
    )

    address, name = [one for one in found if one.id == "blocklist"]
    assert address.level is name.level is Level.ERROR
    assert "CSS: it sends like a source of spam; PBL" in address.sentence
    assert "taken over by others" in name.sentence


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("127.255.255.252", "not understood"),
        ("127.255.255.254", "does not answer public"),
        ("127.255.255.255", "too many queries"),
        ("127.255.255.253", "answered 127.255.255.253"),
        ("203.0.113.80", "answers 203.0.113.80, which no blocklist does"),
    ],
)
def test_a_refusal_of_the_blocklist_is_no_listing(look: Look, record: str, words: str) -> None:
    found = look({"miasfeed.example.dbl.spamhaus.org": {"A": [record]}})

    assert only(found, "blocklist").level is Level.NOT_CHECKED
    assert words in only(found, "blocklist").sentence


def test_a_resolver_that_sees_no_entries_sees_no_listing_either(look: Look) -> None:
    found = look({"2.0.0.127.zen.spamhaus.org": None, "dbltest.com.dbl.spamhaus.org": None})

    assert {one.level for one in found} == {Level.NOT_CHECKED}
    assert all("sees no entries" in one.sentence for one in found)


def test_every_domain_in_the_mails_is_looked_at_once(look: Look, settings: Make) -> None:
    lookup = Zone(right())

    domain.findings(settings(**RELAY, return_path="bounces@b.example"), lookup)

    asked = {name for name, _ in lookup.asked if name.endswith(".dbl.spamhaus.org")}
    ours = {"miasfeed.example", "news.miasfeed.example", "b.example", "dbltest.com"}
    assert asked == {f"{name}.dbl.spamhaus.org" for name in ours}


# Whatever DNS says


class Hostile:
    """Answers the same to every question."""

    def __init__(self, answers: dict[Kind, Answer]) -> None:
        self._answers = answers
        self.asked: set[tuple[str, Kind]] = set()

    def __call__(self, name: str, kind: Kind) -> Answer:
        self.asked.add((name.lower(), kind))
        return self._answers[kind]


NAMES = st.one_of(
    st.sampled_from(["", "mail.miasfeed.example", "a" * 300, "x.\x1b[31m", ".", "a..b"]),
    st.text(st.characters(max_codepoint=255), max_size=20),
)
TEXTS = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.builds(
        "{}{}".format,
        st.sampled_from(["v=spf1 ", "v=DMARC1;", "v=DKIM1;p="]),
        st.text(st.characters(max_codepoint=255), max_size=60),
    ),
    st.sampled_from(
        (
            "v=spf1 include:miasfeed.example",
            "v=spf1 redirect=b.example",
            "v=spf1 mx mx ptr exists:%{i}",
            "v=spf1 " + "include:a.example " * 500,
            "v=DMARC1; p=none; " + "x=y;" * 500,
            "b" * 60_000,
        )
    ),
)


def answers(records: st.SearchStrategy[str], most: int) -> st.SearchStrategy[Answer]:
    """Make answers of each kind."""
    return st.one_of(
        st.builds(Answer, st.lists(records, max_size=most).map(tuple)),
        st.just(Answer(exists=False)),
        st.just(Answer(failure=FAILS)),
    )


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {
            "A": answers(st.sampled_from(["192.0.2.1", "127.0.0.2", "127.255.255.254"]), 5),
            "AAAA": answers(st.sampled_from(["2001:db8::1", "::1", "::ffff:192.0.2.1"]), 5),
            "MX": answers(NAMES, 300),
            "PTR": answers(NAMES, 40),
            "TXT": answers(TEXTS, 30),
        }
    )
)
def test_whatever_dns_says_is_judged_in_few_queries_and_printable(
    settings: Make, table: dict[Kind, Answer]
) -> None:
    lookup = Hostile(table)

    found = domain.findings(settings(**RELAY), lookup)

    for one in found:
        shown = f"{one.sentence}{one.hint}{one.subject}{one.record}"
        assert shown.isprintable()
        assert len(one.sentence) < 2_000
    assert len(lookup.asked) < 200
