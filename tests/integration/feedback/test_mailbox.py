"""Reading mails from a mailbox or a stream, without modifying it."""

from __future__ import annotations

import mailbox
import tracemalloc
from io import BytesIO
from pathlib import Path

import pytest

from newsletter.errors import InvalidInput
from newsletter.feedback import mailbox as mails
from newsletter.feedback import mime

MAIL = b"Subject: %s\r\nFrom: a@b.example\r\n\r\nSubject: not this\r\n" + b"words\r\n" * 50


def subjects(found: object) -> list[str]:
    return [headers.decode().partition("\r\n")[0][9:] for headers in found]  # type: ignore[attr-defined]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("kind", [mailbox.Maildir, mailbox.mbox])
def test_every_mail_of_a_mailbox_is_read_and_none_is_changed(
    tmp_path: Path, kind: type[mailbox.Maildir | mailbox.mbox]
) -> None:
    box = kind(tmp_path / "box", create=True)
    for name in (b"one", b"two", b"three"):
        box.add(MAIL % name)
    box.close()
    before = contents(tmp_path)

    found = subjects(mail for _, mail in mails.mails(tmp_path / "box"))

    assert sorted(line.strip() for line in found) == ["one", "three", "two"]
    assert contents(tmp_path) == before


def test_a_piped_mail_is_read_to_its_end() -> None:
    stream = BytesIO(MAIL % b"one" + b"x" * 200_000)

    assert subjects(mails.of_stream(stream)) == ["one"]
    assert stream.read() == b""


def test_a_whole_mbox_may_come_on_a_stream() -> None:
    stream = BytesIO(
        b"".join(b"From a@b Sun Nov 22 12:00:00 2026\n" + MAIL % n for n in (b"1", b"2"))
    )

    assert [line.strip() for line in subjects(mails.of_stream(stream))] == ["1", "2"]


@pytest.mark.parametrize("octets", [b"", b"\r\n", b"no headers", b"x" * 300_000, b"\0" * 100])
def test_any_piped_octets_are_one_mail_of_bounded_size(octets: bytes) -> None:
    (found,) = mails.of_stream(BytesIO(octets))

    assert len(found) <= mime.MAXIMUM_OCTETS + mime.HEADER_OCTETS


@pytest.mark.parametrize("name", ["nothing", "folder"])
def test_a_file_that_is_no_mailbox_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(InvalidInput, match="cannot be read as a mailbox"):
        list(mails.mails(tmp_path / name))


def test_a_mail_of_any_shape_takes_little_memory(tmp_path: Path) -> None:
    box = tmp_path / "box"
    line = b"From a@b Sun Nov 22 12:00:00 2026\n"
    with box.open("wb") as file:
        for _ in range(3):
            file.write(line + b"Subject: one\n\n")
            for _ in range(20):
                file.write(b"x" * 1_000_000)
            file.write(b"From the middle of a line\n\n")

    tracemalloc.start()
    found = [mail[:13] for _, mail in mails.mails(box)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == [b"Subject: one\n"] * 3
    assert peak < 5 * mime.MAXIMUM_OCTETS


def test_an_empty_mbox_has_no_mail(tmp_path: Path) -> None:
    (tmp_path / "box").touch()

    assert list(mails.mails(tmp_path / "box")) == []
