"""The day of an operator at the desk, in a real browser: each step, and what the database says.

The mail server takes as many mails as the test allows, so that a send is running while the operator
looks at it.
"""

from __future__ import annotations

import itertools
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import browser
import driver
import httpx2
import pytest
import scripted_smtp
from desk_day import Day, GatedServer, processes, publication
from journey import Newsletter, free_port, until
from scripted_smtp import Turn
from sqlalchemy import Engine, update
from sqlmodel import col

from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.desk.pages import MENU
from newsletter.models import DeskLogin, Edition

pytestmark = [
    pytest.mark.skipif(browser.CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.xdist_group("desk"),
]

READERS = 40
WEEKLY = ("wim", "wanda", "walt", "gone")
CONNECTIONS = 2
#: The scheduler of the process may be a second one at that moment.
SENDERS = re.compile(r"(1 worker sends|2 workers send) it\.")
Write = Callable[..., Path]


@pytest.fixture
def write_feed(tmp_path: Path) -> Write:
    """Write articles by title as an RSS file; `old` is one of them, of two years ago."""

    def write(*names: str, old: str = "") -> Path:
        long_ago = format_datetime(utc_now() - timedelta(days=730))
        items = "".join(
            f"<item><title>{name}</title><link>https://miasfeed.example/{name}</link>"
            f"<guid>{name}</guid><description>About {name}.</description>"
            f"{f'<pubDate>{long_ago}</pubDate>' if name == old else ''}</item>"
            for name in names
        )
        file = tmp_path / "feed.xml"
        file.write_text(f'<rss version="2.0"><channel><title>Mia</title>{items}</channel></rss>')
        return file

    return write


def knows_not_gone(turn: Turn) -> str | None:
    """Reply as a server that has no mailbox for one of the readers."""
    is_gone = turn.phase == "rcpt" and "gone@" in turn.line
    return "550 5.1.1 no such user here" if is_gone else None


@contextmanager
def begun(newsletter: Newsletter, engine: Engine, feed: Path) -> Iterator[Day]:
    """Begin a day: the desk and a worker run, and a tab is open that nobody has signed in."""
    server = GatedServer(rule=knows_not_gone)
    with scripted_smtp.running(server):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        publication(newsletter, engine, feed, daily=READERS, weekly=WEEKLY)
        with (
            processes(newsletter, "worker --schedule") as base,
            driver.tab(newsletter.folder / "profile") as tab,
        ):
            try:
                yield Day(newsletter, engine, tab, base, server)
            finally:
                # A worker ends when the replies to its last mails have come.
                server.open_up()


def test_an_operators_day(newsletter: Newsletter, engine: Engine, write_feed: Write) -> None:
    with begun(newsletter, engine, write_feed("alpha", "beta")) as day:
        signs_in(day)
        edition = watches_a_send(day)
        pauses(day, edition)
        resumes(day, edition)
        write_feed("alpha", "beta", "gamma", "delta", "omega", old="omega")
        decides_on_articles(day)
        looks_at_the_next_edition(day)
        reads_the_books(day, sends_it(day))
        finds_a_reader(day)
        imports_a_file(day)
        writes_an_announcement(day)
        assert day.tab.complaints() == []


def test_the_desk_works_without_scripts(
    sqlite_newsletter: Newsletter, sqlite_engine: Engine, write_feed: Write
) -> None:
    with begun(sqlite_newsletter, sqlite_engine, write_feed("alpha", "beta")) as day:
        day.tab.call("Emulation.setScriptExecutionDisabled", value=True)
        day.sign_in()
        pauses(day, watches_a_send(day, has_scripts=False))
        write_feed("alpha", "beta", "gamma", "delta", "omega")
        day.newsletter.run("feeds", "fetch")
        day.open("/next/weekly")
        day.tab.press("Hold", row="gamma")
        day.tab.see("1 article is held", "4 articles")
        day.tab.press("Pin", row="delta")
        day.tab.see("It leads the next daily and weekly and monthly edition: delta")
        day.acts()
        reads_the_books(day, sends_it(day))
        assert day.tab.complaints() == []

    held = day.rows("SELECT title FROM article WHERE held_at IS NOT NULL")
    assert held == [("gamma",)]


def test_the_desk_works_while_the_mail_server_and_the_internet_are_away(
    sqlite_newsletter: Newsletter, sqlite_engine: Engine, write_feed: Write, tmp_path: Path
) -> None:
    newsletter = sqlite_newsletter
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{free_port()}"
    publication(newsletter, sqlite_engine, write_feed("alpha"), daily=3, weekly=WEEKLY)
    with processes(newsletter, "worker --schedule") as base, driver.tab(tmp_path / "tab") as tab:
        day = Day(newsletter, sqlite_engine, tab, base)
        day.sign_in()
        for entry in itertools.chain(*MENU.values()):
            day.open(entry.path)
            assert tab.title() == f"{entry.name} · Mia's Feed"

        day.open("/next/weekly")
        tab.type("Test mail to yourself", "mia@miasfeed.example")
        tab.press("Send the test")
        tab.see("That did not work", "The mail server 127.0.0.1", "nothing was sent")
        day.open("/next/weekly")
        edition = sends_it(day)
        minutes_go_by(day)
        for path in ("/", f"/editions/{edition}"):
            day.open(path, f"{edition}: 0 of {len(WEEKLY)} done (0 %)")
            tab.see("No mail server has replied yet")
        assert re.search(r"[0-9] are (due|being sent)", day.open("/delivery"))
        assert tab.complaints() == []

    books = day.summary(edition)
    assert (books.queued, books.audience) == (len(WEEKLY), len(WEEKLY))
    assert day.value("SELECT count(*) FROM attempt") == 0


def minutes_go_by(day: Day) -> None:
    """Have five minutes go by for the editions that are on their way."""
    with sessions.writing(day.engine) as session:
        session.execute(update(Edition).values(created_at=utc_now() - timedelta(minutes=5)))


def signs_in(day: Day) -> None:
    """Sign in by a link that a scanner has opened, and that works once and for ten minutes."""
    link, late = day.link(), day.link()
    for method in ("GET", "HEAD"):
        with urllib.request.urlopen(urllib.request.Request(link, method=method), timeout=60) as it:
            assert it.status == 200
            assert "Set-Cookie" not in it.headers
    assert day.value("SELECT count(*) FROM desk_login WHERE used_at IS NOT NULL") == 0

    day.tab.open(f"{day.base}/readers")
    day.tab.see("newsletter desk login")
    day.tab.open(link)
    day.tab.see("signed in as mia")
    day.tab.press("Sign in")
    day.tab.see("Due next", "mia", "Sign out")
    assert day.acts() == [("desk.sign-in", "session:1")]
    assert day.value("SELECT name FROM desk_session WHERE ended_at IS NULL") == "mia"

    for ended, used in ((link, 2), (late, 1)):
        if used == 1:
            ages(day)
        day.tab.open(ended)
        day.tab.see("This link cannot be used", "newsletter desk login")
        answer = httpx2.post(ended, headers={"Origin": day.base})
        assert (answer.status_code, answer.headers.get("Set-Cookie")) == (422, None)
    assert day.value("SELECT count(*) FROM desk_session") == 1
    assert day.value("SELECT count(*) FROM desk_login WHERE used_at IS NOT NULL") == 1
    assert day.acts() == []


def ages(day: Day) -> None:
    """Have ten minutes go by for the links that nobody has used."""
    unused = col(DeskLogin.used_at).is_(None)
    with sessions.writing(day.engine) as session:
        session.execute(update(DeskLogin).where(unused).values(expires_at=utc_now()))


def watches_a_send(day: Day, *, has_scripts: bool = True) -> str:
    """Look at Today while the daily edition is being sent: the page moves, by scripts in place."""
    day.server.allowed = 10
    until(lambda: len(day.server.arrivals) == 10)
    ((cadence, period),) = day.rows("SELECT cadence, period FROM edition")
    edition = f"{cadence}-{period}"
    day.open("/", "On its way", f"{edition}: 10 of {READERS} done (25 %)")
    day.value_of("window.stays = 'the same page'")
    day.server.allowed = 20
    day.tab.see(f"{edition}: 20 of {READERS} done (50 %)")
    assert day.value_of("window.stays") == ("the same page" if has_scripts else None)
    books = day.summary(edition)
    assert (books.accepted, books.audience) == (20, READERS)
    return edition


def pauses(day: Day, edition: str) -> None:
    """Pause the edition on Today: nothing more of it leaves."""
    day.tab.press("Pause")
    day.tab.see(f"{edition} is paused", "Resume")
    assert day.acts() == [("editions.pause", f"edition:{edition}")]
    # With the mails that each connection sends now, the next ones of the same round trips leave.
    until(lambda: day.summary(edition).claimed <= CONNECTIONS)
    day.server.open_up()
    until(lambda: day.summary(edition).claimed + day.summary(edition).in_flight == 0)
    books = day.summary(edition)
    assert (books.state, books.accepted) == ("paused", len(day.server.arrivals))
    assert books.queued == READERS - books.accepted >= READERS - 20 - 2 * CONNECTIONS


def resumes(day: Day, edition: str) -> None:
    """Resume the edition, which Today names among what waits for a decision."""
    day.open("/", f"{edition} is paused")
    day.tab.press(f"{edition} is paused")
    day.tab.press("Resume")
    assert SENDERS.search(day.tab.see(f"{edition} goes on"))
    assert day.acts() == [("editions.resume", f"edition:{edition}")]
    day.tab.see(f"Accepted {READERS} 100.0 %")
    assert day.summary(edition).accepted == READERS
    assert sorted(day.server.recipients()) == sorted({*day.server.recipients()})


def decides_on_articles(day: Day) -> None:
    """Fetch the feed, approve what waits in quarantine, hold one article back and pin another."""
    day.open("/feeds/1")
    day.tab.press("Fetch now")
    day.tab.see("The feed is fetched")
    assert day.acts() == [("feeds.fetch", "feed:1")]

    day.open("/")
    day.tab.press("1 article in quarantine")
    day.tab.tick("omega")
    day.tab.press("Approve")
    day.tab.see("1 article is let out")
    day.tab.press("Out")
    day.tab.tick("gamma")
    day.tab.press("Hold back")
    day.tab.see("1 article is held")
    day.tab.press("delta")
    day.tab.press("Pin as lead")
    day.tab.see("It leads the next daily and weekly and monthly edition: delta")

    article = dict(day.rows("SELECT title, id FROM article"))
    assert day.acts() == [
        ("articles.approve", f"article:{article['omega']}"),
        ("articles.hold", f"article:{article['gamma']}"),
        ("articles.pin", f"article:{article['delta']}"),
    ]
    of_all = "SELECT title FROM article WHERE {} ORDER BY title"
    assert day.rows(of_all.format("held_at IS NOT NULL AND seen_at IS NULL")) == [("gamma",)]
    assert day.rows(of_all.format("pinned_at IS NOT NULL")) == [("delta",)]
    assert day.rows(of_all.format("seen_at IS NULL")) == [("gamma",)]


def looks_at_the_next_edition(day: Day) -> None:
    """Look at the weekly digest as it would be now, and send a test mail."""
    day.open("/next")
    day.tab.press("Weekly")
    day.tab.see("4 articles", "The mail")
    day.tab.type("Test mail to yourself", "mia@miasfeed.example")
    day.tab.press("Send the test")
    day.tab.see("Sent to mia@miasfeed.example")
    assert day.acts() == [("preview.send", "preview:weekly")]
    (test,) = [one for one in day.server.arrivals if one.recipient == "mia@miasfeed.example"]
    assert b"Subject: delta, and 3 more" in test.content
    frame = day.value_of("document.querySelector('iframe').getAttribute('src')")
    day.tab.open(day.base + frame)
    shown = day.tab.see("Mia's Feed", "Weekly", "delta", "omega")
    assert "gamma" not in shown
    day.open("/next/weekly")


def sends_it(day: Day) -> str:
    """Send the weekly edition from its page; return its name."""
    edition = day.value_of("document.querySelector('main a.button').innerText.split(' ')[1]")
    day.tab.press(f"Send {edition} now")
    day.tab.see(f"at most {len(WEEKLY)} active readers", "The lead is")
    assert day.value("SELECT count(*) FROM edition WHERE cadence = 'weekly'") == 0
    day.tab.press("Send it to them now")
    day.tab.see(f"{edition} is made for {len(WEEKLY)} readers.")
    assert day.acts() == [("editions.send", f"edition:{edition}")]
    return edition


def reads_the_books(day: Day, edition: str) -> None:
    """Read what became of an edition: the states sum to the audience."""
    day.tab.see("Accepted 3 75.0 %", "Refused 1 25.0 %", "Audience 4 100.0 %")
    cells = day.value_of(
        "[...document.querySelectorAll('#books ~ table td.n:nth-of-type(1)')]"
        ".map(cell => Number(cell.innerText))"
    )
    assert cells == [3, 1, len(WEEKLY)]
    books = day.summary(edition)
    assert (books.accepted, books.refused, books.audience) == (3, 1, len(WEEKLY))
    # An address that the mail server does not know is never mailed again.
    assert day.rows("SELECT address FROM suppression") == [("gone@readers.example",)]
    mails = [one for one in day.server.arrivals if one.recipient == "wim@readers.example"]
    assert [b"Subject: delta, and 3 more" in one.content for one in mails] == [True]
    day.open("/editions", f"{edition} ", "daily-")


def finds_a_reader(day: Day) -> None:
    """Find a reader by the address, read why they got what they got, and unsubscribe them."""
    day.open("/readers")
    day.tab.type("Find an address", "Wim@readers.example ")
    day.tab.press("Find")
    day.tab.see("is weekly, active since", "weekly-", ": the mail server took it")
    day.tab.press("Unsubscribe")
    day.tab.see("The reader is unsubscribed.", "unsubscribed")
    ((public_id, status),) = day.rows(
        "SELECT public_id, status FROM subscriber WHERE address = 'wim@readers.example'"
    )
    assert status == "unsubscribed"
    assert day.acts() == [("subscribers.unsubscribe", f"reader:{public_id}")]
    assert day.value("SELECT source FROM consent WHERE action = 'unsubscribed'") == "desk:mia"


def imports_a_file(day: Day) -> None:
    """Import a file with readers, after a look at what it would do."""
    file = day.newsletter.folder / "readers.csv"
    file.write_text(
        "email,name,frequency\nina@readers.example,Ina,weekly\nnot an address,Nobody,weekly\n"
        "wim@readers.example,Wim,weekly\nida@readers.example,Ida,monthly\n"
    )
    day.open("/readers")
    day.tab.press("Import")
    day.tab.see("You see first what it would do.")
    day.tab.choose("The file", file)
    day.tab.press("Look at it")
    day.tab.see("Nothing is imported yet", "ina@readers.example", "Refused lines 1")
    day.tab.tick("I vouch that readers without a state in the file have agreed")
    day.tab.press("Look again")
    day.tab.see("Add as active 2")
    added = "SELECT address, cadence, status FROM subscriber WHERE address LIKE 'i%'"
    assert day.rows(added) == day.acts() == []
    day.tab.press("Import")
    day.tab.see("The file is imported.", "Added 2", "Refused 1", "Refused lines as CSV")
    assert sorted(day.rows(added)) == [
        ("ida@readers.example", "monthly", "active"),
        ("ina@readers.example", "weekly", "active"),
    ]
    assert [action for action, _ in day.acts()] == ["subscribers.import", "subscribers.imported"]
    # Who has left stays so, whatever a file says.
    query = "SELECT status FROM subscriber WHERE address = 'wim@readers.example'"
    assert day.value(query) == "unsubscribed"


def writes_an_announcement(day: Day) -> None:
    """Write an announcement, send a test mail, and send it: no digest changes by it."""
    day.open("/compose")
    day.tab.press("Write an announcement")
    day.tab.type("Subject", "We are moving")
    day.tab.type("Text", "From Monday on we write **from Portsmouth**.\n\n<script>x()</script>")
    day.tab.press("Save and look at it")
    day.tab.see("Saved. The mail is below.")
    day.tab.type("Your address", "mia@miasfeed.example")
    day.tab.press("Send it to me")
    day.tab.see("Sent to mia@miasfeed.example")
    assert day.acts() == [
        ("announce.write", "announcement:1"),
        ("announce.test", "announcement:1"),
    ]
    day.tab.press("Go on to send it")
    active = day.value("SELECT count(*) FROM subscriber WHERE status = 'active'")
    day.tab.see("Send this announcement?", "All readers", f"Readers {active}")
    seen = day.rows("SELECT id, watermark FROM subscriber ORDER BY id")
    assert day.value("SELECT count(*) FROM edition") == 2

    day.tab.press(f"Send to {active} readers")
    assert SENDERS.search(day.tab.see(f"It is made for {active} readers."))
    day.tab.see(f"Accepted {active} 100.0 %", f"Audience {active} 100.0 %")
    edition = day.value_of("location.pathname").rpartition("/")[2]
    assert edition.startswith("extra-")
    assert day.acts() == [("announce.send", f"edition:{edition}")]
    assert day.summary(edition).accepted == active
    assert day.rows("SELECT id, watermark FROM subscriber ORDER BY id") == seen
    mails = [one for one in day.server.arrivals if b"Subject: We are moving" in one.content]
    assert len(mails) == active + 1
    assert not any(b"<script" in one.content for one in mails)
