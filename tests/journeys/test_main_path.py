"""A feed becomes a digest in every reader's mailbox, once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from journey import Mailbox, Newsletter, at_noon, refusing, stories

FEED = Path(__file__).parents[1] / "samples" / "feeds" / "mias-feed.rss.xml"


def test_a_thousand_readers_get_the_sample_feed_once(
    newsletter: Newsletter, smtp_sink: tuple[int, Mailbox], tmp_path: Path
) -> None:
    port, mailbox = smtp_sink
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    readers = tmp_path / "readers.csv"
    addresses = [f"reader{number}@readers.example" for number in range(1000)]
    readers.write_text("email,cadence\n" + "".join(f"{a},weekly\n" for a in addresses))

    assert newsletter.json("feeds", "add", FEED)["new"] == 5
    assert newsletter.json("feeds", "fetch")["known"] == 5
    assert newsletter.json("subscribers", "import", readers)["added"] == 1000
    first = newsletter.json("send", "weekly")
    again = newsletter.json("send", "weekly")

    assert first["state"] == again["state"] == "finished"
    assert first["audience"] == first["accepted"] == again["accepted"] == 1000
    messages = mailbox.messages()
    assert Counter(str(m["To"]) for m in messages) == Counter(dict.fromkeys(addresses, 1))
    tokens = {re.search(r"/unsubscribe/([^>]+)>", m["List-Unsubscribe"])[1] for m in messages}
    assert len(tokens) == 1000
    assert len({m["Message-ID"] for m in messages}) == 1000


def test_switches_pauses_and_refusals_neither_repeat_nor_miss_an_article(
    newsletter: Newsletter, write_feed: Callable[..., Path], tmp_path: Path
) -> None:
    """Yesterday's daily edition and today's, in one sitting: the send time makes the difference."""
    at_noon(newsletter)
    newsletter.add(dora="daily", rita="daily", paul="daily", mona="monthly")
    newsletter.run("subscribers", "change", "paul@readers.example", "--pause")
    newsletter.run("feeds", "add", write_feed("alpha"))

    newsletter.env["NEWSLETTER_DAILY_AT"] = "23:59"
    with refusing(tmp_path / "yesterday", "rita@readers.example") as (port, yesterday):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        first = newsletter.json("send", "daily")
    assert (first["audience"], first["accepted"], first["refused"]) == (2, 1, 1)
    assert first["state"] == "finished"

    newsletter.run("subscribers", "change", "dora@readers.example", "--cadence", "weekly")
    newsletter.run("subscribers", "change", "mona@readers.example", "--cadence", "daily")
    newsletter.run("subscribers", "change", "paul@readers.example", "--resume")
    write_feed("alpha", "beta")
    newsletter.run("feeds", "fetch")

    newsletter.env["NEWSLETTER_DAILY_AT"] = "00:00"
    with refusing(tmp_path / "today") as (port, today):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        second = newsletter.json("send", "daily")
        weekly = newsletter.json("send", "weekly")
    assert (second["audience"], second["accepted"]) == (3, 3)
    assert (weekly["audience"], weekly["accepted"]) == (1, 1)
    assert first["edition"] != second["edition"]

    assert stories(yesterday.to("dora")) == ["alpha"]
    # Moved to weekly: what she has read does not come again. The others catch up on everything.
    assert stories(today.to("dora")) == ["beta"]
    for name in ("rita", "paul", "mona"):
        assert stories(today.to(name)) == ["alpha", "beta"], name


def test_fifty_sends_at_once_make_one_edition_and_one_mail_per_reader(
    newsletter: Newsletter, smtp_sink: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    port, mailbox = smtp_sink
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.env["NEWSLETTER_SMTP_CONNECTIONS"] = "2"
    rows = "".join(f"reader{number}@readers.example\n" for number in range(200))
    newsletter.run("subscribers", "import", "-", "--cadence", "daily", stdin=rows)
    newsletter.run("feeds", "add", write_feed("alpha"))

    running = [newsletter.start("send", "daily") for _ in range(50)]
    ended = [(one.communicate(timeout=280), one.returncode) for one in running]

    assert [code for _, code in ended] == [0] * 50, ended
    counts = Counter(str(m["To"]) for m in mailbox.messages())
    assert len(counts) == 200
    assert set(counts.values()) == {1}
    (edition,) = newsletter.json("editions", "list")["editions"]
    assert (edition["audience"], edition["accepted"]) == (200, 200)


def test_cron_twice_is_cron_once_and_quiet(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    newsletter, (port, mailbox) = sqlite_newsletter, caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    at_noon(newsletter)
    newsletter.add(ada="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))

    # A fresh install: this morning's period was due before the publication began.
    newsletter.env["NEWSLETTER_DAILY_AT"] = "11:00"
    assert newsletter.run("cron") == ""
    assert mailbox.messages() == []
