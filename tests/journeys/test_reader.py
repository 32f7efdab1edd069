"""One reader, from the box on somebody's article to the goodbye for good, in a real browser.

Ann reads an article on a site that is not ours and has a strict policy. She signs up in the box
there, opens the mail that asks her, confirms by its one button, and is told the date of her first
digest. It comes. From its foot she opens her preferences, changes to monthly, pauses, and comes
back. She leaves by the link in the mail, thinks again, and undoes it; then she leaves for good, and
the next edition goes to everybody but her. After each step the database says just that: what she
is now, one more row of consent for each thing she did and none for what she only looked at, and
every mail that went to her.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import browser
import driver
import pytest
from browser import Answer, Site
from driver import Tab
from journey import Mailbox, Newsletter, serving, stories, until
from sqlalchemy import Engine
from sqlmodel import col, select

from newsletter.db import session as sessions
from newsletter.models import Consent, Delivery, Mailing, Subscriber
from newsletter.subscribers import store

ANN = "ann@readers.example"
#: What Ann has read, and so agreed to, when she presses the button.
WORDING = (
    "Stay updated with Mia's Feed. The new articles in one email, as often as you like. "
    "How often would you like updates? Weekly. We respect your privacy. Unsubscribe at any time. "
    "[Subscribe]"
)
ARTICLE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>An article</title>
</head><body><h1>An article</h1><p>It is long.</p><script src="{site}/embed.js"></script>
<p>The end.</p></body></html>"""
POLICY = (
    "default-src 'none'; script-src {scripts}; connect-src {site}; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

pytestmark = [
    pytest.mark.skipif(browser.CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.xdist_group("browser"),
]

#: action, cadence, status, source
Step = tuple[str, str, str, str]


@dataclass
class Record:
    """What the database must say of Ann: it grows by what she does, and nothing of it changes."""

    engine: Engine
    consents: list[Step] = field(default_factory=list)
    mails: list[tuple[str, str]] = field(default_factory=list)

    def says(
        self, status: str, cadence: str, *, did: str = "", at: str = "", got: str = ""
    ) -> None:
        """Check it all, after Ann did one thing somewhere and got one mail, or neither."""
        if did:
            self.consents.append((did, cadence, status, at))
        if got:
            self.mails.append((got, "accepted"))
            until(lambda: self._mails() == self.mails)
        reader, consents = self._reader(), self._consents()
        assert (reader.status, reader.cadence, reader.generation) == (status, cadence, 1)
        assert [(c.action, c.cadence, c.status, c.source) for c in consents] == self.consents
        assert {(c.generation, c.remote) for c in consents} == {(1, "127.0.0.1")}
        # She read words when she signed up; after that she pressed what was meant.
        assert [c.wording for c in consents] == [WORDING, *[""] * (len(consents) - 1)]
        assert self._mails() == self.mails
        assert (reader.subscribed_at is None) == (status == "pending")
        assert (reader.paused_until is not None) == (status == "paused")
        assert (reader.watermark is not None) == (("digest", "accepted") in self.mails)

    def pause_ends(self) -> datetime:
        found = self._reader().paused_until
        assert found is not None
        return found

    def _reader(self) -> Subscriber:
        with sessions.reading(self.engine) as session:
            found = store.find(session, ANN)
        assert found is not None
        return found

    def _consents(self) -> list[Consent]:
        reader = self._reader()
        with sessions.reading(self.engine) as session:
            return store.consents(session, reader)

    def _mails(self) -> list[tuple[str, str]]:
        query = (
            select(Mailing.kind, Delivery.state)
            .where(Delivery.mailing_id == Mailing.id, Delivery.address == ANN)
            .order_by(col(Delivery.id))
        )
        with sessions.reading(self.engine) as session:
            return [(kind, state) for kind, state in session.exec(query)]


@dataclass
class Reading:
    """Ann's mail program: it shows a mail as any browser does."""

    tab: Tab
    mailbox: Mailbox

    def open(self, number: int, *words: str) -> None:
        """Wait for Ann's mail of that number, and read it."""
        until(lambda: len(self.mailbox.to("ann")) >= number)
        shown = sorted(self.mailbox.folder.glob(f"*-{ANN}.html"))
        self.tab.open(shown[number - 1].as_uri())
        self.tab.see(*words)


def test_a_reader_signs_up_on_a_foreign_page_reads_and_leaves_for_good(
    sqlite_newsletter: Newsletter,
    sqlite_engine: Engine,
    caught: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
    tmp_path: Path,
) -> None:
    newsletter, record = sqlite_newsletter, Record(sqlite_engine)
    smtp_port, mailbox = caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    first_digest = in_three_days(newsletter)
    newsletter.add(bob="monthly")

    with (
        serving(newsletter) as (site, _),
        article_with_box(site) as article,
        driver.tab(tmp_path / "profile") as tab,
    ):
        mails = Reading(tab, mailbox)
        there = f"box on {article.url.removeprefix('http://')}"

        sign_up(tab, article, first_digest)
        record.says("pending", "weekly", did="asked", at=there, got="confirm")

        mails.open(1, "Please confirm your subscription", "Once a week", ANN)
        tab.press("Confirm my subscription")
        tab.see("Is a…@readers.example yours", f"Your first digest comes {first_digest}.")
        record.says("pending", "weekly")
        tab.press("Yes, subscribe me")
        tab.see("Welcome, you are subscribed", f"Your first digest comes {first_digest}.")
        record.says("active", "weekly", did="confirmed", at="confirm page", got="welcome")
        mails.open(2, "Welcome, you are subscribed", f"Your first digest comes {first_digest}.")

        newsletter.run("feeds", "add", write_feed("alpha"))
        assert newsletter.json("send", "weekly", "--force")["accepted"] == 1
        mails.open(3, "alpha", "About alpha.", "You get this once a week.")
        record.says("active", "weekly", got="digest")

        write_feed("alpha", "beta")
        newsletter.run("feeds", "fetch")
        tab.press("Change how often")
        tab.see("Your preferences", "a…@readers.example")
        tab.press("Monthly")
        tab.press("Save")
        tab.see("Saved", "You get this once a month. Your next digest comes ")
        record.says("active", "monthly", did="cadence", at="preferences page")
        assert would_get_monthly(newsletter) == 2, "Bob and Ann"

        tab.press("Back to your preferences")
        tab.see("Pause until")
        tab.press("Pause")
        text = tab.see("Paused")
        record.says("paused", "monthly", did="paused", at="preferences page")
        assert f"You get no mail until {in_words(record.pause_ends(), with_year=True)}." in text
        assert would_get_monthly(newsletter) == 1

        tab.press("Back to your preferences")
        tab.see(f"Paused until {in_words(record.pause_ends(), with_year=True)}.")
        tab.press("End the pause now")
        tab.see("The pause has ended", "Your next digest comes ")
        record.says("active", "monthly", did="resumed", at="preferences page")

        mails.open(3, "alpha")
        tab.press("Unsubscribe")
        tab.see("Unsubscribe from Mia's Feed", "Would less be enough?", "Pause until ")
        record.says("active", "monthly")
        tab.press("Unsubscribe")
        tab.see("You have unsubscribed", "You get no more mail from Mia's Feed.")
        record.says("unsubscribed", "monthly", did="unsubscribed", at="unsubscribe link")

        tab.press("Undo the goodbye")
        tab.see("Welcome back", "You get this once a month.")
        record.says("active", "monthly", did="returned", at="undo of a goodbye")
        assert would_get_monthly(newsletter) == 2

        mails.open(3, "alpha")
        tab.press("Unsubscribe")
        tab.see("Unsubscribe from Mia's Feed")
        tab.press("Unsubscribe")
        tab.see("You have unsubscribed")
        record.says("unsubscribed", "monthly", did="unsubscribed", at="unsubscribe link")

        edition = newsletter.json("send", "monthly", "--force")
        assert (edition["audience"], edition["accepted"]) == (1, 1)
        assert stories(mailbox.to("bob")) == ["alpha", "beta"]
        assert len(mailbox.to("ann")) == 3
        mails.open(3, "alpha")
        tab.press("Change how often")
        tab.see("You have left already")
        record.says("unsubscribed", "monthly")
        assert tab.complaints() == []


def sign_up(tab: Tab, article: Site, first_digest: str) -> None:
    """Fill in the box on an article; the box itself waits until its form is old enough."""
    tab.open(f"{article.url}/article")
    tab.see("It is long.", "Stay updated with Mia's Feed", "The end.")
    tab.type("Your email address", ANN)
    tab.press("Daily")
    tab.press("Weekly")
    tab.see(f"Your first digest comes {first_digest}.")
    tab.press("Subscribe")
    tab.see("It is long.", "Please look into your mailbox", "The end.")
    assert tab.title() == "An article"
    assert tab.complaints() == []


def in_three_days(newsletter: Newsletter) -> str:
    """Let the weekly edition be due in three days, and return that moment in words."""
    due = datetime.now(UTC) + timedelta(days=3)
    newsletter.env["NEWSLETTER_WEEKLY_ON"] = f"{due:%A}".lower()
    newsletter.env["NEWSLETTER_WEEKLY_AT"] = "06:30"
    return f"{in_words(due)}, 06:30"


def in_words(day: datetime, *, with_year: bool = False) -> str:
    comma, year = (",", f" {day.year}") if with_year else ("", "")
    return f"{day:%A}{comma} {day.day} {day:%B}{year}"


def would_get_monthly(newsletter: Newsletter) -> int:
    """Return how many readers a monthly edition would have now."""
    audience: int = newsletter.json("send", "monthly", "--dry-run")["audience"]
    return audience


@contextmanager
def article_with_box(site: str, *, allowed: str = "") -> Iterator[Site]:
    """Serve an article of somebody else, with the one line of ours; it allows that script."""

    def route(_method: str, path: str, _body: str) -> Answer | None:
        rules = POLICY.format(site=site, scripts=allowed or f"{site}/embed.js")
        policy = {"Content-Security-Policy": rules}
        return Answer(ARTICLE.format(site=site), policy) if path == "/article" else None

    with browser.serving(route) as served:
        yield served


def test_a_browser_does_the_work_that_a_sign_up_is_asked_for(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], tmp_path: Path
) -> None:
    """ALTCHA: by the box, on a page that allows its two scripts, and by our own page."""
    newsletter, (smtp_port, mailbox) = sqlite_newsletter, caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    newsletter.env["NEWSLETTER_ALTCHA"] = "true"

    with (
        serving(newsletter) as (site, _),
        article_with_box(site, allowed=f"{site}/embed.js {site}/proof.js") as article,
        driver.tab(tmp_path / "profile") as tab,
    ):
        tab.open(f"{article.url}/article")
        tab.type("Your email address", ANN)
        tab.press("Subscribe")
        tab.see("It is long.", "Please look into your mailbox")

        tab.open(f"{site}/subscribe")
        tab.type("Your email address", "bob@readers.example")
        # Nobody is as fast as a machine.
        time.sleep(2.5)
        tab.press("Subscribe")
        tab.see("Please look into your mailbox")
        assert tab.complaints() == []
        until(lambda: mailbox.to("ann") and mailbox.to("bob"))
