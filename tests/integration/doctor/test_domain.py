"""What the doctor says of a domain, with a DNS server of the test's own behind the resolver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from dns_server import DnsServer, Fault
from zones import RELAY, right

from newsletter.doctor import domain
from newsletter.doctor import resolver as resolvers
from newsletter.doctor.findings import Finding, Level
from newsletter.doctor.resolver import Resolver
from newsletter.settings import Settings

Make = Callable[..., Settings]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for seconds."""
    monkeypatch.setattr(resolvers, "_TIMEOUT", 0.2)
    monkeypatch.setattr(resolvers, "_LIFETIME", 0.4)


def served(zone: Mapping[str, Mapping[Any, Sequence[str]]]) -> dict[str, dict[str, list[str]]]:
    """Return a zone as the server takes it: MX and PTR with their last dots."""
    forms = {"MX": "10 {}.", "PTR": "{}."}
    return {
        name: {kind: [forms.get(kind, "{}").format(text) for text in texts]
               for kind, texts in kinds.items()}
        for name, kinds in zone.items()
    }  # fmt: skip


def look(settings: Settings, zone: Any, fault: Fault | None = None) -> list[Finding]:
    """Judge a domain by a server that has a zone, or one fault for every name."""
    server = DnsServer(served(zone), {"*": fault} if fault else {})
    server.start()
    try:
        return domain.findings(settings, Resolver([server.nameserver]))
    finally:
        server.stop()


def test_what_is_right_has_no_finding(settings: Make) -> None:
    assert look(settings(**RELAY), right()) == []


def test_what_is_missing_is_an_error_of_each_record(settings: Make) -> None:
    found = look(settings(**RELAY), {"mail.miasfeed.example": right()["mail.miasfeed.example"]})

    errors = {one.id for one in found if one.level is Level.ERROR}
    assert errors == {"from.domain", "spf.one", "dkim.key", "dmarc.record", "ptr", "returnpath"}
    rest = {one.id for one in found if one.level is Level.NOT_CHECKED}
    assert rest == {"spf.lookups", "spf.relay", "dmarc.tags", "blocklist"}


def test_what_is_wrong_is_found(settings: Make) -> None:
    many = " ".join(f"include:n{number}.example" for number in range(11))
    wrong = {
        **right(),
        "miasfeed.example": {"MX": ["gone.example"], "TXT": [f"v=spf1 {many} -all"]},
        **{f"n{number}.example": {"TXT": ["v=spf1 -all"]} for number in range(11)},
        "mail2026._domainkey.miasfeed.example": {"TXT": ["v=DKIM1; p=AAAA"]},
        "_dmarc.miasfeed.example": {"TXT": ["v=DMARC1; p=oops; pct=5"]},
        "25.2.0.192.in-addr.arpa": {"PTR": ["elsewhere.example"]},
        "miasfeed.example.dbl.spamhaus.org": {"A": ["127.0.1.2"]},
    }

    found = look(settings(**RELAY, sender='"Re: news" <digest@miasfeed.example>'), wrong)

    needs = {one.id for one in found if one.level.needs_a_look}
    assert needs == {*domain.IDS, "from.name"} - {"spf.one", "spf.relay"}
    (relay,) = [one for one in found if one.id == "spf.relay"]
    assert relay.level is Level.NOT_CHECKED


@pytest.mark.parametrize("fault", Fault)
def test_what_nobody_can_tell_is_said_of_every_check(settings: Make, fault: Fault) -> None:
    found = look(settings(**RELAY), right(), fault)

    if fault is Fault.TRUNCATED:
        # By TCP all of it comes.
        assert found == []
        return
    assert {one.id for one in found} == set(domain.IDS)
    assert {one.level for one in found} == {Level.NOT_CHECKED}


def test_a_hostile_zone_neither_hangs_nor_prints_escapes(settings: Make) -> None:
    texts = [f"v=spf1 include:n{number}.example \x1b[31m" + "x" * 600 for number in range(80)]
    hostile = {
        "miasfeed.example": {"TXT": texts, "MX": [f"mx{number}.example" for number in range(300)]},
        "_dmarc.miasfeed.example": {"CNAME": ["_dmarc.loop.example."]},
        "_dmarc.loop.example": {"CNAME": ["_dmarc.miasfeed.example."]},
        "mail2026._domainkey.miasfeed.example": {"TXT": ["v=DKIM1; k=\x1b]0;hi\x07; p=\u00ff"]},
        "mail.miasfeed.example": {"A": [f"192.0.2.{number}" for number in range(1, 250)]},
    }

    found = look(settings(**RELAY), hostile)

    assert all(f"{one.sentence}{one.hint}{one.subject}{one.record}".isprintable() for one in found)
    assert all(len(one.sentence) < 2_000 for one in found)


def test_a_domain_outside_ascii_is_asked_for_in_a_labels(settings: Make) -> None:
    found = look(
        settings(
            sender="Mia <mia@xn--bcher-kva.example>",
            smtp_url="smtps://a:b@mail.b\u00fccher.example",
            dkim_selectors=["mail"],
        ),
        {"mail.xn--bcher-kva.example": {"A": ["192.0.2.25"]}},
    )

    records = {one.id: one.record for one in found if one.record}
    assert records == {
        "from.domain": "xn--bcher-kva.example. IN MX 10 mail.xn--bcher-kva.example.",
        "returnpath": "xn--bcher-kva.example. IN MX 10 mail.xn--bcher-kva.example.",
        "spf.one": 'xn--bcher-kva.example. IN TXT "v=spf1 ip4:192.0.2.25 ~all"',
        "dmarc.record": "_dmarc.xn--bcher-kva.example. IN TXT "
        '"v=DMARC1; p=none; rua=mailto:mia@xn--bcher-kva.example"',
        "ptr": "25.2.0.192.in-addr.arpa. IN PTR mail.xn--bcher-kva.example.",
    }
