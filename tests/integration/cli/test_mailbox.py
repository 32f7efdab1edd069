"""`newsletter feedback read` and `newsletter cron` with a mailbox in the settings."""

from __future__ import annotations

import io
import mailbox
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from terminal import Run

from newsletter.feedback import arrivals, reading

AUTOMATIC = "Subject: Away\nAuto-Submitted: auto-replied\nFrom: a@b.example\n\nI am away.\n"
IN_WORDS = "Subject: unsubscribe\nFrom: Ada <ada@readers.example>\n\nPlease.\n"


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mailbox.Maildir:
    """The mailbox of the settings; it may be read at any time."""
    monkeypatch.setenv("NEWSLETTER_FEEDBACK_URL", str(tmp_path / "box"))
    monkeypatch.setattr(reading, "EVERY", timedelta(0))
    return mailbox.Maildir(tmp_path / "box", create=True)


def test_the_mailbox_of_the_settings_is_read_without_being_named(
    run: Run, box: mailbox.Maildir
) -> None:
    box.add(AUTOMATIC)
    box.add(IN_WORDS)

    ran = run("feedback", "read")

    assert ran.code == 0
    assert ran.out == "2 mails: 1 automatic, 1 unsigned.\n"
    assert "ada@readers.example" in ran.err
    assert len([*box.iterkeys()]) == 1
    assert run("feedback", "read").out == ""


@pytest.mark.usefixtures("box")
def test_standard_input_is_read_where_it_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Piped:
        buffer = io.BytesIO(IN_WORDS.encode())

    monkeypatch.setattr("sys.stdin", Piped)

    assert "1 unsigned" in run("feedback", "read", "-").out


@pytest.mark.parametrize("kind", ["pipe", "late pipe", "file"])
def test_a_mail_on_standard_input_is_refused_and_not_lost_without_a_dash(
    run: Run, box: mailbox.Maildir, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.add(AUTOMATIC)
    (tmp_path / "mail").write_text(IN_WORDS)
    reading_end, writing_end = os.pipe()
    writer = threading.Timer(
        0.2 if kind == "late pipe" else 0, os.write, (writing_end, IN_WORDS.encode())
    )
    writer.start()
    if kind == "pipe":
        writer.join()
    with os.fdopen(reading_end) as pipe, (tmp_path / "mail").open() as file:
        monkeypatch.setattr("sys.stdin", file if kind == "file" else pipe)
        ran = run("feedback", "read")
        writer.join()
        os.close(writing_end)

        assert (ran.code, ran.out) == (75, "")
        assert "`newsletter feedback read -`" in ran.err
        assert "1 unsigned" in run("feedback", "read", "-").out
        # Now it is empty, as that of cron is.
        assert len([*box.iterkeys()]) == 1
        assert run("feedback", "read") == (0, "", "")
        assert len([*box.iterkeys()]) == 0


def test_without_input_the_mailbox_is_read(
    run: Run, box: mailbox.Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.add(IN_WORDS)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)

        assert "1 unsigned" in run("feedback", "read").out


def test_cron_reads_the_mailbox_and_says_what_is_new(run: Run, box: mailbox.Maildir) -> None:
    box.add(IN_WORDS)

    assert run("cron").out == "1 mail: 1 unsigned.\n"
    assert run("cron") == (0, "", "")
    box.add(AUTOMATIC)
    assert run("cron", "--json").json["feedback"]["automatic"] == 1


def test_cron_says_once_that_the_mailbox_cannot_be_read_and_goes_on(
    run: Run, box: mailbox.Maildir, tmp_path: Path
) -> None:
    (tmp_path / "box").rename(tmp_path / "elsewhere")

    first, second = run("cron"), run("cron")
    findings = [one["id"] for one in run("status", "--json").json["findings"]]
    assert findings == ["feedback.failing"]
    (tmp_path / "elsewhere").rename(tmp_path / "box")
    third, fourth = run("cron"), run("cron")

    assert (first.code, first.out) == (1, "")
    assert "cannot be read as a mailbox" in first.err
    assert second == (0, "", "")
    assert (third.code, third.err) == (0, "The mailbox of returned mails can be read again.\n")
    assert fourth == (0, "", "")
    assert run("status", "--json").json["findings"] == []


def test_cron_goes_on_if_reading_the_mailbox_fails_unexpectedly(
    run: Run, box: mailbox.Maildir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("words of a mail")

    box.add(IN_WORDS)
    monkeypatch.setattr(arrivals, "of_mail", fail)

    first, second = run("cron"), run("cron")

    assert (first.code, first.out) == (1, "")
    assert first.err.startswith("The mailbox of returned mails cannot be read: RuntimeError (")
    assert "words of a mail" not in first.err
    assert second == (0, "", "")
    assert "RuntimeError" in run("feedback", "read").err


def test_a_mailbox_that_is_away_is_said_with_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWSLETTER_FEEDBACK_URL", "imap://mia:sesame@127.0.0.1:1")

    ran = run("feedback", "read")

    assert (ran.code, ran.out) == (75, "")
    assert ran.err.startswith("The mailbox at 127.0.0.1:1 cannot be read: ")
    assert "sesame" not in ran.err
