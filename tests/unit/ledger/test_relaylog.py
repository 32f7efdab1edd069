"""Parsing of Postfix logs, with any other content in them, and of lists by operators."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.ledger import relaylog
from newsletter.ledger.relaylog import Entry

OURS = ("mailing000000001", "reader1000000001")
OTHER = ("mailing000000001", "reader1000000002")
NOBODY = Entry()


def address_of(message_id: tuple[str, str]) -> str:
    return f"<{'.'.join(message_id)}@miasfeed.example>"


def read(log: str) -> list[Entry]:
    return list(relaylog.read(line.encode() for line in log.splitlines(keepends=True)))


def ours(log: str) -> list[Entry]:
    """Return the entries of our own messages."""
    return [entry for entry in read(log) if entry != NOBODY]


# Logs


def test_a_message_with_an_active_queue_id_was_accepted() -> None:
    """Log of Postfix 3.7 on Debian for a client that disconnects before the reply."""
    log = f"""\
Nov 22 06:00:01 relay postfix/smtpd[2291]: connect from sender.example[192.0.2.7]
Nov 22 06:00:01 relay postfix/smtpd[2291]: 1C0B1A0042: client=sender.example[192.0.2.7]
Nov 22 06:00:01 relay postfix/cleanup[2294]: 1C0B1A0042: message-id={address_of(OURS)}
Nov 22 06:00:01 relay opendkim[801]: 1C0B1A0042: DKIM-Signature field added (s=mail, d=miasfeed.ex)
Nov 22 06:00:01 relay postfix/qmgr[1022]: 1C0B1A0042: from=<bounces@miasfeed.example>, size=20312, \
nrcpt=1 (queue active)
Nov 22 06:00:02 relay postfix/smtpd[2291]: lost connection after END-OF-MESSAGE from \
sender.example[192.0.2.7]
Nov 22 06:00:02 relay postfix/smtpd[2291]: disconnect from sender.example[192.0.2.7] ehlo=1 mail=1
Nov 22 06:00:03 relay postfix/smtp[2295]: 1C0B1A0042: to=<ann@example.com>, \
relay=mx.example.com[203.0.113.9]:25, delay=1.9, delays=0.1/0.02/1.1/0.7, dsn=2.0.0, status=sent \
(250 2.0.0 Ok: queued as 9F3D4)
Nov 22 06:00:03 relay postfix/qmgr[1022]: 1C0B1A0042: removed
"""

    assert read(log) == [Entry(OURS, "1C0B1A0042")]


def test_a_message_id_alone_does_not_prove_acceptance() -> None:
    log = f"""\
Nov 22 06:00:01 relay postfix/smtpd[2291]: 1C0B1A0042: client=sender.example[192.0.2.7]
Nov 22 06:00:01 relay postfix/cleanup[2294]: 1C0B1A0042: message-id={address_of(OURS)}
Nov 22 06:00:09 relay postfix/smtpd[2291]: lost connection after DATA (10812 bytes) from \
sender.example[192.0.2.7]
"""

    assert read(log) == []


def test_a_message_that_a_filter_refused_at_its_end_was_not_accepted() -> None:
    log = f"""\
Nov 22 06:00:01 relay postfix/cleanup[2294]: 1C0B1A0042: message-id={address_of(OURS)}
Nov 22 06:00:01 relay postfix/cleanup[2294]: 1C0B1A0042: milter-reject: END-OF-MESSAGE from \
sender.example[192.0.2.7]: 5.7.1 rejected; from=<bounces@miasfeed.example> to=<ann@example.com> \
proto=ESMTP helo=<sender.example>
"""

    assert read(log) == []


@pytest.mark.parametrize(
    "trace",
    [
        "postfix/qmgr[22]: {}: from=<bounces+a@miasfeed.example>, size=9, nrcpt=1 (queue active)",
        "postfix/qmgr[22]: {}: from=<>, size=9, nrcpt=1 (queue active)",
        "postfix/lmtp[23]: {}: to=<a@b.example>, orig_to=<c@b.example>, dsn=2.0, status=sent (ok)",
        "postfix/smtp[24]: {}: to=<a@b.example>, relay=none, dsn=4.4, status=deferred (timed out)",
        "postfix/smtp[24]: {}: to=<a@b.example>, relay=b.example[192.0.2.1], status=bounced (no)",
        "postfix/error[25]: {}: to=<a@b.example>, relay=none, dsn=4.0.0, status=deferred (away)",
    ],
)
@pytest.mark.parametrize("queue_id", ["4F2A1", "1C0B1A0042", "4Yx2Bc3QzNz7RfT", "3ZbQhT0Kv9zJ1"])
def test_what_only_follows_from_acceptance_proves_it(trace: str, queue_id: str) -> None:
    log = (
        f"Nov  2 06:00:01 relay postfix/cleanup[2]: {queue_id}: message-id={address_of(OURS)}\n"
        f"Nov  2 06:00:01 relay {trace.format(queue_id)}\n"
        f"Nov  2 06:00:01 relay {trace.format(queue_id)}\n"
    )

    assert read(log) == [Entry(OURS, queue_id)]


@pytest.mark.parametrize(
    "said",
    [
        "postfix/smtpd[22]: {}: client=sender.example[192.0.2.7]",
        "postfix/smtpd[22]: {}: reject: RCPT from a[192.0.2.7]: 450 later; to=<b>, status=sent",
        "postfix/cleanup[22]: {}: warning: header Subject: from=<>, nrcpt=1 (queue active)",
        "postfix/cleanup[22]: {}: to=<a@b.example>, status=sent (250 ok)",
        "postfix/qmgr[22]: {}: removed",
        "postfix/smtp[22]: {}: to=<a@b.example>, relay=none, dsn=2.1.5, status=deliverable (ok)",
        "postfix/smtp[22]: {}: host b.example[192.0.2.1] said: 450 status=sent (in reply to RCPT)",
        "postfix/qmgr[22]: 0{}: from=<>, size=9, nrcpt=1 (queue active)",
        "myfilter[22]: {}: from=<>, size=9, nrcpt=1 (queue active)",
        "myfilter[22]: postfix/qmgr[22]: {}: from=<>, size=9, nrcpt=1 (queue active)",
        "root: postfix/qmgr[22]: {}: from=<>, size=9, nrcpt=1 (queue active)",
    ],
)
def test_text_that_a_stranger_can_have_logged_is_ignored(said: str) -> None:
    log = (
        f"Nov 22 06:00:01 relay postfix/cleanup[2]: 1C0B1A: message-id={address_of(OURS)}\n"
        f"Nov 22 06:00:01 relay {said.format('1C0B1A')}\n"
    )

    assert read(log) == []


@pytest.mark.parametrize(
    "begin",
    [
        "Nov 22 06:00:01 relay ",
        "Nov  2 06:00:01 relay.miasfeed.example ",
        "Nov 22 06:00:0{n} ",
        "2026-11-22T06:00:0{n}.123456+00:00 relay ",
        "2026-11-22T06:00:0{n}Z 2001-db8.example ",
        "2026-11-22T06:00:0{n}+0100 ",
        "<22>Nov 22 06:00:0{n} 192.0.2.25 ",
        "Nov 22 2026 06:00:0{n} relay ",
        "",
    ],
)
@pytest.mark.parametrize(
    ("cleanup", "qmgr"),
    [
        ("postfix/cleanup", "postfix/qmgr"),
        ("postfix-out/cleanup", "postfix-out/qmgr"),
        ("postfix/submission/cleanup", "postfix/qmgr"),
        ("mail.out/cleanup", "mail.out/nqmgr"),
    ],
)
def test_every_form_of_a_log_is_read(begin: str, cleanup: str, qmgr: str) -> None:
    log = (
        f"{begin.format(n=1)}{cleanup}[1]: 4F2A1: message-id={address_of(OURS)}\n"
        f"{begin.format(n=2)}{qmgr}[2]: 4F2A1: from=<b@c.example>, size=1, nrcpt=1 (queue active)\n"
    )

    assert read(log) == [Entry(OURS, "4F2A1")]


def active(queue_id: str, host: str = "relay") -> str:
    return (
        f"Nov 22 06:00:01 {host} postfix/qmgr[1]: {queue_id}: from=<>, size=9, nrcpt=1 "
        "(queue active)\n"
    )


def named(queue_id: str, message_id: str, host: str = "relay") -> str:
    return f"Nov 22 06:00:01 {host} postfix/cleanup[1]: {queue_id}: message-id={message_id}\n"


def removed(queue_id: str) -> str:
    return f"Nov 22 06:00:01 relay postfix/qmgr[1]: {queue_id}: removed\n"


def begun(queue_id: str) -> str:
    return f"Nov 22 06:00:01 relay postfix/smtpd[1]: {queue_id}: client=a.example[192.0.2.1]\n"


def test_a_reused_queue_id_belongs_to_another_message() -> None:
    vanished = begun("4F2A1") + named("4F2A1", address_of(OURS))

    after_a_reader_of_ours = named("4F2A1", address_of(OTHER)) + active("4F2A1")
    assert read(vanished + after_a_reader_of_ours) == [Entry(OTHER, "4F2A1")]
    after_a_stranger = named("4F2A1", "<1@elsewhere.example>") + active("4F2A1")
    assert read(vanished + after_a_stranger) == [NOBODY]
    # The line with its Message-ID is missing from the log.
    assert read(vanished + begun("4F2A1") + active("4F2A1")) == []
    assert read(vanished + removed("4F2A1") + active("4F2A1")) == []
    assert read(active("4F2A1") + vanished) == []


def test_queue_ids_are_matched_per_host() -> None:
    log = (
        named("4F2A1", address_of(OURS), "relay1")
        + named("4F2A1", address_of(OTHER), "relay2")
        + active("4F2A1", "relay2")
    )

    assert read(log) == [Entry(OTHER, "4F2A1")]


def test_messages_of_other_senders_are_only_counted() -> None:
    log = "".join(
        named(f"4F2A{n}", each) + active(f"4F2A{n}")
        for n, each in enumerate(["<>", "<1@elsewhere.example>", "", "<a b@c>", "<\x00.é@c>"])
    )

    assert read(log) == [NOBODY] * 5


def test_a_log_of_any_length_is_read_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaylog, "PENDING", 500)

    def lines() -> Iterator[bytes]:
        for number in range(20_000):
            # None of them ever becomes active.
            reader = f"reader{number:010}"
            yield named(f"A{number:09X}", address_of((OURS[0], reader))).encode()
        yield active("A" + f"{19_999:09X}").encode()

    tracemalloc.start()
    found = list(relaylog.read(lines()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == [Entry((OURS[0], "reader0000019999"), "A000004E1F")]
    assert peak < 1_000_000


# Lists


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (address_of(OURS), Entry(OURS)),
        (address_of(OURS).strip("<>"), Entry(OURS)),
        (f"  {address_of(OURS)}\r", Entry(OURS)),
        ("4F2A", Entry(queue_id="4F2A")),
        ("4Yx2Bc3QzNz7RfT", Entry(queue_id="4Yx2Bc3QzNz7RfT")),
        ("<1@elsewhere.example>", NOBODY),
        ("ann@example.com", NOBODY),
        ("mailing000000001.r\x00ader000000001@miasfeed.example", NOBODY),
        ("%", NOBODY),
    ],
)
def test_a_list_has_a_message_id_or_a_queue_id_a_line(line: str, entry: Entry) -> None:
    assert list(relaylog.read([line.encode() + b"\n", b"\n"])) == [entry]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Ok: queued as 4F2A", ["4F2A"]),
        ("Queued as 4Yx2Bc3QzNz7RfT.", ["4Yx2Bc3QzNz7RfT"]),
        ("OK id=1tEabc-000abc-XY", ["1tEabc-000abc-XY"]),
        ("the server left", []),
        ("", []),
    ],
)
def test_queue_ids_are_found_in_replies(reply: str, found: list[str]) -> None:
    assert relaylog.queue_ids(reply) == found


# Anything

pieces = st.sampled_from(
    [
        "Nov 22 06:00:01 relay ", "2026-11-22T06:00:01Z ", "postfix/", "cleanup[1]: ", "qmgr[2]: ",
        "smtp[3]: ", "smtpd[4]: ", "4F2A1: ", "NOQUEUE: ", "message-id=", address_of(OURS),
        "from=<>, ", "(queue active)", "to=<a@b>, ", "status=sent", "removed", "client=", "<", ">",
        " ", "\t", "[", ":", "\x00", "\x85", "\ud83d", "é",
    ]
)  # fmt: skip
anything = st.one_of(
    st.binary(max_size=200),
    st.lists(pieces, max_size=12).map(lambda each: "".join(each).encode("utf-8", "replace")),
)


@given(st.lists(anything, max_size=20))
@example([b"Nov 22 06:00:01 relay postfix/cleanup[1]: 4F2A1: message-id=\xff\x00"])
def test_nothing_that_a_log_can_hold_fails_it_or_names_what_no_database_can_hold(
    lines: list[bytes],
) -> None:
    for entry in relaylog.read(lines):
        for text in (*(entry.message_id or ()), entry.queue_id or ""):
            assert text.isascii()
            assert text.isprintable()


junk = st.one_of(
    st.binary(max_size=80).filter(lambda line: b"4F2A1" not in line and b"@" not in line),
    st.sampled_from([begun("77777").encode(), active("77777").encode(), b"\x00" * 50]),
)


@given(st.lists(junk, max_size=5), st.lists(junk, max_size=5))
def test_unrelated_lines_hide_no_message(before: list[bytes], between: list[bytes]) -> None:
    log = [*before, named("4F2A1", address_of(OURS)).encode(), *between, active("4F2A1").encode()]

    assert Entry(OURS, "4F2A1") in list(relaylog.read(log))
