"""A mailbox unsubscribes its reader by mail: the second URI of List-Unsubscribe (RFC 2369)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

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
