"""`newsletter doctor` as an operator runs it: what it prints, keeps and exits with."""

from __future__ import annotations

import json
import mailbox
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email import message_from_bytes
from email.utils import format_datetime
from pathlib import Path

import dns_server
import https_server
import ledgers
import pytest
import trustme
from aiosmtpd.smtp import SMTP, Envelope, Session
from https_server import Answer, Request
from journey import free_port
from signed import WHOLE, signer
from terminal import Run

from newsletter.cli import output
from newsletter.cli.catcher import ClosingController
from newsletter.clock import utc_now
from newsletter.doctor import returns
from newsletter.errors import InvalidToken
from newsletter.tokens import Keyring, Purpose

MAIL = (
    b"From: Mia's Feed <digest@miasfeed.example>\r\nTo: reader@example.com\r\n"
    b"Subject: News\r\nDate: Mon, 30 Nov 2026 07:00:00 +0000\r\nMessage-ID: <a@b.example>\r\n"
    b"List-Unsubscribe: <https://news.miasfeed.example/unsubscribe/x>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\nHello\r\n"
)

#: What DNS should have of a publisher whose mail leaves from 198.51.100.7.
ZONE = {
    "miasfeed.example": {
        "MX": ["10 mx.miasfeed.example."],
        "A": ["198.51.100.7"],
        "TXT": ["v=spf1 ip4:198.51.100.7 -all"],
    },
    "mx.miasfeed.example": {"A": ["198.51.100.7"]},
    signer().name: {"TXT": [signer().record]},
    "_dmarc.miasfeed.example": {"TXT": ["v=DMARC1; p=reject; rua=mailto:d@miasfeed.example"]},
    "7.100.51.198.in-addr.arpa": {"PTR": ["mx.miasfeed.example."]},
}


def kept(tmp_path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection:
        return set(connection.execute("SELECT checks, id FROM finding"))


@pytest.fixture
def delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mail server that delivers all it gets to one Maildir, which feedback_url names."""
    with _delivering(tmp_path / "mail", monkeypatch) as folder:
        yield folder


@contextmanager
def _delivering(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    box = mailbox.Maildir(folder, create=True)

    class Deliver:
        async def handle_DATA(  # noqa: N802 - aiosmtpd's name
            self, _server: SMTP, _session: Session, envelope: Envelope
        ) -> str:
            assert isinstance(envelope.content, bytes)
            line = f"Return-Path: <{envelope.mail_from}>\r\n".encode()
            box.add(line + envelope.content)
            return "250 2.0.0 kept"

    controller = ClosingController(Deliver(), hostname="127.0.0.1", port=free_port())
    controller.start()
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", f"smtp://127.0.0.1:{controller.port}")
    monkeypatch.setenv("NEWSLETTER_FEEDBACK_URL", str(folder))
    monkeypatch.setenv("NEWSLETTER_RETURN_PATH", "bounces+{token}@miasfeed.example")
    try:
        yield folder
    finally:
        controller.stop()
        box.close()


# Without options


def test_the_first_line_says_how_it_stands_and_the_rest_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://relay.example")
    monkeypatch.delenv("NEWSLETTER_POSTAL_ADDRESS")

    ran = run("doctor")

    assert ran.code == 3
    lines = ran.out.splitlines()
    assert lines[0] == "1 error, 3 warnings."
    assert lines[2:4] == [
        "Settings",
        "  error        postal_address is empty, and the law asks for one in every mail.",
    ]
    assert "There are no readers yet." in ran.out
    assert "  in order: keys, relay.local, schema, disk" in ran.out
    assert lines[-1].startswith("Not looked at: DNS, mail servers, base_url")
    assert ran.err == ""


def test_as_json_it_says_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://relay.example")

    ran = run("doctor", "--json")

    assert ran.code == 3
    assert [one["id"] for one in ran.json["findings"] if one["level"] == "warning"] == [
        "cron",
        "feeds.none",
        "readers.none",
    ]
    assert ran.json["summary"] == "3 warnings."
    assert "disk" in ran.json["passed"]["This machine"]


def test_doctor_send_and_status_say_the_same_of_a_setting(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEWSLETTER_POSTAL_ADDRESS")
    by_doctor = next(one for one in run("doctor", "--json").json["findings"])
    by_status = next(one for one in run("status", "--json").json["findings"])
    refused = run("send", "weekly")

    assert by_doctor["id"] == by_status["id"] == "setup.postal_address"
    assert by_doctor["sentence"] == by_status["sentence"]
    assert by_doctor["hint"] == by_status["hint"]
    assert by_doctor["sentence"] in refused.err
    assert by_doctor["hint"] in refused.err
    assert refused.code == 2


def test_what_is_found_is_kept_until_the_next_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEWSLETTER_POSTAL_ADDRESS")
    run("doctor")
    before = kept(tmp_path)
    monkeypatch.setenv("NEWSLETTER_POSTAL_ADDRESS", "12 Harbour Street")
    run("doctor")

    assert before - kept(tmp_path) == {("Settings", "setup.postal_address")}


def test_what_has_been_there_for_days_says_since_when(run: Run, tmp_path: Path) -> None:
    run("doctor")
    assert "since" not in run("doctor").out
    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection, connection:
        connection.execute("UPDATE finding SET first_at = '2026-01-02 07:00:00.000000'")

    assert "(feeds.none, since 2026-01-02)" in run("doctor").out
    found = {one["id"]: one["first_at"] for one in run("doctor", "--json").json["findings"]}
    assert found["feeds.none"] == "2026-01-02T07:00:00+00:00"


def test_without_a_database_the_rest_is_looked_at(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_DATABASE_URL", "sqlite:///elsewhere.db")

    ran = run("doctor", "--json")

    found = {one["id"]: one["level"] for one in ran.json["findings"]}
    assert found["schema"] == "error"
    assert found["database.unread"] == "not checked"
    assert not (tmp_path / "elsewhere.db").exists()


def test_without_keys_it_still_says_what_is_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEWSLETTER_SECRET_KEYS")

    assert "keys" in [one["id"] for one in run("doctor", "--json").json["findings"]]


def test_with_dns_all_that_waits_for_a_network_is_looked_at(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is there, and each part says so."""
    monkeypatch.setenv("NEWSLETTER_BASE_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://127.0.0.1:1")

    ran = run("doctor", "--dns", "--nameserver", "127.0.0.1:1", "--json")

    assert ran.code == 3
    found = {one["id"]: one["level"] for one in ran.json["findings"]}
    assert found["spf.one"] == "not checked"
    assert found["relay"] == "error"
    assert found["tls.web"] == "error"
    assert found["oneclick"] == "not checked"
    assert found["clock"] == "not checked"
    assert found["returnpath.mailbox"] == "info"
    assert "relay.local" not in found

    # A run that does not look at them leaves them as they are.
    before = {one for one in kept(tmp_path) if one[0] not in {"Settings", "This machine"}}
    run("doctor")
    assert ("Web address", "clock") in before
    assert before <= kept(tmp_path)


def test_where_everything_is_right_nothing_needs_a_look(
    run: Run, delivered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole set-up on loopback: DNS, relay, web address, mailbox, and a site with a clock."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    keys = Keyring([ledgers.SECRET])

    def answer(request: Request) -> Answer:
        date = {"Date": format_datetime(utc_now(), usegmt=True)}
        try:
            keys.read(Purpose.UNSUBSCRIBE, request.path.rpartition("/")[2], now=utc_now())
        except InvalidToken:
            return Answer(404, date)
        return Answer(200, date)

    with (
        dns_server.serving(ZONE) as dns,
        https_server.running(answer, https_server.context(authority)) as web,
    ):
        for name, value in {
            "NEWSLETTER_BASE_URL": web.url,
            "NEWSLETTER_DKIM_SELECTORS": "s1",
            "NEWSLETTER_SENDING_ADDRESSES": "198.51.100.7",
            "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
        }.items():
            monkeypatch.setenv(name, value)
        host, port = dns.nameserver
        said = run("doctor", "--dns", "--nameserver", f"{host}:{port}", "--json").json

    left = {one["id"]: one["level"] for one in said["findings"]}
    assert left == {
        "setup.base_url": "error",
        "cron": "warning",
        "feeds.none": "warning",
        "readers.none": "warning",
        "postmaster": "info",
        # Of Spamhaus, nothing answers here.
        "blocklist": "not checked",
    }
    assert said["passed"]["Web address"] == ["tls.web", "oneclick", "clock"]
    assert said["passed"]["Mail servers"] == ["relay"]
    assert said["passed"]["Returned mails"] == ["returnpath.mailbox"]
    assert {"spf.one", "dkim.key", "dmarc.record", "ptr"} <= {*said["passed"]["DNS"]}


# A received mail


def test_a_saved_mail_is_judged_alone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "received.eml"
    file.write_bytes(signer().sign(MAIL, WHOLE[:-1]))

    ran = run("doctor", "--file", str(file), "--nameserver", "127.0.0.1:1")

    assert ran.code == 3
    assert ran.out.startswith("1 error; 2 could not be checked.\n\nReceived mail\n")
    assert "List-Unsubscribe-Post is in the mail and not under its DKIM signature" in ran.out
    assert kept(tmp_path) == {
        ("Received mail", "dkim.headers"),
        ("Received mail", "dkim.signature"),
        ("Received mail", "align"),
        ("Received mail", "mail.way"),
    }


def test_a_saved_mail_that_is_right_needs_no_look(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_DKIM_SELECTORS", "s1")
    file = tmp_path / "received.eml"
    file.write_bytes(signer().sign(MAIL))
    zone = {
        signer().name: {"TXT": [signer().record]},
        "_dmarc.miasfeed.example": {"TXT": ["v=DMARC1; p=reject"]},
    }

    with dns_server.serving(zone) as server:
        host, port = server.nameserver
        ran = run("doctor", "--file", str(file), "--nameserver", f"{host}:{port}")

    assert ran.code == 0
    assert ran.out == (
        "Nothing needs a look.\n\nReceived mail: in order (mail.sender, dkim.signature, "
        "dkim.headers, align, list.unsubscribe)\n"
    )


def test_where_events_are_logged_each_finding_is_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_LOG_LEVEL", "warning")
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://relay.example")

    logged = run("doctor").err

    assert [line.split()[2:4] for line in logged.splitlines()] == [
        ["finding", "cron:"],
        ["finding", "feeds.none:"],
        ["finding", "readers.none:"],
    ]


@pytest.mark.parametrize(
    "octets",
    [b"", b"<html>", b"From x\n", b"hello", b"A: b\n" * 1_000_000],
    ids=["empty", "page", "mbox", "text", "headers"],
)
def test_a_file_that_is_no_mail_is_refused(run: Run, tmp_path: Path, octets: bytes) -> None:
    file = tmp_path / "received.eml"
    file.write_bytes(octets)

    ran = run("doctor", "--file", str(file))

    assert ran.code == 2
    assert ran.err.startswith("The file ")
    assert ".eml" in ran.err


def test_a_file_that_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    assert "no.eml cannot be read: No such file" in run("doctor", "--file", "no.eml").err
    assert "cannot be read: Is a directory" in run("doctor", "--file", str(tmp_path)).err


def test_nothing_in_a_mail_acts_on_the_terminal(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "received.eml"
    hostile = MAIL.replace(b"<https://news.miasfeed.example/", b"<https://\x1b[31m\xe2\x80\xae/")
    file.write_bytes(b"DKIM-Signature: v=1; d=\x1b[2J; s=\x9b; h=from; b=[bold]\r\n" + hostile)

    with dns_server.serving(ZONE) as server:
        host, port = server.nameserver
        ran = run("doctor", "--file", str(file), "--nameserver", f"{host}:{port}")

    assert ran.code == 3
    assert ran.out == "".join(f"{output.printable(line)}\n" for line in ran.out.splitlines())


# A test mail


def test_a_test_mail_to_elsewhere_says_what_to_do_with_it(run: Run, delivered: Path) -> None:
    ran = run("doctor", "--mail", "me@mailbox.example")

    assert ran.code == 0
    assert ran.out.startswith("Sent a test mail to me@mailbox.example. Save what arrives")
    assert "newsletter doctor --file FILE" in ran.out
    (mail,) = (path.read_bytes() for path in (delivered / "new").iterdir())
    assert message_from_bytes(mail)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_a_test_mail_to_the_return_path_is_waited_for_and_judged(run: Run, delivered: Path) -> None:
    ran = run(
        "doctor", "--mail", "bounces@miasfeed.example", "--nameserver", "127.0.0.1:1", "--json"
    )

    found = {one["id"]: one["level"] for one in ran.json["findings"]}
    assert found == {"dkim.signature": "error", "align": "not checked"}
    assert "returnpath.arrival" in ran.json["passed"]["Received mail"]
    # It is moved away, and nobody takes it for a report.
    assert list((delivered / "new").iterdir()) == []


def test_a_test_mail_that_does_not_come_is_a_warning(
    run: Run, delivered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    mailbox.Maildir(other, create=True).close()
    monkeypatch.setenv("NEWSLETTER_FEEDBACK_URL", str(other))
    monkeypatch.setattr(returns, "ARRIVAL_SECONDS", 0.0)

    ran = run("doctor", "--mail", "bounces@miasfeed.example")

    assert ran.code == 3
    assert "did not come to the mailbox of feedback_url" in ran.out


def test_no_test_mail_leaves_an_unfinished_set_up(
    run: Run, delivered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEWSLETTER_POSTAL_ADDRESS")

    ran = run("doctor", "--mail", "me@mailbox.example")

    assert ran.code == 2
    assert ran.err.startswith("Nothing is sent: postal_address is empty")
    assert list((delivered / "new").iterdir()) == []


def test_a_mail_is_sent_or_read_and_not_both(run: Run) -> None:
    assert run("doctor", "--mail", "me@a.example", "--file", "x.eml").code == 2


def test_a_name_server_is_an_address(run: Run) -> None:
    ran = run("doctor", "--nameserver", "dns.example")

    assert ran.code == 2
    assert "is no name server" in ran.err


# After init


def test_init_ends_with_what_is_still_missing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SENDER", "BASE_URL", "POSTAL_ADDRESS", "SECRET_KEYS"):
        monkeypatch.delenv(f"NEWSLETTER_{name}")
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", "smtp://127.0.0.1:1")
    folder = tmp_path / "new"
    folder.mkdir()
    monkeypatch.chdir(folder)

    ran = run("init")

    assert ran.code == 0
    said = [line[2:] for line in ran.out.splitlines() if line.startswith("- ")]
    by_doctor = [
        f"{one['sentence']} {one['hint']}"
        for one in json.loads(run("doctor", "--json").out)["findings"]
        if one["level"] in {"error", "warning"}
    ]
    assert said == by_doctor
    assert len(said) == 7
