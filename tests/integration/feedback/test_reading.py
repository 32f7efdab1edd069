"""The mailbox of returned mails is read, applied and tidied: once, whatever happens meanwhile."""

from __future__ import annotations

import mailbox as mailboxes
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from dovecot import Dovecot, dovecot
from readers import Readers
from returning import NOW, Sent
from sqlalchemy import Engine
from wires import cut, saying

from newsletter.cadences import Cadence
from newsletter.db.election import LeaderLock
from newsletter.errors import InvalidInput, NewsletterError, TransportUnavailable
from newsletter.feedback import notices, reading, sources
from newsletter.feedback.apply import FeedbackTally
from newsletter.feedback.reading import Mailbox
from newsletter.settings import mailboxes as urls
from newsletter.settings.mailboxes import MailboxServer
from newsletter.tokens import Purpose

pytestmark = pytest.mark.xdist_group("dovecot")

LATER = NOW + timedelta(hours=1)
ON_DISK = ".Newsletter.Processed"


def addresses(count: int) -> list[str]:
    return [f"reader{number}@readers.example" for number in range(count)]


@pytest.fixture
def sent(engine: Engine) -> Sent:
    """Readers who have been sent a mail."""
    readers = Readers(engine)
    for address in addresses(5):
        readers.add(address, Cadence.WEEKLY)
    found = Sent(readers)
    found.mail(1)
    return found


def read(
    sent: Sent,
    where: MailboxServer | Path,
    tally: FeedbackTally | None = None,
    **options: object,
) -> FeedbackTally:
    tally = tally or FeedbackTally()
    is_read = reading.read(
        sent.engine,
        Mailbox(where=where, folder="Newsletter/Processed", rules=sent.rules),
        now=LATER,
        on_batch=lambda batch, _: tally.add(batch),
        **options,  # type: ignore[arg-type]
    )
    assert is_read
    return tally


@pytest.mark.parametrize("scheme", ["imap", "pop3", "maildir"])
def test_what_is_understood_has_its_effect_and_a_person_sees_the_rest(
    box: Dovecot, sent: Sent, scheme: str
) -> None:
    reader = sent.readers.get("reader3@readers.example")
    token = sent.keyring.issue(Purpose.UNSUBSCRIBE, reader.public_id, reader.generation)
    box.put(
        sent.bounce("reader0@readers.example"),
        sent.complaint("reader1@readers.example"),
        f"Subject: unsubscribe {token}\n\n".encode(),
        b"Subject: Unsubscribe\nFrom: <reader2@readers.example>\n\nPlease.\n",
        b"Subject: Buy this\nFrom: <shop@elsewhere.example>\n\nwords\n",
    )
    where = box.maildir if scheme == "maildir" else box.server(scheme)

    tally = read(sent, where)

    assert (tally.read, tally.bounced, tally.complained, tally.unsubscribed) == (5, 1, 1, 1)
    assert (tally.unsigned, tally.other, tally.suppressed) == (1, 1, 2)
    assert [sent.status(address) for address in addresses(5)] == [
        "suppressed", "suppressed", "active", "unsubscribed", "active",
    ]  # fmt: skip
    assert box.subjects() == ["Buy this", "Unsubscribe"]
    assert read(sent, where).read == 0


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
@pytest.mark.parametrize("after", [2_000, 20_000, 100_000, 150_000])
def test_a_server_that_goes_away_between_the_effect_and_the_move_changes_nothing(
    box: Dovecot, sqlite_engine: Engine, scheme: str, after: int
) -> None:
    readers = Readers(sqlite_engine)
    everyone = addresses(230)
    for address in everyone:
        readers.add(address, Cadence.WEEKLY)
    sent = Sent(readers)
    sent.mail(1)
    box.put(*map(sent.bounce, everyone))

    with (
        cut(box.ports[scheme], after=after) as port,
        pytest.raises(TransportUnavailable, match="cannot be read"),
    ):
        read(sent, box.server(scheme, port=port))
    before = len(sent.suppressed())
    tally = read(sent, box.server(scheme))

    assert len(sent.suppressed()) == before + tally.suppressed == len(everyone)
    assert box.subjects() == []
    if scheme == "imap":
        assert len(box.subjects(ON_DISK)) == len(everyone)


def test_mails_that_cannot_be_moved_keep_no_others_from_being_read(
    authority: trustme.CA, sent: Sent
) -> None:
    config = """
mail_plugins = acl
protocol imap {
  mail_plugins = acl
}
plugin {
  acl = vfile
}
"""
    with dovecot(authority, config=config) as box:
        box.put(b"Subject: Moved before\n\n", folder=ON_DISK)
        # Without the rights to insert and to create.
        (box.maildir / ON_DISK / "dovecot-acl").write_text("owner lr\n")
        (box.maildir / ON_DISK / "dovecot-acl").chmod(0o644)
        automatic = b"Subject: Away\nAuto-Submitted: auto-replied\nFrom: a@b.example\n\nI am.\n"
        box.put(*[automatic] * 210, b"Subject: Buy this\n\nwords\n", *[automatic] * 210)
        first, second = FeedbackTally(), FeedbackTally()

        for tally in (first, second):
            with pytest.raises(TransportUnavailable, match=r"cannot be read: .*ermission"):
                read(sent, box.server("imap"), tally)

    assert (first.read, first.automatic, first.other) == (421, 420, 1)
    assert (second.read, second.other) == (420, 0)


def test_mails_that_cannot_be_deleted_keep_no_others_from_being_read(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH", 1)
    ok, mail = b"+OK\r\n", b"+OK\r\nAuto-Submitted: auto-replied\r\n\r\nI am.\r\n.\r\n"
    listed = (b"+OK\r\n1 a\r\n2 b\r\n.\r\n", b"+OK\r\n1 9\r\n2 9\r\n.\r\n")
    tally = FeedbackTally()
    with saying(ok, ok, ok, *listed, mail, b"-ERR it is locked\r\n", ok) as port:
        server = urls.parse(f"pop3://mia:sesame@127.0.0.1:{port}")

        with pytest.raises(TransportUnavailable, match="it is locked"):
            read(sent, server, tally)

    assert tally.read == 2


def test_a_long_search_in_an_mbox_can_be_stopped(sent: Sent, tmp_path: Path) -> None:
    box = mailboxes.mbox(tmp_path / "box")
    for number in range(250):
        box.add(f"Subject: {number}\n\n")
    box.flush()
    assert read(sent, tmp_path / "box").read == 250
    box.add("Subject: another\n\n")
    box.close()

    assert read(sent, tmp_path / "box", is_stopped=lambda: True).read == 0
    assert read(sent, tmp_path / "box").read == 1


def test_while_one_process_reads_another_one_does_not(sent: Sent, tmp_path: Path) -> None:
    mailboxes.Maildir(tmp_path / "box", create=True)
    with LeaderLock(sent.engine, "mailbox") as lock:
        assert lock.is_elected()
        assert not reading.read(
            sent.engine,
            Mailbox(where=tmp_path / "box", folder="", rules=sent.rules),
            now=LATER,
            on_batch=lambda *_: None,
        )


def test_a_reading_that_is_stopped_ends_after_its_batch(sent: Sent, tmp_path: Path) -> None:
    box = mailboxes.Maildir(tmp_path / "box", create=True)
    for number in range(250):
        box.add(f"Subject: {number}\n\n")

    assert read(sent, tmp_path / "box", is_stopped=lambda: True).read == 200
    assert read(sent, tmp_path / "box").read == 50


def test_the_scheduler_reads_every_few_minutes_whoever_did_it_last(engine: Engine) -> None:
    def is_due(at: timedelta) -> bool:
        return notices.is_due(engine, reading.EVERY, now=NOW + at)

    assert is_due(timedelta(0))
    assert not is_due(timedelta(minutes=1))
    assert is_due(timedelta(minutes=5))
    assert not is_due(timedelta(minutes=9))
    # The clock was set back.
    assert is_due(timedelta(days=-1))


def test_a_failure_is_said_once_then_daily_and_so_is_its_end(engine: Engine) -> None:
    def said(failure: NewsletterError | None, at: timedelta) -> str | None:
        return notices.take(engine, failure, now=NOW + at)

    away = TransportUnavailable("The mailbox is away.")
    assert said(None, timedelta(0)) is None
    assert said(away, timedelta(minutes=5)) == "The mailbox is away."
    assert said(away, timedelta(minutes=10)) is None
    assert said(away, timedelta(days=1, minutes=5)) == "Still: The mailbox is away."
    assert said(away, timedelta(days=1, minutes=10)) is None
    assert said(None, timedelta(days=1, minutes=15)) == (
        "The mailbox of returned mails can be read again."
    )
    assert said(None, timedelta(days=1, minutes=20)) is None
    assert said(away, timedelta(days=1, minutes=25)) == "The mailbox is away."


def test_a_path_without_a_mailbox_is_an_error(sent: Sent, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read as a mailbox"):
        read(sent, tmp_path / "nothing")
