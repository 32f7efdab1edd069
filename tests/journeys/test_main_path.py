"""A feed becomes a digest in every reader's mailbox, once."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import scripted_smtp
import trustme
from journey import SECRET, Mailbox, Newsletter, at_noon, free_port, refusing, stories, submission
from scripted_smtp import DROP, Act, ScriptedServer

pytestmark = pytest.mark.mainly_on("sqlite")

ROTATED = "another-0123456789abcdef0123456789abcdef"
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
    assert newsletter.json("subscribers", "import", readers, "--confirmed")["added"] == 1000
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


@pytest.mark.mainly_on("sqlite", "postgresql")
@pytest.mark.parametrize("triggers", [12, pytest.param(50, marks=pytest.mark.torture)])
def test_many_sends_at_once_make_one_edition_and_one_mail_per_reader(
    newsletter: Newsletter,
    smtp_sink: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
    triggers: int,
) -> None:
    port, mailbox = smtp_sink
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.env["NEWSLETTER_SMTP_CONNECTIONS"] = "2"
    rows = "".join(f"reader{number}@readers.example\n" for number in range(200))
    newsletter.run("subscribers", "import", "-", "--confirmed", "--cadence", "daily", stdin=rows)
    newsletter.run("feeds", "add", write_feed("alpha"))

    with newsletter.crowd(triggers, "send", "daily") as sending:
        codes, said = sending.end()

    assert codes == [0] * triggers, said
    counts = Counter(str(m["To"]) for m in mailbox.messages())
    assert len(counts) == 200
    assert set(counts.values()) == {1}
    (edition,) = newsletter.json("editions", "list")["editions"]
    assert (edition["audience"], edition["accepted"]) == (200, 200)


def test_cron_twice_is_cron_once_and_quiet(
    sqlite_newsletter: Newsletter,
    caught: tuple[int, Mailbox],
    write_feed: Callable[..., Path],
    tmp_path: Path,
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

    with closing(sqlite3.connect(tmp_path / "newsletter.db")) as connection, connection:
        connection.execute("UPDATE freeze_lock SET created_at = '2020-01-01 00:00:00.000000'")
    newsletter.env["NEWSLETTER_CRON_TOLERANCE_HOURS"] = "0"
    assert newsletter.run("cron") == "", "later than the tolerance"
    newsletter.env["NEWSLETTER_CRON_TOLERANCE_HOURS"] = "6"
    assert "1 reader, 1 accepted" in newsletter.run("cron")
    assert newsletter.run("cron") == ""
    assert len(mailbox.to("ada")) == 1


def test_a_dry_run_says_who_would_get_it_and_changes_nothing(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    newsletter, (port, mailbox) = sqlite_newsletter, caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.add(ada="daily", grace="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))

    assert newsletter.json("send", "daily", "--dry-run")["audience"] == 2
    assert "2 readers would get it, in 1 mail" in newsletter.run("send", "daily", "--dry-run")
    assert newsletter.json("editions", "list")["editions"] == []
    assert mailbox.messages() == []


def test_a_preview_is_written_and_sent_to_one_mailbox_only(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    newsletter, (port, mailbox) = sqlite_newsletter, caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    newsletter.add(ada="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))

    written = newsletter.json("preview", "weekly", "--to", "mia@readers.example")

    assert {Path(name).suffix for name in written["files"]} == {".html", ".txt", ".eml"}
    assert all((newsletter.folder / name).stat().st_size > 500 for name in written["files"])
    assert stories(mailbox.to("mia")) == ["alpha"]
    assert len(mailbox.messages()) == 1
    assert newsletter.json("editions", "list")["editions"] == []


def test_a_server_that_is_away_is_said_in_words_and_loses_nobody(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    newsletter, (port, mailbox) = sqlite_newsletter, caught
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{free_port()}"
    newsletter.env["NEWSLETTER_SMTP_CONNECTIONS"] = "1"
    newsletter.add(ada="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))

    assert "Nobody is lost" in newsletter.run("send", "daily", exit_code=75)

    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    assert newsletter.json("send", "daily")["accepted"] == 1
    assert stories(mailbox.to("ada")) == ["alpha"]


def test_of_two_relays_one_is_away_and_the_other_carries_the_edition(
    sqlite_newsletter: Newsletter, caught: tuple[int, Mailbox], write_feed: Callable[..., Path]
) -> None:
    newsletter, (port, mailbox) = sqlite_newsletter, caught
    away = free_port()
    newsletter.env["NEWSLETTER_SMTP_URL"] = (
        f"smtp://mia:sesame@127.0.0.1:{away}?weight=100, smtp://127.0.0.1:{port}"
    )
    newsletter.add(ada="daily", bob="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))

    sending = newsletter.start("send", "daily")
    out, err = sending.communicate(timeout=60)

    assert (sending.returncode, "2 accepted" in out) == (0, True), out + err
    assert err.count(f"127.0.0.1:{away}") == err.count("put aside") == 1
    assert "sesame" not in err
    assert stories(mailbox.to("ada")) == stories(mailbox.to("bob")) == ["alpha"]

    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{away} smtp://localhost:{away}"
    newsletter.run("articles", "add", "--title", "Beta", "--link", "https://miasfeed.example/beta")
    newsletter.add(eve="weekly")
    said = newsletter.run("send", "weekly", exit_code=75)
    assert "All mail servers refuse us" in said
    assert f"127.0.0.1:{away} cannot" in said
    assert f"localhost:{away} cannot" in said


@pytest.mark.parametrize("answer", ["421 4.3.2 not now", DROP], ids=["421", "drop"])
def test_one_reader_whom_a_server_cannot_bear_keeps_nothing_else_waiting(
    sqlite_newsletter: Newsletter, write_feed: Callable[..., Path], answer: str | Act
) -> None:
    newsletter = sqlite_newsletter
    newsletter.add(ada="daily", bob="daily", eve="daily", fay="weekly")
    newsletter.run("feeds", "add", write_feed("alpha"))
    odd = ScriptedServer(
        lambda turn: answer if turn.phase == "rcpt" and "eve@" in turn.line else None
    )
    with scripted_smtp.running(odd) as server:
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"

        daily = newsletter.json("send", "daily", exit_code=75)
        weekly = newsletter.json("send", "weekly")

    assert [daily[name] for name in ("state", "audience", "accepted")] == ["open", 3, 2]
    assert weekly["state"] == "finished"


def test_a_send_that_most_were_refused_ends_with_a_warning(
    sqlite_newsletter: Newsletter, write_feed: Callable[..., Path], tmp_path: Path
) -> None:
    newsletter = sqlite_newsletter
    newsletter.add(ada="daily", bob="daily", eve="daily", fay="weekly")
    newsletter.run("feeds", "add", write_feed("alpha"))
    strangers = ("ada@readers.example", "bob@readers.example")

    said = {}
    with refusing(tmp_path / "mail", *strangers) as (port, _):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        for cadence in ("daily", "weekly"):
            sending = newsletter.start("send", cadence)
            _, said[cadence] = sending.communicate(timeout=60)
            assert sending.returncode == 0

    assert "More were refused than accepted." in said["daily"]
    assert "`newsletter delivery list --state refused`" in said["daily"]
    assert said["weekly"] == ""


def test_a_copy_sent_again_is_the_same_even_after_the_settings_have_changed(
    sqlite_newsletter: Newsletter, write_feed: Callable[..., Path]
) -> None:
    """Mailboxes fold two copies into one only if they are the same."""
    newsletter = sqlite_newsletter
    newsletter.env["NEWSLETTER_SMTP_CONNECTIONS"] = "1"
    # In neither of the zones another edition falls due meanwhile.
    newsletter.env["NEWSLETTER_TIMEZONE"] = _zone_at(12)
    newsletter.add(ada="daily", bob="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))
    lost = ScriptedServer(lambda turn: DROP if turn.phase == "body" and turn.earlier < 2 else None)
    with scripted_smtp.running(lost) as server:
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{server.port}"
        assert newsletter.json("send", "daily", exit_code=75)["deferred"] == 2
        first = {one.recipient: one.content for one in server.arrivals}

        newsletter.env |= {
            "NEWSLETTER_SENDER": "New name <digest@elsewhere.example>",
            "NEWSLETTER_LANGUAGE": "de",
            "NEWSLETTER_BASE_URL": "https://elsewhere.example",
            "NEWSLETTER_NAME": "New name",
            "NEWSLETTER_TIMEZONE": _zone_at(13),
            "NEWSLETTER_SECRET_KEYS": f"{ROTATED},{SECRET}",
        }
        rows = newsletter.json("delivery", "list")["deliveries"]
        newsletter.run("delivery", "retry", *[row["id"] for row in rows])
        newsletter.run("cron")

        again = {one.recipient: one.content for one in server.arrivals[len(first) :]}
    assert len(first) == 2
    assert first == again
    assert {row["message_id"] for row in rows} == {one.message_id for one in server.arrivals}


def _zone_at(hour: int) -> str:
    """Return a time zone in which it is that hour now."""
    # POSIX's sign: Etc/GMT+5 is five hours behind UTC.
    return f"Etc/GMT{datetime.now(UTC).hour - hour:+d}"


# It is TLS all the same: aiosmtpd only thinks of STARTTLS.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
def test_a_submission_server_asks_for_tls_and_a_password(
    sqlite_newsletter: Newsletter, tmp_path: Path, write_feed: Callable[..., Path], scheme: str
) -> None:
    newsletter = sqlite_newsletter
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    newsletter.add(ada="daily", bob="daily")
    newsletter.run("feeds", "add", write_feed("alpha"))

    with submission(tmp_path / "mails", authority, is_implicit=scheme == "smtps") as (port, box):
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"{scheme}://mia:open%20sesame@127.0.0.1:{port}"
        said = newsletter.run("send", "daily", exit_code=2)
        assert "certificate" in said

        newsletter.env["SSL_CERT_FILE"] = str(tmp_path / "authority.pem")
        newsletter.env["NEWSLETTER_SMTP_URL"] = f"{scheme}://mia:wrong@127.0.0.1:{port}"
        said = newsletter.run("send", "daily", exit_code=2)
        assert "535" in said
        assert "wrong" not in said

        newsletter.env["NEWSLETTER_SMTP_URL"] = f"{scheme}://mia:open%20sesame@127.0.0.1:{port}"
        assert newsletter.json("send", "daily")["accepted"] == 2
    assert stories(box.to("ada")) == stories(box.to("bob")) == ["alpha"]


def test_a_damaged_setting_is_named_with_the_way_out(sqlite_newsletter: Newsletter) -> None:
    sqlite_newsletter.env["NEWSLETTER_TIMEZONE"] = "Mars/Olympus"

    said = sqlite_newsletter.run("status", exit_code=2)

    assert "timezone" in said
    assert "NEWSLETTER_TIMEZONE" in said
    assert "Traceback" not in said
