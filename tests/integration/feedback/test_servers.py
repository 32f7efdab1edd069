"""Reading mailboxes of real IMAP and POP3 servers: nothing is lost, and nothing is read twice."""

from __future__ import annotations

import base64
import re
import shutil
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from dovecot import FOREIGN_PASSWORD, FOREIGN_USER, Dovecot, dovecot
from journey import until
from sqlalchemy import Engine
from wires import cut, saying, slowed

from newsletter.errors import ConfigurationError, NewsletterError, TransportUnavailable
from newsletter.feedback import imap, mime, patience, pop3
from newsletter.feedback.patience import Patience
from newsletter.feedback.sources import Source
from newsletter.settings import mailboxes
from newsletter.settings.mailboxes import MailboxServer

# One server for all of them.
pytestmark = pytest.mark.xdist_group("dovecot")


@pytest.fixture(autouse=True)
def _grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "GRACE_SECONDS", 0.5)


NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FOLDER = "Newsletter/Processed"
ON_DISK = ".Newsletter.Processed"
SCHEMES = ("imap", "imaps", "pop3", "pop3s")

#: What servers say up to the login, and up to an open folder.
IMAP_BEGIN = (
    b"* OK ready\r\n",
    b"* CAPABILITY IMAP4rev1 MOVE\r\n%TAG% OK done\r\n",
    b"%TAG% OK done\r\n",
)
IMAP_OPEN = (
    *IMAP_BEGIN,
    IMAP_BEGIN[1],
    b'* LIST () "/" ""\r\n%TAG% OK done\r\n',
    b"%TAG% OK done\r\n",
)
SEARCHED = b"* SEARCH 1 2\r\n%TAG% OK done\r\n"
SIZED = b"* 1 FETCH (UID 1 RFC822.SIZE 9)\r\n%TAG% OK done\r\n"
POP3_BEGIN = (b"+OK\r\n", b"+OK\r\n", b"+OK\r\n")


def mail(subject: str, octets: int = 100) -> bytes:
    lines = b"x" * 76 + b"\r\n"
    return f"Subject: {subject}\r\nFrom: a@b.example\r\n\r\n".encode() + lines * (octets // 78)


def mails(count: int) -> list[bytes]:
    return [mail(f"{number:05}") for number in range(count)]


def opened(
    server: MailboxServer,
    engine: Engine,
    folder: str = FOLDER,
    patience: Patience | None = None,
) -> AbstractContextManager[Source]:
    if server.protocol == "imap":
        return imap.opened(server, folder=folder, patience=patience)
    return pop3.opened(server, engine, now=NOW, patience=patience)


def subject(octets: bytes) -> str:
    return octets.partition(b"\r\n")[0].decode()[9:]


def read(
    server: MailboxServer, engine: Engine, *, left: str = "$^", folder: str = FOLDER
) -> list[str]:
    """Read a mailbox; mails whose subjects match `left` are not understood."""
    found = []
    with opened(server, engine, folder) as source:
        for batch in source.batches():
            understood = [one.handle for one in batch if not re.match(left, subject(one.octets))]
            others = [one.handle for one in batch if re.match(left, subject(one.octets))]
            source.settle(understood=understood, left=others)
            found += [subject(one.octets) for one in batch]
    return sorted(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_understood_goes_and_what_is_not_stays_and_is_read_once(
    box: Dovecot, sqlite_engine: Engine, scheme: str
) -> None:
    box.put(mail("bounce 1"), mail("advertisement"), mail("bounce 2"))

    assert read(box.server(scheme), sqlite_engine, left="adv") == [
        "advertisement",
        "bounce 1",
        "bounce 2",
    ]
    assert box.subjects() == ["advertisement"]
    assert box.subjects(ON_DISK) == (["bounce 1", "bounce 2"] if "imap" in scheme else [])

    box.put(mail("bounce 3"))
    assert read(box.server(scheme), sqlite_engine, left="adv") == ["bounce 3"]
    assert read(box.server(scheme), sqlite_engine, left="adv") == []


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_a_server_that_is_not_on_this_machine_is_talked_to_by_starttls(
    box: Dovecot, sqlite_engine: Engine, scheme: str, authority: trustme.CA
) -> None:
    box.put(mail("bounce"))
    server = replace(box.server(scheme), security="starttls")

    before = box.log().count(", TLS, session")
    assert read(server, sqlite_engine) == ["bounce"]
    until(lambda: box.log().count(", TLS, session") == before + 1)


@pytest.mark.parametrize(("scheme", "answer"), [
    ("imap", b"* CAPABILITY IMAP4rev1\r\n%TAG% OK done\r\n"),
    ("pop3", b"+OK\r\nTOP\r\n.\r\n"),
])  # fmt: skip
def test_without_starttls_no_password_leaves(
    sqlite_engine: Engine, scheme: str, answer: bytes
) -> None:
    greeting = b"* OK ready\r\n" if scheme == "imap" else b"+OK ready\r\n"
    with saying(greeting, answer, answer) as port:
        server = replace(at(scheme, port), security="starttls")

        with pytest.raises(ConfigurationError, match="cannot be read in safety") as caught:
            read(server, sqlite_engine)

    assert caught.value.setting == "feedback_url"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_password_in_any_script_is_understood(
    box: Dovecot, sqlite_engine: Engine, scheme: str
) -> None:
    box.put(mail("bounce"))
    server = replace(box.server(scheme), username=FOREIGN_USER, password=FOREIGN_PASSWORD)

    assert read(server, sqlite_engine) == ["bounce"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wrong_password_is_an_error_that_does_not_have_it(
    box: Dovecot, sqlite_engine: Engine, scheme: str
) -> None:
    server = replace(box.server(scheme), password="not-this-one")

    with pytest.raises(ConfigurationError, match=r"does not let us in: .*failed") as caught:
        read(server, sqlite_engine)

    assert caught.value.setting == "feedback_url"
    assert "NEWSLETTER_FEEDBACK_URL" in str(caught.value.hint)
    assert "not-this-one" not in f"{caught.value.message}{caught.value.hint}{server!r}"


@pytest.mark.parametrize("words", [b"[UNAVAILABLE] later", b"[LIMIT] too many connections"])
def test_a_login_that_is_refused_for_now_may_work_later(
    sqlite_engine: Engine, words: bytes
) -> None:
    capability = b"* CAPABILITY IMAP4rev1\r\n%TAG% OK done\r\n"
    with (
        saying(b"* OK ready\r\n", capability, b"%TAG% NO " + words + b"\r\n") as port,
        pytest.raises(TransportUnavailable, match="cannot be read"),
    ):
        read(at("imap", port), sqlite_engine)


NOTHING_SAID = (
    r"^The mailbox at \S+ (does not let us in|cannot be read): "
    r"the server's words may have the password in them, and are not shown\.$"
)
ODD = 'se"s\\ame 1/2'
QUOTED = rb'"se\"s\\ame 1/2"'


@pytest.mark.parametrize(("scheme", "answer"), [
    ("pop3", b"-ERR no user with " + ODD.encode()),
    ("pop3", b'-ERR PASS se"s: ame is too much'),
    ("imap", b"%TAG% NO LOGIN \"mia\" \"se"),
    ("imap", b"%TAG% NO no user with " + QUOTED),
    ("imap", b"%TAG% NO no user with " + QUOTED.upper()),
    ("imap", b"%TAG% NO no user with se%22s%5Came%201%2F2"),
    ("imap", b"%TAG% BAD what is LOGIN \"mia\" " + QUOTED),
    ("imap", b"what is LOGIN \"mia\" " + QUOTED),
    ("imap", b"%TAG% NO what is " + base64.b64encode(ODD.encode())),
    ("imap", b"%TAG% NO what is " + base64.b64encode(b"\0mia\0" + ODD.encode())),
    ("imap", b"%TAG% NO what is " + base64.b64encode(b"mia\0mia\0" + ODD.encode())),
])  # fmt: skip
def test_a_server_that_repeats_the_password_is_not_quoted(
    sqlite_engine: Engine, scheme: str, answer: bytes
) -> None:
    before = POP3_BEGIN[:2] if scheme == "pop3" else IMAP_BEGIN[:2]
    with (
        saying(*before, answer + b"\r\n") as port,
        pytest.raises(NewsletterError, match=NOTHING_SAID),
    ):
        read(replace(at(scheme, port), password=ODD), sqlite_engine)


def test_a_server_that_repeats_a_password_in_another_script_is_not_quoted(
    sqlite_engine: Engine,
) -> None:
    # It repeats the line with the password, in base64.
    with (
        saying(*IMAP_BEGIN[:2], b"+ \r\n", b"what is %TAG%\r\n") as port,
        pytest.raises(TransportUnavailable, match=NOTHING_SAID),
    ):
        read(replace(at("imap", port), password=FOREIGN_PASSWORD), sqlite_engine)


LOUD = "[ALERT] \x1b]0;owned\x07 \u202e\x9b31m ".encode() + b"words " * 5_000 + b"\r\n"


@pytest.mark.parametrize("before", [
    IMAP_BEGIN[:2],
    IMAP_OPEN[:-1],
    IMAP_OPEN,
    (
        *IMAP_OPEN,
        b"* SEARCH 7\r\n%TAG% OK done\r\n",
        b"* 1 FETCH (UID 7 RFC822.SIZE 9)\r\n%TAG% OK done\r\n",
        b"* 1 FETCH (UID 7 BODY[]<0> {11}\r\nSubject: ab)\r\n%TAG% OK done\r\n",
        b"%TAG% NO there is none\r\n",
    ),
], ids=["login", "select", "search", "create"])  # fmt: skip
def test_what_a_server_says_is_printable_and_short(
    sqlite_engine: Engine, before: tuple[bytes, ...]
) -> None:
    with (
        saying(*before, b"%TAG% NO " + LOUD) as port,
        pytest.raises(NewsletterError, match=r"ALERT.*words.*…\.$") as caught,
    ):
        read(at("imap", port), sqlite_engine)

    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_a_folder_that_is_not_there_is_named(box: Dovecot, sqlite_engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="has no folder Bounces/2026 that") as caught:
        read(box.server("imap", "/Bounces/2026"), sqlite_engine)

    assert caught.value.setting == "feedback_url"


def test_mails_are_not_moved_to_where_they_are_read(box: Dovecot, sqlite_engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="feedback_folder is the folder"):
        read(box.server("imap"), sqlite_engine, folder="inbox")


@pytest.mark.parametrize(("to", "on_disk"), [
    ("Geprüft & gelesen", ".Gepr&APw-ft &- gelesen"),
    ('Mia\'s "box"/100%', '.Mia\'s "box".100%'),
    ("処理/済み", ".&UeZ0Bg-.&bggwfw-"),
])  # fmt: skip
def test_folders_have_names_in_any_script(
    box: Dovecot, sqlite_engine: Engine, to: str, on_disk: str
) -> None:
    box.put(mail("bounce"), folder=".R&APw-ckl&AOQ-ufer 2026")

    assert read(box.server("imap", "/Rückläufer%202026"), sqlite_engine, folder=to) == ["bounce"]
    assert box.subjects(on_disk) == ["bounce"]
    box.put(mail("another"), folder=".R&APw-ckl&AOQ-ufer 2026")
    assert read(box.server("imap", "/Rückläufer%202026"), sqlite_engine, folder=to) == ["another"]


def test_without_a_folder_what_was_understood_is_deleted_and_nothing_else(
    box: Dovecot, sqlite_engine: Engine
) -> None:
    box.put(mail("bounce"), mail("advertisement"), mail("marked by somebody"))
    marked = next(one for one in (box.maildir / "new").iterdir() if b"marked" in one.read_bytes())
    marked.rename(box.maildir / "cur" / f"{marked.name}:2,T")

    assert read(box.server("imap"), sqlite_engine, left="adv", folder="") == [
        "advertisement",
        "bounce",
    ]
    assert box.subjects() == ["advertisement", "marked by somebody"]


def test_a_server_without_uidplus_deletes_nothing_that_others_have_marked(
    authority: trustme.CA, sqlite_engine: Engine
) -> None:
    with dovecot(authority, config="protocol imap {\n  imap_capability = IMAP4rev1\n}\n") as box:
        server = box.server("imap")
        box.put(mail("bounce 1"), mail("advertisement"))
        assert len(read(server, sqlite_engine, left="adv", folder="")) == 2
        assert box.subjects() == ["advertisement"]

        box.put(mail("bounce 2"), mail("marked by somebody"))
        marked = next(
            one for one in (box.maildir / "new").iterdir() if b"marked" in one.read_bytes()
        )
        marked.rename(box.maildir / "cur" / f"{marked.name}:2,T")
        assert read(server, sqlite_engine, folder="") == ["bounce 2"]
        assert box.subjects() == ["advertisement", "bounce 2", "marked by somebody"]
        assert read(server, sqlite_engine, folder="") == []


@pytest.mark.parametrize("capabilities", ["+X", "IMAP4rev1"])
def test_mails_that_another_one_takes_away_meanwhile_are_no_error(
    authority: trustme.CA, sqlite_engine: Engine, capabilities: str
) -> None:
    config = f"protocol imap {{\n  imap_capability = {capabilities}\n}}\n"
    with dovecot(authority, config=config) as box:
        box.put(*mails(5))
        server = box.server("imap")
        with (
            imap.opened(server, folder=FOLDER) as one,
            imap.opened(server, folder=FOLDER) as other,
        ):
            ours = [mail.handle for mail in next(one.batches())]
            theirs = [mail.handle for mail in next(other.batches())]
            other.settle(understood=theirs[:2], left=theirs[4:])
            one.settle(understood=ours[:4], left=ours[4:])

        found = read(server, sqlite_engine)
        assert {*box.subjects(ON_DISK)} == {"00000", "00001", "00002", "00003"}
        assert {*found} <= {"00002", "00003"}
        assert box.subjects() == ["00004"]


@pytest.mark.parametrize(
    "capabilities", ["IMAP4rev1 UIDPLUS NAMESPACE", "IMAP4rev1", "IMAP4rev1 MOVE"]
)
def test_a_server_that_knows_no_move_is_told_to_copy(
    authority: trustme.CA, sqlite_engine: Engine, capabilities: str
) -> None:
    config = f"protocol imap {{\n  imap_capability = {capabilities}\n}}\n"
    with dovecot(authority, config=config) as box:
        box.put(mail("bounce"), mail("advertisement"))

        assert len(read(box.server("imap"), sqlite_engine, left="adv")) == 2
        assert box.subjects() == ["advertisement"]
        assert box.subjects(ON_DISK) == ["bounce"]
        assert read(box.server("imap"), sqlite_engine) == []


@pytest.mark.parametrize(("capabilities", "separator", "prefix"), [
    ("+X", ".", "INBOX."),
    ("+X", "/", "Mail/"),
    ("+X", "\\\\", ""),
    # Without NAMESPACE nobody is told of a prefix.
    ("IMAP4rev1", "\\\\", ""),
    ("IMAP4rev1", "^", ""),
])  # fmt: skip
def test_folders_are_made_where_the_server_has_them(
    authority: trustme.CA, sqlite_engine: Engine, capabilities: str, separator: str, prefix: str
) -> None:
    config = f"""
protocol imap {{
  imap_capability = {capabilities}
}}
namespace inbox {{
  separator = "{separator}"
  prefix = "{prefix}"
}}
"""
    with dovecot(authority, config=config) as box:
        box.put(mail("bounce 1"), folder=".Returned")
        box.put(mail("bounce 2"))

        assert read(box.server("imap", "/Returned"), sqlite_engine) == ["bounce 1"]
        assert read(box.server("imap", "/INBOX"), sqlite_engine) == ["bounce 2"]
        assert box.subjects(ON_DISK) == ["bounce 1", "bounce 2"]


def test_where_no_keyword_can_be_set_what_stays_is_marked_as_seen(
    authority: trustme.CA, sqlite_engine: Engine
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
        box.put(mail("bounce"), mail("advertisement"))
        # All rights but w, which is the one to set keywords (RFC 4314).
        (box.maildir / "dovecot-acl").write_text("owner lrstipekxa\n")
        (box.maildir / "dovecot-acl").chmod(0o644)

        assert len(read(box.server("imap"), sqlite_engine, left="adv")) == 2
        assert not (box.maildir / "dovecot-keywords").exists()
        (stays,) = (box.maildir / "cur").iterdir()
        assert stays.name.endswith(":2,S")
        assert read(box.server("imap"), sqlite_engine) == []


def test_a_folder_that_cannot_be_changed_is_an_error(
    authority: trustme.CA, sqlite_engine: Engine
) -> None:
    config = "protocol imap {\n  mail_plugins = acl\n}\nplugin {\n  acl = vfile\n}\n"
    with dovecot(authority, config=config) as box:
        (box.maildir / "dovecot-acl").write_text("owner lr\n")
        (box.maildir / "dovecot-acl").chmod(0o644)

        with pytest.raises(ConfigurationError, match="no folder INBOX that mails can be moved"):
            read(box.server("imap"), sqlite_engine)


def test_other_uids_in_the_next_connection_lose_nothing(
    box: Dovecot, sqlite_engine: Engine
) -> None:
    box.put(mail("bounce 1"), mail("advertisement"))
    assert len(read(box.server("imap"), sqlite_engine, left="adv")) == 2
    for one in box.maildir.glob("dovecot*"):
        if one.name != "dovecot-keywords":
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    box.put(*mails(3))

    assert read(box.server("imap"), sqlite_engine, left="adv") == ["00000", "00001", "00002"]
    assert box.subjects() == ["advertisement"]


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
@pytest.mark.parametrize("after", [10, 300, 1_500, 5_000, 60_000, 100_000])
def test_a_server_that_goes_away_in_the_middle_loses_nothing(
    box: Dovecot, sqlite_engine: Engine, scheme: str, after: int
) -> None:
    count = 450
    box.put(*(mail(f"{number:05}", 500) for number in range(count)))
    with (
        cut(box.ports[scheme], after=after) as port,
        pytest.raises(TransportUnavailable, match=f":{port} cannot be read") as caught,
    ):
        read(box.server(scheme, port=port), sqlite_engine)
    assert "next run" in str(caught.value.hint)

    done = box.subjects(ON_DISK)
    seen = read(box.server(scheme), sqlite_engine)
    assert box.subjects() == []
    if scheme == "imap":
        assert sorted({*done, *seen}) == box.subjects(ON_DISK) == [f"{n:05}" for n in range(count)]


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
@pytest.mark.parametrize("line", [76, 50_000_000])
def test_of_a_large_mail_the_beginning_is_read(
    box: Dovecot, sqlite_engine: Engine, scheme: str, line: int
) -> None:
    lines = 50_000_000 // line
    box.put(mail("small"), b"Subject: large\r\n\r\n" + (b"x" * line + b"\r\n") * lines)
    found = {}

    tracemalloc.start()
    with opened(box.server(scheme), sqlite_engine) as source:
        for batch in source.batches():
            found.update({subject(one.octets): len(one.octets) for one in batch})
            source.settle(understood=[one.handle for one in batch], left=[])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found["small"] < 200
    assert mime.MAXIMUM_OCTETS // 2 < found["large"] <= mime.MAXIMUM_OCTETS
    assert peak < 8 * mime.MAXIMUM_OCTETS
    assert box.subjects() == []


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.torture)])
def test_a_full_mailbox_is_read_in_batches_of_bounded_size(
    box: Dovecot, sqlite_engine: Engine, scheme: str, count: int
) -> None:
    # In every tenth batch the octets are what ends it.
    box.put(*(mail(f"{number:05}", 200_000 if number < 200 else 500) for number in range(count)))
    found, sizes = [], []

    tracemalloc.start()
    with opened(box.server(scheme), sqlite_engine) as source:
        for batch in source.batches():
            assert source.waiting == count
            sizes.append((len(batch), sum(len(one.octets) for one in batch)))
            found += [subject(one.octets) for one in batch]
            left = [one.handle for one in batch if subject(one.octets).endswith("99")]
            gone = [one.handle for one in batch if not subject(one.octets).endswith("99")]
            source.settle(understood=gone, left=left)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == [f"{number:05}" for number in range(count)]
    assert max(number for number, _ in sizes) == 200
    assert max(octets for _, octets in sizes) <= 20_100_000
    assert peak < 80_000_000
    assert len(box.subjects()) == count // 100
    assert read(box.server(scheme), sqlite_engine) == []


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_a_certificate_that_nobody_trusts_is_an_error(
    shared: Dovecot, sqlite_engine: Engine, scheme: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"in safety: .*certificate") as caught:
        read(shared.server(scheme), sqlite_engine)

    assert "SSL_CERT_FILE" in str(caught.value.hint)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("name", "age", "said"), [
    ("127.0.0.1", timedelta(days=400), "expired"),
    ("mail.example", timedelta(0), "not valid for '127.0.0.1'"),
])  # fmt: skip
def test_a_certificate_that_is_expired_or_of_another_host_is_an_error(
    authority: trustme.CA, sqlite_engine: Engine, name: str, age: timedelta, said: str
) -> None:
    until = datetime.now(UTC) + timedelta(days=1) - age
    with dovecot(authority, names=[name], not_after=until) as box:
        for scheme in ("imaps", "pop3s"):
            with pytest.raises(ConfigurationError, match=said):
                read(box.server(scheme), sqlite_engine)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_port_where_nobody_listens_is_an_error(sqlite_engine: Engine, scheme: str) -> None:
    with saying(b"") as port:
        pass

    with pytest.raises(TransportUnavailable, match=f"127.0.0.1:{port} cannot be read: .*refused"):
        read(at(scheme, port), sqlite_engine)


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_a_server_that_says_nothing_is_given_up(
    sqlite_engine: Engine, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "TIMEOUT_SECONDS", 0.2)
    # It greets only after the first line.
    with (
        saying(b"", b"late\r\n") as port,
        pytest.raises(TransportUnavailable, match="timed out"),
    ):
        read(at(scheme, port), sqlite_engine)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("after", [10, 5_000])
@pytest.mark.parametrize(
    "ours",
    [
        lambda: Patience(0.5),
        lambda: Patience(is_stopped=lambda: True),
    ],
    ids=["late", "stopped"],
)
def test_a_server_that_dribbles_is_left(
    box: Dovecot, sqlite_engine: Engine, scheme: str, after: int, ours: Callable[[], Patience]
) -> None:
    box.put(mail("bounce", 100_000))
    with (
        slowed(box.ports[scheme], after=after) as port,
        pytest.raises(TransportUnavailable, match=r"timed out|too long"),
        opened(box.server(scheme, port=port), sqlite_engine, patience=ours()) as source,
    ):
        next(source.batches())

    assert read(box.server(scheme), sqlite_engine) == ["bounce"]


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_a_server_that_dribbles_after_starttls_is_left(
    box: Dovecot, sqlite_engine: Engine, scheme: str
) -> None:
    box.put(mail("bounce", 100_000))
    with slowed(box.ports[scheme], after=5_000) as port:
        server = replace(box.server(scheme, port=port), security="starttls")
        with (
            pytest.raises(TransportUnavailable, match=r"timed out|too long"),
            opened(server, sqlite_engine, patience=Patience(0.5)) as source,
        ):
            next(source.batches())


@pytest.mark.parametrize(
    ("scheme", "answers"),
    [
        *(("imap", answers) for answers in (
            (b"",),
            (b"\0\xff\r\n",),
            (b"* BYE not today\r\n",),
            (b"220 mail.example ESMTP\r\n",),
            (b"* PREAUTH welcome\r\n", b"%TAG% BAD\r\n"),
            (b"* OK ready\r\n", b"* CAPABILITY\r\n%TAG% OK done\r\n"),
            (*IMAP_BEGIN, b"* CAPABILITY \xff\r\n%TAG% NO\r\n"),
            (*IMAP_OPEN[:4], b"* LIST\r\n%TAG% OK done\r\n", b"* BYE\r\n"),
            (*IMAP_OPEN, b"* SEARCH one 2 \xff\r\n%TAG% OK done\r\n"),
            (*IMAP_OPEN, SEARCHED, b"* 1 FETCH (UID 1\r\n%TAG% NO no\r\n"),
            (*IMAP_OPEN, SEARCHED, SIZED, b"* 1 FETCH (BODY[]<0> {9999999999}\r\n"),
        )),
        *(("pop3", answers) for answers in (
            (b"",),
            (b"\0\xff\r\n",),
            (b"-ERR [SYS/TEMP] not today\r\n",),
            (*POP3_BEGIN, b"-ERR no UIDL here\r\n"),
            (*POP3_BEGIN, b"+OK\r\none two\r\n.\r\n"),
            (*POP3_BEGIN, b"+OK\r\n1 \xff\r\n.\r\n"),
            (*POP3_BEGIN, b"+OK\r\n1 a\r\n.\r\n", b"+OK\r\n2 9\r\n.\r\n"),
            (*POP3_BEGIN, b"+OK\r\n1 a\r\n.\r\n", b"+OK\r\n1 9\r\n.\r\n", b"-ERR gone\r\n"),
            (*POP3_BEGIN, b"+OK\r\n1 a\r\n.\r\n", b"+OK\r\n1 9\r\n.\r\n", b"+OK\r\nwithout an end"),
        )),
    ],
)  # fmt: skip
def test_whatever_a_server_says_is_an_error_with_its_name(
    sqlite_engine: Engine, scheme: str, answers: tuple[bytes, ...]
) -> None:
    with saying(*answers) as port, pytest.raises(NewsletterError, match=f"127.0.0.1:{port} "):
        read(at(scheme, port), sqlite_engine)


@pytest.mark.parametrize(
    "piece", [b"x" * 65_536, b"* 1 FETCH (FLAGS ())\r\n" * 3_000], ids=["line", "lines"]
)
def test_an_answer_without_an_end_is_not_read_to_its_end(
    sqlite_engine: Engine, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "_ANSWER_OCTETS", 2_000_000)
    with saying(*IMAP_OPEN, piece, is_endless=True) as port, pytest.raises(TransportUnavailable):
        read(at("imap", port), sqlite_engine)


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"1 words\r\n" * 3_000], ids=["line", "lines"])
def test_a_listing_without_an_end_is_not_read_to_its_end(
    sqlite_engine: Engine, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pop3, "_ANSWER_OCTETS", 2_000_000)
    with (
        saying(*POP3_BEGIN, b"+OK\r\n" + piece, is_endless=True) as port,
        pytest.raises(TransportUnavailable),
    ):
        read(at("pop3", port), sqlite_engine)


def test_a_mail_that_the_server_cannot_read_keeps_no_other_from_being_read(
    sqlite_engine: Engine,
) -> None:
    sized = b"* 1 FETCH (UID 7 RFC822.SIZE 9)\r\n* 2 FETCH (UID 8 RFC822.SIZE 9)\r\n"
    done, refused = b"%TAG% OK done\r\n", b"%TAG% NO [SERVERBUG] Internal error\r\n"
    with (
        saying(
            *IMAP_OPEN,
            b"* SEARCH 7 8\r\n" + done,
            sized + done,
            refused,
            refused,
            b"* 2 FETCH (UID 8 BODY[]<0> {4}\r\nabcd)\r\n" + done,
            done,
            done,
        ) as port,
        imap.opened(at("imap", port), folder=FOLDER) as source,
    ):
        (batch,) = [*source.batches()]

    assert [(one.handle, one.octets) for one in batch] == [("8", b"abcd")]


def test_a_mail_without_octets_stays_and_is_marked(sqlite_engine: Engine) -> None:
    with (
        saying(
            *IMAP_OPEN,
            b"* SEARCH 7\r\n%TAG% OK done\r\n",
            b"* 1 FETCH (RFC822.SIZE 0 UID 7)\r\n%TAG% OK done\r\n",
            b'* 2 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (BODY[]<0> "" UID 7)\r\n%TAG% OK done\r\n',
            b"%TAG% OK done\r\n",
            b"%TAG% OK done\r\n",
        ) as port,
        imap.opened(at("imap", port), folder=FOLDER) as source,
    ):
        (batch,) = [*source.batches()]

    assert [(one.handle, one.octets) for one in batch] == [("7", b"")]


def at(scheme: str, port: int) -> MailboxServer:
    found = mailboxes.parse(f"{scheme}://mia:sesame@127.0.0.1:{port}")
    assert isinstance(found, MailboxServer)
    return found
