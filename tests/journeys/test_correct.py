"""A correction reaches every reader who got the mistake, once, and nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from journey import Mailbox, Newsletter, free_port, refusing

pytestmark = pytest.mark.mainly_on("sqlite")

WORDS = """\
We wrote 50 mg. The dose is 5 mg,
as <the study> says: https://journal.example/5.

We are sorry.
"""


def test_a_correction_reaches_exactly_the_readers_who_were_sent_the_article(
    newsletter: Newsletter,
    caught: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
    tmp_path: Path,
) -> None:
    port, mailbox = caught
    newsletter.add(ann="weekly", bob="weekly", rita="weekly", carl="weekly", dora="monthly")
    newsletter.run("feeds", "add", write_feed("dose", "other"))
    with refusing(tmp_path / "then", "rita@readers.example") as (then, sent):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{then}"
        edition = newsletter.json("send", "weekly")["edition"]
    assert len(sent.messages()) == 3
    newsletter.run("subscribers", "unsubscribe", "carl@readers.example")
    newsletter.add(eve="weekly")
    (mailing,) = newsletter.json("editions", "show", edition)["mailings"]
    (dose,) = (one["article_id"] for one in mailing["articles"] if one["title"] == "dose")
    text = tmp_path / "correction.txt"
    text.write_text(WORDS, encoding="utf-8")
    correct = ("editions", "correct", edition, "--article", dose, "--text")

    rehearsed = newsletter.run(*correct, text, "--dry-run")
    assert "Subject: Correction: dose" in rehearsed
    assert "as <the study> says" in rehearsed
    assert "The correction would go to 2 readers." in rehearsed
    assert "1 unsubscribed" in rehearsed
    assert newsletter.json("editions", "show", edition)["corrections"] == []

    # Nobody listens; what could not leave is queued, and cron sends it.
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{free_port()}"
    newsletter.run(*correct, text, exit_code=75)
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.env["NEWSLETTER_CRON_TOLERANCE_HOURS"] = "0"
    newsletter.run("cron")
    link = "https://miasfeed.example/dose?utm_source=digest"
    again = json.loads(
        newsletter.run(
            "editions", "correct", edition, "--article", link, "--text", "-", "--json", stdin=WORDS
        )
    )

    assert (again["readers"], again["accepted"]) == (2, 2)
    assert again["not_told"]["unsubscribed"] == 1
    mails = [mail for mail in mailbox.messages() if mail["Subject"] == "Correction: dose"]
    assert sorted(mail["To"] for mail in mails) == ["ann@readers.example", "bob@readers.example"]
    (mail,) = (mail for mail in mails if mail["To"] == "ann@readers.example")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    plain, html = (part.get_content() for part in mail.iter_parts())
    assert "We wrote 50 mg. The dose is 5 mg, as <the study> says:" in " ".join(plain.split())
    assert "https://miasfeed.example/dose" in plain
    assert "as &lt;the study&gt; says" in html
    assert 'href="https://journal.example/5"' in html
    (one,) = newsletter.json("editions", "show", edition)["corrections"]
    assert (one["readers"], one["states"]) == (2, {"accepted": 2})
    assert "Correction: dose" in newsletter.run("editions", "show", edition)
    (summary,) = (
        one for one in newsletter.json("editions", "list")["editions"] if one["edition"] == edition
    )
    assert (summary["audience"], summary["accepted"], summary["refused"]) == (4, 3, 1)


def test_what_cannot_be_corrected_is_said_in_words(
    sqlite_newsletter: Newsletter, write_feed: Callable[..., Path], tmp_path: Path
) -> None:
    newsletter = sqlite_newsletter
    newsletter.add(ann="weekly")
    newsletter.run("feeds", "add", write_feed("dose"))
    correct = ("editions", "correct", "weekly-2026-06-01", "--article", 1, "--text")
    (tmp_path / "latin").write_bytes("Grüße".encode("latin-1"))

    assert "There is no edition" in newsletter.run(*correct, "-", stdin="Words.", exit_code=1)
    assert "has no text" in newsletter.run(*correct, "-", stdin=" \n", exit_code=2)
    assert "too long" in newsletter.run(*correct, "-", stdin="a" * 1_000_000, exit_code=2)
    assert "cannot be read" in newsletter.run(*correct, "nowhere.txt", exit_code=2)
    assert "is not UTF-8" in newsletter.run(*correct, "latin", exit_code=2)
