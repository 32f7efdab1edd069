"""An editor's actions, and their effect on the readers' mail."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from journey import Mailbox, Newsletter, at_noon, due_an_hour_ago, path, serving, stories
from sqlalchemy import Engine, text


@pytest.fixture
def desk(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> tuple[Newsletter, Mailbox]:
    """A newsletter with a reader of each cadence and a feed of three articles, and its mailbox."""
    newsletter, (port, mailbox) = sqlite_newsletter, caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.env["LOGNAME"] = "mia"
    at_noon(newsletter)
    newsletter.add(dora="daily", wim="weekly", mona="monthly")
    newsletter.run("feeds", "add", write_feed("alpha", "beta", "gamma"))
    return newsletter, mailbox


def number(newsletter: Newsletter, title: str) -> int:
    """Return the number of an article by its title."""
    listed = newsletter.json("articles", "list")["articles"]
    return next(int(one["article"]) for one in listed if one["title"] == title)


def new_day(engine: Engine) -> None:
    """Have the daily edition be that of yesterday, so that today's can be made."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE edition SET period = '2020-01-01' WHERE cadence = 'daily'"))


def body(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    content: str = found.get_content()
    return content


def test_what_is_held_comes_once_it_is_released_and_what_is_rejected_never(
    desk: tuple[Newsletter, Mailbox], write_feed: Callable[..., Path], sqlite_engine: Engine
) -> None:
    newsletter, mailbox = desk
    held, rejected = number(newsletter, "beta"), number(newsletter, "gamma")
    newsletter.run("articles", "hold", held)
    newsletter.run("articles", "reject", rejected)
    newsletter.run("send", "daily")
    newsletter.run("send", "weekly")
    assert stories(mailbox.to("dora")) == stories(mailbox.to("wim")) == ["alpha"]
    refused = newsletter.run("articles", "reject", number(newsletter, "alpha"), exit_code=1)
    assert "cannot be rejected" in refused

    newsletter.run("articles", "release", held)
    # The feed brings all of them again, the rejected one changed.
    feed = write_feed("alpha", "beta", "gamma", "delta")
    feed.write_text(feed.read_text().replace("About gamma", "More about gamma"))
    newsletter.run("feeds", "fetch")
    new_day(sqlite_engine)
    newsletter.run("send", "daily")
    newsletter.run("send", "monthly")

    assert [stories(mail) for mail in mailbox.to("dora")] == [["alpha"], ["beta", "delta"]]
    assert stories(mailbox.to("mona")) == ["alpha", "beta", "delta"]
    assert newsletter.json("articles", "show", rejected)["state"] == "rejected"
    with sqlite_engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT actor, action, subject FROM audit"
                " WHERE subject LIKE 'article:%' ORDER BY id"
            )
        )
        assert [tuple(row) for row in rows] == [
            ("cli:mia", "articles.hold", f"article:{held}"),
            ("cli:mia", "articles.reject", f"article:{rejected}"),
            ("cli:mia", "articles.release", f"article:{held}"),
        ]


def test_a_pinned_article_leads_every_mail_of_the_next_editions(
    desk: tuple[Newsletter, Mailbox], write_feed: Callable[..., Path], sqlite_engine: Engine
) -> None:
    newsletter, mailbox = desk
    newsletter.run("articles", "pin", number(newsletter, "gamma"))
    newsletter.run("send", "daily")
    newsletter.run("send", "weekly")
    write_feed("alpha", "beta", "gamma", "delta")
    newsletter.run("feeds", "fetch")
    new_day(sqlite_engine)
    newsletter.run("send", "daily")

    assert [mail["Subject"] for mail in mailbox.to("dora")] == ["gamma, and 2 more", "delta"]
    assert [mail["Subject"] for mail in mailbox.to("wim")] == ["gamma, and 2 more"]


def test_cron_leaves_a_skipped_edition_out_and_makes_it_when_that_is_taken_back(
    desk: tuple[Newsletter, Mailbox], sqlite_engine: Engine
) -> None:
    newsletter, mailbox = desk
    due_an_hour_ago(newsletter, sqlite_engine, weekly_in=timedelta(days=3))
    # Said in time, at ten, of an edition that falls due at eleven.
    newsletter.env["NEWSLETTER_DAILY_AT"] = "13:00"
    newsletter.run("editions", "skip", "daily")
    newsletter.env["NEWSLETTER_DAILY_AT"] = "11:00"
    assert newsletter.run("cron") == ""
    assert mailbox.messages() == []

    newsletter.env["NEWSLETTER_DAILY_AT"] = "13:00"
    newsletter.run("editions", "unskip", "daily")
    newsletter.env["NEWSLETTER_DAILY_AT"] = "11:00"
    newsletter.run("cron")

    assert stories(mailbox.to("dora")) == ["alpha", "beta", "gamma"]


def test_after_a_skipped_edition_the_next_has_what_came_meanwhile(
    desk: tuple[Newsletter, Mailbox], write_feed: Callable[..., Path], sqlite_engine: Engine
) -> None:
    newsletter, mailbox = desk
    newsletter.run("send", "daily")
    skipped = newsletter.json("editions", "skip", "daily")
    write_feed("alpha", "beta", "gamma", "delta")
    newsletter.run("feeds", "fetch")
    with sqlite_engine.begin() as connection:
        # Two days later: both are over.
        connection.execute(text("UPDATE edition SET period = date(period, '-2 days')"))
    newsletter.run("send", "daily")

    assert skipped["edition"].startswith("daily-")
    assert [stories(mail) for mail in mailbox.to("dora")] == [["alpha", "beta", "gamma"], ["delta"]]


def test_a_note_stands_in_both_parts_and_in_the_browser_once(
    desk: tuple[Newsletter, Mailbox], write_feed: Callable[..., Path], sqlite_engine: Engine
) -> None:
    newsletter, mailbox = desk
    newsletter.run(
        "note", "daily", "Dear *readers*, [meet us](https://a.example/meet). <script>x()</script>"
    )
    with serving(newsletter) as (site, _):
        newsletter.run("send", "daily", "--force")
        (mail,) = mailbox.to("dora")
        with urllib.request.urlopen(site + path(mail, "view"), timeout=30) as answer:
            page = answer.read().decode()
    newsletter.run("send", "weekly", "--force")
    write_feed("delta")
    newsletter.run("feeds", "fetch")
    new_day(sqlite_engine)
    newsletter.run("send", "daily", "--force")

    assert "Dear readers, meet us [1]." in body(mail, "plain")
    assert "[1] https://a.example/meet" in body(mail, "plain")
    for html in (body(mail, "html"), page):
        assert re.search(r"Dear <em[^>]*>readers</em>, <a[^>]*https://a.example/meet", html)
        assert "x()" not in html
    (weekly,), second = mailbox.to("wim"), mailbox.to("dora")[1]
    assert "Dear" not in body(weekly, "plain") + body(second, "plain") + body(second, "html")


def test_categories_that_are_left_out_come_in_no_mail(
    desk: tuple[Newsletter, Mailbox],
) -> None:
    newsletter, mailbox = desk
    link = "https://miasfeed.example/goal"
    newsletter.run("articles", "add", "--title", "Goal", "--link", link, "--category", "Sport")
    newsletter.env["NEWSLETTER_SKIP_CATEGORIES"] = "SPORT"
    newsletter.run("send", "daily")

    assert stories(mailbox.to("dora")) == ["alpha", "beta", "gamma"]
