"""A mailbox on a real IMAP server is read on schedule: who is gone gets no further edition."""

from __future__ import annotations

import email
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from dovecot import Dovecot, dovecot
from journey import Mailbox, Newsletter, due_an_hour_ago, until
from sqlalchemy import Engine

pytestmark = [pytest.mark.xdist_group("dovecot"), pytest.mark.mainly_on("postgresql")]


@pytest.fixture
def box(newsletter: Newsletter, tmp_path: Path) -> Iterator[Dovecot]:
    """A mailbox whose certificate is of an authority that the command trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with dovecot(authority) as running:
        newsletter.env["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
        newsletter.env["NEWSLETTER_FEEDBACK_URL"] = running.url("imaps", "/INBOX")
        yield running


def returned(mail: email.message.Message, reader: str) -> bytes:
    """Return the bounce (RFC 3464) of a mail to a reader."""
    return (
        "From: MAILER-DAEMON@mx.example\r\nTo: digest@miasfeed.example\r\n"
        f"Subject: Undelivered\r\nMessage-ID: <{reader}.bounce@mx.example>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\n\r\nIt could not be delivered.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example\r\n\r\n"
        f"Final-Recipient: rfc822; {reader}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n\r\n"
        "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: {mail['Message-ID']}\r\nTo: {reader}\r\n\r\n--b--\r\n"
    ).encode()


@pytest.fixture
def bounced(
    newsletter: Newsletter,
    caught: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
    box: Dovecot,
) -> Dovecot:
    """A mail to Ada has come back, and something else is in the mailbox, too."""
    port, mails = caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.add(ada="weekly", bob="weekly")
    newsletter.run("feeds", "add", write_feed("alpha"))
    newsletter.run("send", "weekly")
    box.put(returned(mails.to("ada")[0], "ada@readers.example"), b"Subject: Buy\r\n\r\nwords\r\n")
    return box


def test_who_is_gone_is_out_before_the_next_edition_is_made(
    newsletter: Newsletter,
    engine: Engine,
    caught: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
    bounced: Dovecot,
) -> None:
    for name in ("ada", "bob"):
        newsletter.run("subscribers", "change", f"{name}@readers.example", "--cadence", "daily")
    write_feed("alpha", "beta")
    due_an_hour_ago(newsletter, engine, weekly_in=timedelta(days=3))

    said = newsletter.run("cron")

    assert "2 mails: 1 bounced, 1 other. 1 address is suppressed now.\n" in said
    assert [len(caught[1].to(name)) for name in ("ada", "bob")] == [1, 2]
    assert newsletter.json("subscribers", "show", "ada@readers.example")["status"] == "suppressed"
    assert bounced.subjects() == ["Buy"]
    assert bounced.subjects(".Newsletter.Processed") == ["Undelivered"]


def test_a_worker_with_the_schedule_reads_the_mailbox(
    newsletter: Newsletter, bounced: Dovecot
) -> None:
    running = newsletter.start("worker", "--schedule")
    try:
        until(lambda: bounced.subjects() == ["Buy"])
    finally:
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)

    assert running.returncode == 0, err
    assert "1 address is suppressed now." in out
    assert newsletter.json("subscribers", "show", "ada@readers.example")["status"] == "suppressed"


def test_many_that_read_at_once_read_each_mail_once(
    newsletter: Newsletter, bounced: Dovecot
) -> None:
    bounced.put(*(f"Subject: {number}\r\n\r\n".encode() for number in range(500)))

    with newsletter.crowd(4, "feedback", "read") as crowd:
        codes, err = crowd.end()

    assert {*codes} <= {0, 75}, err
    assert "Traceback" not in err
    assert bounced.subjects(".Newsletter.Processed") == ["Undelivered"]
    assert len(bounced.subjects()) == 501
    assert newsletter.json("subscribers", "show", "ada@readers.example")["status"] == "suppressed"
    assert newsletter.json("feedback", "read")["read"] == 0
