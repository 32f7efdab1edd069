from __future__ import annotations

from pathlib import Path

import pytest

from newsletter.cli import files
from newsletter.errors import InvalidInput


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_is_written_is_for_its_owner_alone_whatever_stood_there(tmp_path: Path) -> None:
    target = tmp_path / "weekly.html"
    target.write_text("for everyone")
    target.chmod(0o644)

    files.write(target, "private")

    assert (target.read_text(), mode(target)) == ("private", 0o600)


def test_a_symbolic_link_is_replaced_and_never_followed(tmp_path: Path) -> None:
    precious, target = tmp_path / "precious", tmp_path / "rejected.csv"
    precious.write_text("mine")
    target.symlink_to(precious)

    with files.replaced(target) as stream:
        stream.write("email\r\n")

    assert precious.read_text() == "mine"
    assert not target.is_symlink()
    assert target.read_bytes() == b"email\r\n"


def test_a_link_that_leads_nowhere_makes_no_file_elsewhere(tmp_path: Path) -> None:
    target = tmp_path / "weekly.eml"
    target.symlink_to(tmp_path / "elsewhere")

    files.write(target, b"mail")

    assert not (tmp_path / "elsewhere").exists()
    assert target.read_bytes() == b"mail"


def test_a_file_that_is_not_finished_leaves_the_old_one_alone(tmp_path: Path) -> None:
    target = tmp_path / "readers.csv"
    target.write_text("old")

    with pytest.raises(UnicodeEncodeError), files.replaced(target) as stream:
        stream.write("half of it, and no text: \ud800")

    assert [path.name for path in tmp_path.iterdir()] == ["readers.csv"]
    assert target.read_text() == "old"


def test_a_folder_and_a_device_are_named_and_not_replaced(tmp_path: Path) -> None:
    for target in (tmp_path, Path("/dev/null")):
        with pytest.raises(InvalidInput, match="is no file"):
            files.write(target, "words")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"gone/readers\.csv cannot be written"):
        files.write(tmp_path / "gone" / "readers.csv", "words")
