"""Nothing leaves a set-up that is not one: every door through which mail could."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import terminal
from terminal import Run

from newsletter.cli import catcher
from newsletter.cli.catcher import Catcher

MISSING = ("sender", "base_url", "postal_address")


@pytest.fixture
def caught(tmp_path: Path) -> Iterator[Catcher]:
    with catcher.running(tmp_path / "mails") as running:
        yield running


@pytest.fixture
def bare(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caught: Catcher,
    write_feed: Callable[..., Path],
) -> Run:
    """A newsletter as `init` writes it, with an article and a relay on loopback."""
    run = terminal.at(tmp_path, monkeypatch, capsys)
    for name in terminal.complete():
        monkeypatch.delenv(f"NEWSLETTER_{name.upper()}")
    monkeypatch.setenv("NEWSLETTER_SMTP_URL", f"smtp://127.0.0.1:{caught.port}")
    assert run("init").code == 0
    assert run("feeds", "add", str(write_feed("alpha"))).code == 0
    return run


@pytest.fixture
def write_feed(tmp_path: Path) -> Callable[..., Path]:
    def write(*words: str) -> Path:
        file = tmp_path / "feed.xml"
        items = "".join(
            f"<item><title>{word}</title><link>https://miasfeed.example/{word}</link></item>"
            for word in words
        )
        file.write_text(f"<rss version='2.0'><channel><title>F</title>{items}</channel></rss>")
        return file

    return write


@pytest.mark.parametrize(
    "words",
    [
        ("send", "weekly"),
        ("cron",),
        ("worker",),
        ("serve", "--port", "0"),
        ("preview", "weekly", "--to", "reader@example.org"),
    ],
    ids=lambda words: words[0],
)
def test_a_bare_init_mails_no_reader_and_names_each_setting(
    bare: Run, caught: Catcher, words: tuple[str, ...]
) -> None:
    bare("subscribers", "add", "reader@example.org", "--cadence", "weekly")

    ran = bare(*words)

    assert ran.code == 2
    assert all(f"{name} is " in ran.err for name in MISSING), ran.err
    assert caught.mails == []


def test_a_correction_does_not_leave_either(bare: Run, caught: Catcher, tmp_path: Path) -> None:
    bare("subscribers", "add", "reader@example.org", "--cadence", "weekly")
    name = json.loads(bare("send", "weekly", "--force", "--json").out)["edition"]
    (tmp_path / "words.txt").write_text("It was not so.")

    ran = bare("editions", "correct", name, "--article", "1", "--text", "words.txt")

    assert ran.code == 2
    assert all(f"{setting} is " in ran.err for setting in MISSING), ran.err
    assert len(caught.mails) == 1


def test_cron_with_nobody_to_mail_says_at_once_what_is_missing(bare: Run) -> None:
    assert bare("cron").code == 2


def test_one_reader_elsewhere_is_enough_to_refuse(bare: Run, caught: Catcher) -> None:
    bare("subscribers", "add", "me@localhost", "--cadence", "weekly")
    bare("subscribers", "add", "reader@localhost.example.org", "--cadence", "monthly")

    assert bare("send", "weekly").code == 2
    assert caught.mails == []


def test_a_pending_or_paused_reader_elsewhere_is_not_overlooked(bare: Run, tmp_path: Path) -> None:
    bare("subscribers", "add", "me@localhost", "--cadence", "weekly")
    (tmp_path / "pending.csv").write_text("email\nreader@example.org\n")
    bare("subscribers", "import", "pending.csv")

    assert bare("send", "weekly").code == 2


@pytest.mark.parametrize("mailbox", ["me@localhost", "me@mail.localhost"])
def test_readers_at_localhost_alone_are_the_way_to_try_things(
    bare: Run, caught: Catcher, mailbox: str
) -> None:
    bare("subscribers", "add", mailbox, "--cadence", "weekly")

    assert bare("send", "weekly").code == 0
    assert [mail.recipient for mail in caught.mails] == [mailbox]


def test_a_preview_for_this_machine_leaves(bare: Run, caught: Catcher) -> None:
    assert bare("preview", "weekly", "--to", "me@localhost").code == 0
    assert [mail.recipient for mail in caught.mails] == ["me@localhost"]


def test_force_sends_and_says_what_is_missing(bare: Run, caught: Catcher) -> None:
    bare("subscribers", "add", "reader@example.org", "--cadence", "weekly")

    ran = bare("send", "weekly", "--force")

    assert ran.code == 0
    assert all(f"{name} is " in ran.err for name in MISSING), ran.err
    assert len(caught.mails) == 1


@pytest.mark.parametrize("words", [("send", "weekly"), ("cron",)], ids=lambda words: words[0])
def test_a_dry_run_works_and_says_what_is_missing(
    bare: Run, caught: Catcher, words: tuple[str, ...]
) -> None:
    bare("subscribers", "add", "reader@example.org", "--cadence", "weekly")

    ran = bare(*words, "--dry-run")

    assert ran.code == 0
    assert all(f"{name} is " in ran.err for name in MISSING), ran.err
    assert caught.mails == []


def test_files_of_a_preview_are_private_and_written_through_no_link(
    bare: Run, tmp_path: Path
) -> None:
    (tmp_path / "preview").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "preview" / "weekly.eml").symlink_to(tmp_path / "precious")

    assert bare("preview", "weekly").code == 0

    assert (tmp_path / "precious").read_text() == "mine"
    written = sorted((tmp_path / "preview").iterdir())
    assert [path.name for path in written] == ["weekly.eml", "weekly.html", "weekly.txt"]
    assert {path.stat().st_mode & 0o777 for path in written} == {0o600}


@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("worker",)], ids=lambda w: w[0])
def test_what_stays_does_not_start_without_a_secret_key(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.delenv("NEWSLETTER_SECRET_KEYS")

    ran = run(*words)

    assert ran.code == 2
    assert "secret_keys" in ran.err
