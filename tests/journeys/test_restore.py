"""Yesterday's backup is restored, and nobody is mailed twice unless the operator says so."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from journey import Mailbox, Newsletter

FEED = Path(__file__).parents[1] / "samples" / "feeds" / "mias-feed.rss.xml"
_READERS = 30


@pytest.fixture
def restored(
    newsletter: Newsletter, smtp_sink: tuple[int, Mailbox], tmp_path: Path
) -> tuple[Newsletter, Mailbox]:
    """An edition of which ten had been sent when the backup was made, and all were since."""
    port, mailbox = smtp_sink
    newsletter.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
    readers = tmp_path / "readers.csv"
    readers.write_text(
        "email,cadence\n" + "".join(f"reader{n}@readers.example,weekly\n" for n in range(_READERS))
    )
    newsletter.run("subscribers", "import", readers, "--confirmed")
    newsletter.run("feeds", "add", FEED)
    newsletter.env["NEWSLETTER_LIMIT_PER_DAY"] = "10"
    said = newsletter.run("send", "weekly", exit_code=75)
    assert "10 accepted" in said
    assert "wait for a limit: more may go at " in said
    backup = tmp_path / "yesterday.db"
    newsletter.run("database", "backup", backup)
    del newsletter.env["NEWSLETTER_LIMIT_PER_DAY"]
    assert newsletter.json("send", "weekly")["accepted"] == _READERS

    database = Path(newsletter.env["NEWSLETTER_DATABASE_URL"].removeprefix("sqlite:///"))
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    shutil.copyfile(backup, database)
    with closing(sqlite3.connect(database)) as connection:
        (queued,) = connection.execute("SELECT count(*) FROM delivery WHERE state = 'queued'")
    assert queued == (_READERS - 10,)
    return newsletter, mailbox


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_restored_backup_mails_nobody_and_says_what_to_do(
    restored: tuple[Newsletter, Mailbox],
) -> None:
    newsletter, mailbox = restored

    for words in (["send", "weekly"], ["send", "daily"], ["cron"]):
        said = newsletter.run(*words, exit_code=1)
        assert "it seems to be a backup that was restored" in said
        assert "newsletter database restored" in said
    assert len(mailbox.messages()) == _READERS

    done = newsletter.json("database", "restored")
    assert done["unknown"] == _READERS - 10
    assert [name.partition("-")[0] for name in done["skipped"]] == ["daily", "monthly"]
    assert "no restored backup" in newsletter.run("database", "restored", exit_code=1)
    newsletter.run("cron")
    assert newsletter.json("send", "weekly")["unknown"] == _READERS - 10
    counts = Counter(str(message["To"]) for message in mailbox.messages())
    assert len(counts) == _READERS
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_with_force_a_restored_backup_sends_what_it_has_waiting(
    restored: tuple[Newsletter, Mailbox],
) -> None:
    newsletter, mailbox = restored

    assert newsletter.json("send", "weekly", "--force")["accepted"] == _READERS

    assert len(mailbox.messages()) == 2 * _READERS - 10
    newsletter.run("cron")
