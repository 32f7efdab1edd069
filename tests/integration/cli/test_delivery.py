"""What an operator types about deliveries, and what they are told about a mistake."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from terminal import Run

LOG = b"Nov 22 06:00:01 relay postfix/cleanup[8]: 77777: message-id=<1@elsewhere.example>\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["1", "--state", "unknown"],
        ["--edition", "weekly-2026-11-23"],
        ["1", "--edition", "weekly-2026-11-23"],
        ["--state", "accepted"],
    ],
)
def test_what_is_to_be_tried_again_is_named_by_ids_or_by_a_state(
    run: Run, words: list[str]
) -> None:
    refused = run("delivery", "retry", *words)

    assert (refused.code, refused.out) == (2, "")
    assert "The program failed" not in refused.err


def test_nothing_to_try_again_is_no_mistake_but_an_unknown_edition_is(run: Run) -> None:
    assert run("delivery", "retry", "--state", "deferred", "--json").json == {
        "asked": 0,
        "retried": 0,
    }
    missing = run("delivery", "retry", "--state", "unknown", "--edition", "weekly-2026-11-23")
    assert (missing.code, missing.out) == (1, "")


@pytest.mark.parametrize("name", ["no.log", ".", "cut.log.gz", "plain.log.gz", "odd.log.gz"])
def test_a_log_that_cannot_be_read_is_named(run: Run, tmp_path: Path, name: str) -> None:
    packed = gzip.compress(LOG * 1000)
    (tmp_path / "cut.log.gz").write_bytes(packed[:-20])
    (tmp_path / "plain.log.gz").write_bytes(LOG)
    (tmp_path / "odd.log.gz").write_bytes(packed[:40] + b"\xff" * 40)

    refused = run("delivery", "reconcile", "--accepted", name)

    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"{name} ")


def test_a_log_is_read_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(LOG)))

    reconciled = run("delivery", "reconcile", "--accepted", "-")

    assert reconciled.code == 0
    assert "In 1 line: 0 about deliveries that were not unknown, 1 about" in reconciled.out


def test_what_is_neither_a_log_nor_a_list_is_said_to_be_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear Ann, the log is on the other machine.\n")

    reconciled = run("delivery", "reconcile", "--accepted", "notes.txt")

    assert reconciled.code == 0
    assert "It speaks of no message." in reconciled.err


@pytest.mark.parametrize(
    "content",
    [
        LOG.decode().encode("utf-16"),
        LOG.decode().encode("utf-8-sig"),
        gzip.compress(LOG),
        gzip.compress(LOG.decode().encode("utf-16")),
        b'"1@elsewhere.example",accepted\r\n',
        b"1@elsewhere.example;accepted\r\n",
    ],
    ids=["utf-16", "utf-8 with a mark", "gzip", "gzip of utf-16", "csv", "semicolons"],
)
def test_a_list_is_read_in_whatever_form_a_machine_writes_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    reconciled = run("delivery", "reconcile", "--accepted", "-")

    assert reconciled.code == 0
    assert "In 1 line: 0 about deliveries that were not unknown, 1 about" in reconciled.out


def test_a_file_that_names_nothing_of_ours_is_no_reason_to_send_again(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "other.log").write_bytes(LOG)

    reconciled = run("delivery", "reconcile", "--accepted", "other.log")

    assert "It names none of our messages." in reconciled.err
    assert "delivery retry" not in reconciled.out + reconciled.err
