"""An announcement leaves by a real mail server, is continued, and is corrected by another one."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from journey import Mailbox, Newsletter, free_port, path, serving

pytestmark = pytest.mark.mainly_on("sqlite")

WORDS = """\
# We move to a new home

From **1 January** on we are [somewhere else](https://miasfeed.example/map).
"""


def test_an_announcement_is_planned_tested_sent_continued_and_corrected(
    newsletter: Newsletter, caught: tuple[int, Mailbox], tmp_path: Path
) -> None:
    port, mailbox = caught
    newsletter.add(ann="weekly", bob="weekly", carl="weekly", dora="daily")
    newsletter.run("subscribers", "unsubscribe", "carl@readers.example")
    file = tmp_path / "move.md"
    file.write_text(WORDS, encoding="utf-8")
    announce = ("announce", file, "--to", "weekly")

    assert "2 readers would get it" in newsletter.run(*announce, "--dry-run")
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.run(*announce, "--test", "me@localhost")
    (tried,) = mailbox.messages()
    assert (tried["To"], tried["Subject"]) == ("me@localhost", "We move to a new home")
    assert newsletter.json("editions", "list")["editions"] == []

    # Nobody listens; what could not leave is queued, and cron sends it.
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{free_port()}"
    newsletter.run(*announce, exit_code=75)
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.env["NEWSLETTER_CRON_TOLERANCE_HOURS"] = "0"
    newsletter.run("cron")
    newsletter.add(eve="weekly")
    again = json.loads(newsletter.run("announce", "-", "--to", "weekly", "--json", stdin=WORDS))

    assert (again["state"], again["audience"], again["accepted"]) == ("finished", 2, 2)
    mails = {mail["To"]: mail for mail in mailbox.messages()[1:]}
    assert sorted(mails) == ["ann@readers.example", "bob@readers.example"]
    mail = mails["ann@readers.example"]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert again["edition"] in mail["Feedback-ID"]
    plain, html = (part.get_content() for part in mail.iter_parts())
    assert "From 1 January on we are somewhere else [1]." in " ".join(plain.split())
    assert "<strong>1 January</strong>" in html
    public = newsletter.env["NEWSLETTER_BASE_URL"]
    with serving(newsletter) as (site, _):
        page = httpx2.get(f"{site}{path(mail, 'view')}").text
        assert "<strong>1 January</strong>" in page
        left = httpx2.post(f"{site}{path(mail, 'unsubscribe')}")
        assert left.status_code == 200
    newsletter.env["NEWSLETTER_BASE_URL"] = public

    wrong = newsletter.run(
        "announce", "-", "--to", again["edition"], "--subject", "Not yet", stdin="It is July."
    )
    # Ann has left by now.
    assert "is finished: 1 reader, 1 accepted." in wrong
    assert (mailbox.messages()[-1]["To"], mailbox.messages()[-1]["Subject"]) == (
        "bob@readers.example",
        "Not yet",
    )
    assert "It is July." in newsletter.run("editions", "show", wrong.split()[0])
    assert again["edition"] in newsletter.run("explain", "bob@readers.example")
