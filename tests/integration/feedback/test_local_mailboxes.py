"""A Maildir or an mbox file as the mailbox that is read again and again."""

from __future__ import annotations

import mailbox
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from newsletter.db import session as sessions
from newsletter.errors import InvalidInput
from newsletter.feedback import remembered
from newsletter.feedback.files import MaildirSource, MboxSource
from newsletter.feedback.sources import Source
from newsletter.models import Receipt

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
MAIL = b"Subject: %s\n\nwords\n"


def read(source: Source, *, left: bytes = b"adv") -> list[bytes]:
    """Read a mailbox; mails whose subjects begin with `left` are not understood."""
    found = []
    for batch in source.batches():
        others = [one.handle for one in batch if one.octets[9:].startswith(left)]
        source.settle(
            understood=[one.handle for one in batch if one.handle not in others], left=others
        )
        found += [one.octets.partition(b"\n")[0][9:] for one in batch]
    return sorted(found)


def maildir(path: Path) -> mailbox.Maildir:
    return mailbox.Maildir(path, create=True)


@pytest.mark.parametrize(("folder", "kept"), [("Newsletter/Processed", 2), ("", 0)])
def test_a_maildir_keeps_what_is_not_understood_and_is_read_once(
    sqlite_engine: Engine, tmp_path: Path, folder: str, kept: int
) -> None:
    box = maildir(tmp_path / "box")
    for name in (b"bounce 1", b"bounce 2", b"advertisement"):
        box.add(MAIL % name)

    def again() -> list[bytes]:
        return read(MaildirSource(tmp_path / "box", sqlite_engine, folder=folder, now=NOW))

    assert again() == [b"advertisement", b"bounce 1", b"bounce 2"]
    assert again() == []
    assert len(maildir(tmp_path / "box")) == 1
    processed = [*(tmp_path / "box").glob(".*/cur/*")]
    assert len(processed) == kept

    (stays,) = (tmp_path / "box" / "new").iterdir()
    # As a mail client does when it has shown a mail.
    stays.rename(tmp_path / "box" / "cur" / f"{stays.name}:2,S")
    maildir(tmp_path / "box").add(MAIL % b"bounce 3")
    assert again() == [b"bounce 3"]


def test_a_mail_that_somebody_takes_away_meanwhile_is_no_error(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    box = maildir(tmp_path / "box")
    for _ in range(3):
        box.add(MAIL % b"bounce")
    source = MaildirSource(tmp_path / "box", sqlite_engine, folder="Processed", now=NOW)

    for batch in source.batches():
        (tmp_path / "box" / batch[0].handle).unlink()
        source.settle(understood=[one.handle for one in batch], left=[])

    assert len([*(tmp_path / "box" / ".Processed" / "cur").iterdir()]) == 2


def test_an_mbox_is_not_changed_and_each_mail_in_it_is_read_once(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "mbox"
    box = mailbox.mbox(path)
    for number in range(450):
        box.add(MAIL % (b"%05d" % number))
    box.flush()
    before = path.read_bytes()

    assert len(read(MboxSource(path, sqlite_engine, now=NOW))) == 450
    assert path.read_bytes() == before
    box.add(MAIL % b"another")
    box.close()
    assert read(MboxSource(path, sqlite_engine, now=NOW)) == [b"another"]


@pytest.mark.parametrize("name", ["nothing", "folder"])
def test_what_is_no_mailbox_is_an_error_that_names_the_setting(
    sqlite_engine: Engine, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    source = (
        MaildirSource(path, sqlite_engine, folder="", now=NOW)
        if path.is_dir()
        else MboxSource(path, sqlite_engine, now=NOW)
    )

    with pytest.raises(InvalidInput, match="cannot be read as a mailbox") as caught:
        read(source)

    assert "NEWSLETTER_FEEDBACK_URL" in str(caught.value.hint)


def test_what_stays_is_remembered_for_as_long_as_it_is_there(engine: Engine) -> None:
    keys = [remembered.key("pop3", "host", str(number)) for number in range(3)]
    remembered.add(engine, keys[:2], now=NOW)
    remembered.add(engine, keys[:2], now=NOW + timedelta(hours=1))

    assert remembered.missing(engine, keys, now=NOW + timedelta(hours=2)) == keys[2:]
    assert set(_times(engine).values()) == {NOW}
    later = NOW + timedelta(days=20)
    assert remembered.missing(engine, keys[1:], now=later) == keys[2:]
    assert _times(engine) == {keys[0]: NOW, keys[1]: later}


def _times(engine: Engine) -> dict[str, datetime]:
    with sessions.reading(engine) as session:
        return {one.key: one.at for one in session.exec(select(Receipt)).all()}
