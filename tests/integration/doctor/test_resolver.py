"""The resolver, against a DNS server of the test's own."""

from __future__ import annotations

from unittest import mock

import pytest
from dns_server import Fault, serving
from journey import free_port

from newsletter.doctor import resolver as resolvers
from newsletter.doctor.records import spf
from newsletter.doctor.records.answers import Answer
from newsletter.doctor.resolver import Resolver, parse_nameserver
from newsletter.errors import ConfigurationError


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait for seconds."""
    monkeypatch.setattr(resolvers, "_TIMEOUT", 0.4)
    monkeypatch.setattr(resolvers, "_LIFETIME", 1.0)
    monkeypatch.setattr(resolvers, "_FIRST_LIFETIME", 1.0)


ZONE = {
    "miasfeed.example": {
        "TXT": ["v=spf1 -all", "a" * 600, 'x"y\\z\x1b[31m\xff'],
        "A": ["192.0.2.1", "192.0.2.2"],
        "MX": ["20 b.miasfeed.example.", "10 A.miasfeed.example."],
    },
    "silent.example": {"MX": ["0 ."]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mail.miasfeed.example."]},
    "alias.example": {"CNAME": ["miasfeed.example."]},
    "loop.example": {"CNAME": ["loop2.example."]},
    "loop2.example": {"CNAME": ["loop.example."]},
    "dangling.example": {"CNAME": ["nowhere.example."]},
    "huge.example": {"TXT": ["b" * 50_000]},
    "many.example": {"MX": [f"{number} mx{number}.example." for number in range(300)]},
    "broken.example": {},
}


def test_each_type_comes_as_plain_values() -> None:
    with serving(ZONE) as server:
        resolve = Resolver([server.nameserver])

        texts = resolve("miasfeed.example", "TXT").records
        assert list(texts) == sorted(ZONE["miasfeed.example"]["TXT"])
        assert resolve("miasfeed.example", "A").records == ("192.0.2.1", "192.0.2.2")
        hosts = ("a.miasfeed.example", "b.miasfeed.example")
        assert resolve("miasfeed.example", "MX").records == hosts
        assert resolve("silent.example", "MX").records == ("",)
        found = resolve("1.2.0.192.in-addr.arpa", "PTR")
        assert found.records == ("mail.miasfeed.example",)
        assert resolve("alias.example", "A") == resolve("miasfeed.example", "A")


def test_no_records_and_no_name_are_told_apart() -> None:
    with serving(ZONE) as server:
        resolve = Resolver([server.nameserver])

        assert resolve("miasfeed.example", "AAAA") == Answer()
        assert resolve("nobody.example", "A") == Answer(exists=False)
        assert resolve("dangling.example", "A") == Answer(exists=False)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault.SILENT, "no name server answered in time"),
        (Fault.SERVFAIL, "the name server answered SERVFAIL"),
        (Fault.REFUSED, "the name server answered REFUSED"),
        (Fault.LAME, "the name server does not resolve names for others"),
        (Fault.HANGS_UP, "no name server can be reached"),
        (Fault.TRUNCATED_ALWAYS, "the name server's answer is cut off"),
        (Fault.GARBAGE, "no name server"),
    ],
)
def test_what_is_no_answer_says_why_and_is_never_none(fault: Fault, failure: str) -> None:
    with serving(ZONE, broken__example=fault) as server:
        resolve = Resolver([server.nameserver])

        answer = resolve("broken.example", "TXT")

    assert not answer.records
    assert answer.failure.startswith(failure)


def test_what_does_not_fit_into_a_datagram_comes_by_tcp() -> None:
    with serving(ZONE, miasfeed__example=Fault.TRUNCATED) as server:
        resolve = Resolver([server.nameserver])

        assert len(resolve("miasfeed.example", "TXT").records) == 3
        assert resolve("huge.example", "TXT").records == ("b" * 50_000,)
        assert len(resolve("many.example", "MX").records) == 300

    assert "miasfeed.example TXT udp" in server.asked
    assert "miasfeed.example TXT tcp" in server.asked


def test_an_alias_that_leads_to_itself_ends() -> None:
    with serving(ZONE) as server:
        answer = Resolver([server.nameserver])("loop.example", "A")

    assert not answer.records
    assert answer.failure


@pytest.mark.parametrize(
    "name",
    ["", ".", "a..example", "a" * 64 + ".example", "a." * 130 + "example", "\u20ac.example"],
)
def test_a_name_that_dns_cannot_hold_does_not_exist_and_is_not_asked_for(name: str) -> None:
    with serving(ZONE) as server:
        resolve = Resolver([server.nameserver])

        assert resolve(name, "A") == Answer(exists=False)
        assert server.asked == []


def test_a_name_with_dots_and_escapes_in_it_is_taken_as_it_is() -> None:
    with serving(ZONE) as server:
        answer = Resolver([server.nameserver])("a\\.b @\x00.example", "A")

    assert answer == Answer(exists=False)
    assert server.asked == ["a\\\\.b\\032\\@\\000.example A udp"]


def test_each_question_is_asked_once() -> None:
    with serving(ZONE) as server:
        resolve = Resolver([server.nameserver])
        for name in ("miasfeed.example", "MiasFeed.example"):
            resolve(name, "A")

    assert server.asked == ["miasfeed.example A udp"]


def test_the_questions_of_a_run_are_bounded() -> None:
    with serving(ZONE) as server:
        resolve = Resolver([server.nameserver])
        answers = [resolve(f"n{n}.example", "A") for n in range(resolvers.MAXIMUM_QUERIES + 1)]

    assert not answers[-2].failure
    assert answers[-1].failure == "this run has already asked 300 questions"
    assert len(server.asked) == resolvers.MAXIMUM_QUERIES


def test_a_name_server_that_never_answers_is_given_up_soon() -> None:
    names = [f"n{number}.example" for number in range(9)]
    silent = {name.replace(".", "__"): Fault.SILENT for name in names}
    with serving(ZONE, **silent) as server:
        resolve = Resolver([server.nameserver])
        failures = [resolve(name, "A").failure for name in names]

    assert failures[-1] == "no name server answers"
    assert len({question.split()[0] for question in server.asked}) == 2


def test_of_several_name_servers_one_that_is_dead_is_passed_over() -> None:
    with serving(ZONE) as server:
        resolve = Resolver([("127.0.0.1", free_port()), server.nameserver])

        assert resolve("alias.example", "MX").records


def test_the_time_of_a_run_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "_PATIENCE", 0.3)
    with serving(ZONE, broken__example=Fault.SILENT) as server:
        resolve = Resolver([server.nameserver])
        assert not resolve("miasfeed.example", "A").failure
        assert resolve("broken.example", "A").failure

        assert "has already waited" in resolve("other.example", "A").failure


def test_a_machine_without_name_servers_says_so() -> None:
    with mock.patch.object(resolvers.dns.resolver, "Resolver", side_effect=OSError):
        answer = Resolver()("miasfeed.example", "A")

    assert answer.failure == "this machine names no name server in /etc/resolv.conf"


@pytest.mark.parametrize(
    ("text", "nameserver"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_a_name_server_is_an_address_and_perhaps_a_port(
    text: str, nameserver: tuple[str, int]
) -> None:
    assert parse_nameserver(text) == nameserver


@pytest.mark.parametrize(
    "text",
    ["", "ns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:\u0665",
     "[2001:db8::53", "[2001:db8::53]x", "192.0.2.256", "\x1b[31m", "-1:53"],
)  # fmt: skip
def test_what_is_no_name_server_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_nameserver(text)

    assert "\x1b" not in caught.value.message
    assert "192.0.2.53:5353" in (caught.value.hint or "")


def test_spf_is_evaluated_over_the_wire() -> None:
    zone = {
        "miasfeed.example": {"TXT": ["v=spf1 include:_spf.example -all"]},
        "_spf.example": {"TXT": ["v=spf1 ip4:192.0.2.0/28 " + "ip4:198.51.100.1 " * 40 + "~all"]},
    }
    with serving(zone) as server:
        resolve = Resolver([server.nameserver])
        results = [
            spf.check_host(ip, "miasfeed.example", "a@miasfeed.example", resolve).result
            for ip in ("192.0.2.9", "192.0.2.99")
        ]

    assert results == ["pass", "fail"]
