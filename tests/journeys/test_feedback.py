"""A mailbox unsubscribes its reader by mail: the second URI of List-Unsubscribe (RFC 2369)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote

import bounces
import pytest
from journey import Mailbox, Newsletter

pytestmark = pytest.mark.mainly_on("sqlite")


def asking(mail: object, sender: str = "Ada <ada@readers.example>") -> str:
    """The mail that a mail program writes from the mailto of List-Unsubscribe."""
    found = re.search(r"<mailto:([^?>]+)\?subject=([^>]+)>", str(mail["List-Unsubscribe"]))  # type: ignore[index]
    assert found
    return f"From: {sender}\nTo: {found[1]}\nSubject: {unquote(found[2])}\n\n"


def test_a_mail_to_the_address_in_list_unsubscribe_ends_the_subscription(
    newsletter: Newsletter,
    caught: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
) -> None:
    port, mails = caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.add(ada="daily", bob="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))
    newsletter.run("send", "daily")
    mail = asking(*mails.to("ada"))
    assert "To: digest@miasfeed.example" in mail

    said = newsletter.run("feedback", "read", stdin=mail)

    assert "1 unsubscribed" in said
    shown = newsletter.json("subscribers", "show", "ada@readers.example")
    assert shown["status"] == "unsubscribed"
    assert shown["consents"][-1]["source"] == "unsubscribe mail"
    # Whoever claims to be the sender: the token speaks, and for its reader alone.
    assert newsletter.json("subscribers", "show", "bob@readers.example")["status"] == "active"

    # Reading a mailbox again changes nothing; whoever has come back since stays.
    box = newsletter.folder / "box"
    token = mail.split()[-1]
    forged = mail.replace(token, token[:-1] + ("A" if token[-1] != "A" else "B"))
    in_words = "From: Bob <bob@readers.example>\nSubject: Unsubscribe\n\n"
    lunch = "From: Bob <bob@readers.example>\nSubject: Lunch?\n\n"
    line = "From a@b Sun Nov 22 12:00:00 2026\n"
    box.write_text("\n".join(line + one for one in (mail, forged, in_words, lunch)))
    again = newsletter.json("feedback", "read", box)
    assert [again[name] for name in ("read", "already", "invalid", "unsigned", "other")] == [
        4, 1, 1, 1, 1,
    ]  # fmt: skip
    assert again["senders"] == ["Bob <bob@readers.example>"]
    newsletter.run("subscribers", "add", "ada@readers.example", "--again")
    assert newsletter.json("feedback", "read", box)["outdated"] == 1
    assert newsletter.json("subscribers", "show", "ada@readers.example")["status"] == "active"
    assert newsletter.json("subscribers", "show", "bob@readers.example")["status"] == "active"

    # Under cron: quiet, unless somebody asks for something.
    assert newsletter.run("feedback", "read", stdin=lunch) == ""
    assert json.loads(newsletter.run("feedback", "read", "--json", stdin=lunch))["other"] == 1


def test_a_mail_that_comes_while_the_database_is_away_is_to_be_delivered_later(
    sqlite_newsletter: Newsletter,
) -> None:
    """75 is what a mail server takes for "try again" from a program that it pipes to."""
    sqlite_newsletter.env["NEWSLETTER_DATABASE_URL"] = "postgresql://127.0.0.1:1/nowhere"

    sqlite_newsletter.run("feedback", "read", stdin="Subject: unsubscribe\n\n", exit_code=75)


def bounce(mail: EmailMessage, reply: str) -> str:
    """The mail that a server returns for a digest."""
    to, status = str(mail["To"]), reply.split()[1]
    sent = bounces.SENT.replace("ada@readers.example", to)
    block = (
        f"Final-Recipient: rfc822; {to}\nAction: failed\nStatus: {status}\n"
        f"Diagnostic-Code: smtp; {reply}"
    )
    returned = bounces.report("It failed.", block, sent=sent)
    return f"Message-ID: <{status}.{to}>\n" + returned.replace(
        bounces.MESSAGE_ID, str(mail["Message-ID"])
    )


def test_what_came_back_is_said_listed_and_counted(
    newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    port, mails = caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.add(ada="daily", bob="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))
    newsletter.run("send", "daily")
    (ada,), (bob,) = mails.to("ada"), mails.to("bob")
    assert newsletter.run("feedback", "list") == "Nothing has come back.\n"

    dead = bounce(ada, "550 5.1.1 No such user here")
    said = newsletter.run("feedback", "read", stdin=dead)
    assert said == "1 mail: 1 bounced. 1 address is suppressed now.\n"
    assert newsletter.run("feedback", "read", stdin=dead) == ""
    ours = newsletter._run("feedback", "read", stdin=bounce(bob, "550 5.7.26 Unauthenticated"))
    assert "1 mail came back for SPF and DKIM" in ours.err
    stray = bounce(bob, "552 5.2.2 Over quota").replace(str(bob["Message-ID"]), "<1@gone.example>")
    assert "feedback list --unplaced" in newsletter._run("feedback", "read", stdin=stray).err

    listed = newsletter.json("feedback", "list")["reports"]
    assert [(one["verdict"], one["address"], one["reason"]) for one in listed] == [
        ("full", None, "names no mail of ours"),
        ("ours", "bob@readers.example", None),
        ("dead", "ada@readers.example", None),
    ]
    unplaced = newsletter.run("feedback", "list", "--unplaced")
    assert "Over quota" in unplaced
    assert "No such user" not in unplaced
    (edition,) = newsletter.json("editions", "list")["editions"]
    assert (edition["accepted"], edition["bounced"], edition["complained"]) == (2, 2, 0)
    rows = newsletter.json("delivery", "list")["deliveries"]
    assert {row["address"][:3]: row["returned"] for row in rows} == {"ada": "dead", "bob": "ours"}
    shown = newsletter.run("subscribers", "show", "ada@readers.example")
    assert re.search("accepted, dead +No such user here", shown)
    assert "bounced" in newsletter.run("status")
