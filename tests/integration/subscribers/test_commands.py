from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import terminal
from typer.testing import CliRunner, Result

from newsletter.cli import commands
from newsletter.cli.app import app
from newsletter.errors import Conflict, InvalidAddress, InvalidInput, NotFound

SECRET = "0123456789abcdef0123456789abcdef-for-tests"


class Operator:
    """Runs commands in a folder with an empty database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, typed: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, words, input=typed, catch_exceptions=False)

    def says(self, *words: str, typed: str | bytes | None = None) -> str:
        result = self.run(*words, typed=typed)
        assert result.exit_code == 0, result.output
        return result.stdout

    def reads(self, *words: str, typed: str | bytes | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.says(*words, "--json", typed=typed))
        return found

    def writes(self, name: str, text: str | bytes) -> str:
        file = self.folder / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated_sqlite: Path) -> Operator:
    terminal.placed(migrated_sqlite, tmp_path)
    monkeypatch.setattr(commands, "load", terminal.loaded)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEWSLETTER_SECRET_KEYS", SECRET)
    monkeypatch.setenv("NEWSLETTER_TIMEZONE", "Europe/Berlin")
    return Operator(tmp_path)


# add, change, unsubscribe


def test_an_added_reader_is_active_and_the_next_digest_is_printed(operator: Operator) -> None:
    said = operator.says("subscribers", "add", "Ann@X.org", "--cadence", "daily")

    assert "ann@x.org is added: daily." in said
    assert "Next: the daily edition of" in said


def test_adding_a_reader_with_another_cadence_says_what_changed(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")

    found = operator.reads("subscribers", "add", "ann@x.org", "--cadence", "monthly")

    assert (found["result"], found["cadence"]) == ("changed", "monthly")
    assert found["next"]["cadence"] == "monthly"


def test_a_new_address_is_asked_by_a_letter_and_nothing_changes_before_it_is_confirmed(
    operator: Operator,
) -> None:
    operator.says("subscribers", "add", "ann@x.org")

    said = operator.says("subscribers", "change", "ann@x.org", "--address", "Ann@New.org")

    assert "ann@new.org is asked to confirm by a letter" in said
    assert "ann@x.org gets a note about it" in said
    assert "ann@new.org waits to be confirmed" in operator.says("subscribers", "show", "ann@x.org")
    shown = operator.reads("subscribers", "show", "ann@x.org")
    assert shown["address_change"]["address"] == "ann@new.org"
    assert [row["kind"] for row in shown["deliveries"]] == ["old_address"]


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("ann@x.org", "is their address already"),
        ("bob@x.org", "two readers are never merged"),
        ("dead@x.org", "is suppressed"),
    ],
)
def test_a_new_address_that_cannot_be_is_refused_and_nobody_is_written_to(
    operator: Operator, new: str, why: str
) -> None:
    for address in ("ann@x.org", "bob@x.org"):
        operator.says("subscribers", "add", address)
    operator.says("suppression", "add", "dead@x.org")

    with pytest.raises(Conflict, match=why):
        operator.run("subscribers", "change", "ann@x.org", "--address", new)

    for address in ("ann@x.org", "bob@x.org"):
        shown = operator.reads("subscribers", "show", address)
        assert (shown["deliveries"], shown["address_change"]) == ([], None)


def test_a_new_address_is_asked_for_alone(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")
    with pytest.raises(InvalidInput, match="alone"):
        operator.run("subscribers", "change", "ann@x.org", "--address", "b@x.org", "--pause")
    with pytest.raises(InvalidAddress):
        operator.run("subscribers", "change", "ann@x.org", "--address", "nobody")


def test_an_unsubscribed_reader_is_added_with_again(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")
    assert "is unsubscribed" in operator.says("subscribers", "unsubscribe", "ann@x.org")
    assert "already" in operator.says("subscribers", "unsubscribe", "ann@x.org")

    with pytest.raises(Conflict) as raised:
        operator.run("subscribers", "add", "ann@x.org")
    assert "--again" in str(raised.value.hint)

    found = operator.reads("subscribers", "add", "ann@x.org", "--again")
    assert (found["result"], found["generation"]) == ("again", 2)


def test_a_bad_address_is_a_mistake_in_the_command(operator: Operator) -> None:
    with pytest.raises(InvalidAddress):
        operator.run("subscribers", "add", "ann@x.org\nBcc: eve@x.org")


def test_a_pause_until_a_day_ends_when_that_day_begins_here(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org", "--cadence", "daily")

    found = operator.reads("subscribers", "change", "ann@x.org", "--pause-until", "2099-07-01")

    assert (found["status"], found["paused_until"]) == ("paused", "2099-06-30T22:00:00+00:00")
    assert found["next"]["period"] == "2099-07-01"


def test_a_pause_without_end_ends_with_resume(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")

    assert "until the pause is ended" in operator.says(
        "subscribers", "change", "ann@x.org", "--pause"
    )
    assert "is now weekly, active" in operator.says(
        "subscribers", "change", "ann@x.org", "--resume"
    )


@pytest.mark.parametrize(
    "options",
    [[], ["--pause", "--resume"], ["--pause", "--pause-until", "2099-07-01"]],
    ids=["nothing", "pause and resume", "two pauses"],
)
def test_a_change_that_says_nothing_or_two_things_is_refused(
    operator: Operator, options: list[str]
) -> None:
    operator.says("subscribers", "add", "ann@x.org")

    with pytest.raises(InvalidInput):
        operator.run("subscribers", "change", "ann@x.org", *options)


@pytest.mark.parametrize("verb", ["show", "unsubscribe"])
def test_an_unknown_reader_is_not_found(operator: Operator, verb: str) -> None:
    with pytest.raises(NotFound) as raised:
        operator.run("subscribers", verb, "ann@x.org")

    assert "subscribers add ann@x.org" in str(raised.value.hint)


# list, show


def test_a_list_says_how_many_there_are(operator: Operator) -> None:
    operator.says("subscribers", "import", operator.writes("r.csv", "a@x.org\nb@x.org\nc@x.org\n"))
    operator.says("subscribers", "add", "d@x.org", "--cadence", "daily")

    assert "2 of 4 are shown" in operator.says("subscribers", "list", "--limit", "2")
    found = operator.reads("subscribers", "list", "--cadence", "daily", "--status", "active")
    assert found["total"] == 1
    assert [reader["address"] for reader in found["subscribers"]] == ["d@x.org"]


def test_an_empty_list_says_how_to_begin(operator: Operator) -> None:
    assert "subscribers add" in operator.says("subscribers", "list")


def test_a_reader_is_shown_with_their_history_and_what_comes_next(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")
    operator.says("subscribers", "change", "ann@x.org", "--cadence", "daily")

    found = operator.reads("subscribers", "show", "ann@x.org")
    said = operator.says("subscribers", "show", "ann@x.org")

    assert [row["action"] for row in found["consents"]] == ["added", "cadence"]
    assert found["consents"][0]["source"] == "command line"
    assert (found["deliveries"], found["suppression"]) == ([], None)
    assert found["next"]["cadence"] == "daily"
    assert "ann@x.org: daily, active" in said
    assert "Next: the daily edition" in said


def test_an_address_that_is_only_suppressed_is_shown_with_the_reason(operator: Operator) -> None:
    operator.says("suppression", "add", "ann@x.org", "--reason", "wrote to us")

    assert "wrote to us" in operator.says("subscribers", "show", "ann@x.org")
    found = operator.reads("subscribers", "show", "ann@x.org")
    assert found["suppression"]["reason"] == "wrote to us"


# import, export

READERS = "email;cadence\nann@x.org;daily\nbad;daily\nbob@x.org;\ncy@x.org;hourly\nann@x.org;\n"


def test_an_import_prints_what_became_of_every_line(operator: Operator) -> None:
    result = operator.run("subscribers", "import", operator.writes("readers.csv", READERS))

    assert (
        "readers.csv: 2 added, 0 updated, 1 unchanged, 0 suppressed, 2 rejected of 5."
        in result.stdout
    )
    assert "Line 3: 'bad'" in result.stderr
    assert "Line 5: 'hourly' is not a cadence." in result.stderr
    assert "readers.csv.rejected.csv" in result.stderr


def test_an_import_is_one_object_for_scripts(operator: Operator) -> None:
    name = operator.writes("readers.csv", READERS)

    found = operator.reads("subscribers", "import", name, "--confirmed", "--rejects", "no.csv")

    counts = ("read", "added", "updated", "unchanged", "suppressed", "rejected")
    assert [found[key] for key in counts] == [5, 2, 0, 1, 0, 2]
    assert found["rejected_file"] == "no.csv"
    assert [one["line"] for one in found["first_rejected"]] == [3, 5]


def test_rejected_lines_are_in_a_private_file_with_number_and_reason(operator: Operator) -> None:
    operator.says("subscribers", "import", operator.writes("readers.csv", READERS))

    file = operator.folder / "readers.csv.rejected.csv"
    lines = file.read_text().splitlines()
    assert lines[0] == "rejected_line;rejected_because;email;cadence"
    assert [line.partition(";")[0] for line in lines[1:]] == ["3", "5"]
    assert lines[1].endswith(";bad;daily")
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_rejects_file_can_be_corrected_and_imported(operator: Operator) -> None:
    text = (
        'sep=;\r\nName;E-Mail;Cadence;Status;Note\r\nAnn;ann@@x.org;daily;active;"a; ""b"""\r\n'
        "=Bob;'=bob@x.org;hourly;unsubscribed;-1\r\n\"Cy;cy@x.org;;active;\r\n"
        "Dan;dan@x.org;sometimes;active;\r\nEve;eve@x.org;weekly;active;\r\n"
    )
    operator.says("subscribers", "import", operator.writes("readers.csv", text))
    rejects = (operator.folder / "readers.csv.rejected.csv").read_text()
    assert "'=Bob" not in rejects  # they left: how often does not matter
    mended = rejects.replace("@@", "@").replace("sometimes", "daily").replace('"""Cy"', "Cy")

    found = operator.reads("subscribers", "import", operator.writes("mended.csv", mended))

    assert (found["added"], found["rejected"]) == (3, 0)
    readers = operator.reads("subscribers", "list")["subscribers"]
    assert sorted((one["address"], one["status"]) for one in readers) == [
        ("=bob@x.org", "unsubscribed"),
        ("ann@x.org", "active"),
        ("cy@x.org", "active"),
        ("dan@x.org", "active"),
        ("eve@x.org", "active"),
    ]


def test_the_rejects_file_of_a_rejects_file_can_be_imported(operator: Operator) -> None:
    operator.says("subscribers", "import", operator.writes("r.csv", "bad\nann@x.org\n"))
    operator.says("subscribers", "import", "r.csv.rejected.csv", "--rejects", "again.csv")

    assert (operator.folder / "again.csv").read_text().splitlines()[0] == (
        "rejected_line,rejected_because,address"
    )


def test_a_rejects_file_has_no_formulas_and_follows_no_symlink(operator: Operator) -> None:
    (operator.folder / "victim").write_text("kept")
    (operator.folder / "no.csv").symlink_to("victim")
    name = operator.writes("readers.csv", "email,＝x\nbad,=1+1\nbad,＝1\n")

    operator.says("subscribers", "import", name, "--rejected", "no.csv")

    assert (operator.folder / "victim").read_text() == "kept"
    rows = (operator.folder / "no.csv").read_text().splitlines()
    assert [row.rpartition(",")[2] for row in rows] == ["'＝x", "'=1+1", "'＝1"]


# Dry runs, choices and files of an import


def test_a_dry_run_shows_columns_and_counts_and_writes_nothing(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")
    before = {file.name: file.read_bytes() for file in operator.folder.iterdir() if file.is_file()}
    text = "email,type,creation_date\na@x.org,regular,2024-01-01\nb@x.org,removed,\nbad,regular,\n"
    name = operator.writes("readers.csv", text)

    said = operator.run("subscribers", "import", name, "--dry-run").stdout
    found = operator.reads("subscribers", "import", name, "--dry-run")

    assert "has the columns of an export of Buttondown" in said
    assert "1 active, 1 rejected, 1 unsubscribed. Nothing was written." in said
    assert found["tool"] == "Buttondown"
    assert found["counts"] == {"active": 1, "rejected": 1, "unsubscribed": 1}
    assert found["columns"] == [
        {"name": "email", "read_as": "address"},
        {"name": "type", "read_as": "state"},
        {"name": "creation_date", "read_as": "time of sign-up"},
    ]
    (operator.folder / name).unlink()
    assert before == {
        file.name: file.read_bytes() for file in operator.folder.iterdir() if file.is_file()
    }


def test_a_column_that_is_not_understood_stops_with_the_way_out(operator: Operator) -> None:
    name = operator.writes("readers.csv", "email,Mein Abo-Status\na@x.org,aktiv\nb@x.org,weg\n")

    with pytest.raises(InvalidInput, match="Mein Abo-Status") as raised:
        operator.run("subscribers", "import", name, "--confirmed")

    assert "--column status='Mein Abo-Status'" in str(raised.value.hint)
    assert operator.reads("subscribers", "list")["total"] == 0
    with pytest.raises(InvalidInput, match="'weg'"):
        operator.run("subscribers", "import", name, "--column", "status=Mein Abo-Status")
    found = operator.reads("subscribers", "import", name, "--ignore-column", "Mein Abo-Status")
    assert (found["added"], found["unstated"]) == (2, 2)


def test_a_column_option_that_names_no_column_is_refused(operator: Operator) -> None:
    name = operator.writes("readers.csv", "a@x.org\n")

    with pytest.raises(InvalidInput, match="names no column"):
        operator.run("subscribers", "import", name, "--column", "status")


def test_the_hint_to_vouch_comes_only_where_rows_without_a_state_are_pending(
    operator: Operator,
) -> None:
    stated = operator.writes("stated.csv", "email,status\na@x.org,pending\nb@x.org,active\n")
    unstated = operator.writes("unstated.csv", "email,status\nc@x.org,\nd@x.org,active\n")

    assert "--confirmed" not in operator.says("subscribers", "import", stated)
    assert "1 reader of whom the file says no state is pending" in (
        operator.says("subscribers", "import", unstated)
    )


def test_the_encoding_that_was_assumed_is_said(operator: Operator) -> None:
    name = operator.writes("readers.csv", "name;email\nJörg;joerg@x.org\n".encode("cp1252"))

    result = operator.run("subscribers", "import", name)

    assert "was read as Windows-1252" in result.stderr
    assert "1 added" in result.stdout


def test_the_evidence_of_an_import_is_shown(operator: Operator) -> None:
    text = (
        "email,status,optin_time,optin_ip,source\n"
        "a@x.org,active,2024-01-02 03:04:05,192.0.2.7,Landing page\n"
    )
    operator.says("subscribers", "import", operator.writes("readers.csv", text))

    said = " ".join(operator.says("subscribers", "show", "a@x.org").split())
    [consent] = operator.reads("subscribers", "show", "a@x.org")["consents"]

    assert "192.0.2.7" in said
    assert consent["evidence"] == {
        "opted_in_at": "2024-01-02T03:04:05+00:00",
        "opted_in_from": "192.0.2.7",
        "source": "Landing page",
    }


def test_a_pipe_is_read_twice_through_an_unnamed_file(operator: Operator) -> None:
    script = (
        "import os, sys, tempfile; from pathlib import Path; from newsletter.cli import files\n"
        "with files.seekable(Path('-')) as stream:\n"
        "    stream.read(); stream.seek(0); info = os.fstat(stream.fileno())\n"
        "    print(info.st_nlink, oct(info.st_mode & 0o777), stream.read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=b"a@x.org\n", capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == "0 0o600 b'a@x.org\\n'"


def test_no_file_is_made_where_nothing_is_rejected(operator: Operator) -> None:
    operator.says("subscribers", "import", operator.writes("readers.csv", "ann@x.org\n"))

    assert not (operator.folder / "readers.csv.rejected.csv").exists()


def test_a_thousand_rejected_lines_are_counted_and_ten_are_printed(operator: Operator) -> None:
    name = operator.writes("readers.csv", "email\n" + "bad\n" * 1_000)

    result = operator.run("subscribers", "import", name)

    assert "1,000 rejected" in result.stdout
    assert result.stderr.count("Line ") == 10
    assert len((operator.folder / f"{name}.rejected.csv").read_text().splitlines()) == 1_001


def test_the_rejected_lines_never_overwrite_the_imported_file(operator: Operator) -> None:
    name = operator.writes("readers.csv", READERS)

    with pytest.raises(InvalidInput, match="overwrite"):
        operator.run("subscribers", "import", name, "--rejected", f"./{name}")

    assert (operator.folder / name).read_text() == READERS


def test_a_folder_that_cannot_be_written_is_said_with_the_way_out(operator: Operator) -> None:
    name = operator.writes("readers.csv", READERS)

    with pytest.raises(InvalidInput) as raised:
        operator.run("subscribers", "import", name, "--rejected", "nowhere/no.csv")

    assert "--rejected" in str(raised.value.hint)


def test_a_file_that_is_not_there_is_said(operator: Operator) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.csv"):
        operator.run("subscribers", "import", "nowhere.csv")


def test_readers_come_from_standard_input_too(operator: Operator) -> None:
    found = operator.reads("subscribers", "import", "-", typed=b"ann@x.org\nbad\n")

    assert (found["added"], found["rejected"]) == (1, 1)
    assert found["rejected_file"] == "stdin.rejected.csv"


def test_an_export_is_for_its_owner_only_and_reads_back(operator: Operator) -> None:
    operator.says("subscribers", "import", operator.writes("readers.csv", "=ann@x.org\nb@x.org\n"))

    assert operator.reads("subscribers", "export", "out.csv")["exported"] == 2

    file = operator.folder / "out.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "'=ann@x.org" in file.read_text()
    assert operator.says("subscribers", "export") == file.read_text()
    assert operator.reads("subscribers", "import", "out.csv")["unchanged"] == 2
    assert sorted(path.name for path in operator.folder.glob("*.csv*")) == [
        "out.csv",
        "readers.csv",
    ]


# forget, suppression


def test_a_person_is_forgotten_only_on_a_yes(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")

    with pytest.raises(InvalidInput) as raised:
        operator.run("subscribers", "forget", "ann@x.org")
    assert "--yes" in str(raised.value.hint)
    assert operator.reads("subscribers", "list")["total"] == 1

    assert "is forgotten" in operator.says("subscribers", "forget", "ann@x.org", "--yes")
    assert operator.reads("subscribers", "list")["total"] == 0
    for file in operator.folder.iterdir():
        assert b"ann@x.org" not in file.read_bytes()


def test_forgetting_is_one_object_for_scripts(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")

    found = operator.reads("subscribers", "forget", "ann@x.org", "--yes")

    assert found == {"address": "ann@x.org", "subscriber": True, "consents": 1, "deliveries": 0}


def test_a_suppressed_address_is_refused_until_it_is_released(operator: Operator) -> None:
    operator.says("subscribers", "add", "ann@x.org")
    assert operator.reads("suppression", "add", "Ann@X.org")["added"]
    assert "already" in operator.says("suppression", "add", "ann@x.org")

    with pytest.raises(Conflict) as raised:
        operator.run("subscribers", "add", "ann@x.org")
    assert "suppression remove ann@x.org" in str(raised.value.hint)

    assert "add ann@x.org --again" in operator.says("suppression", "remove", "ann@x.org")
    assert "was not suppressed" in operator.says("suppression", "remove", "ann@x.org")
    assert operator.reads("subscribers", "add", "ann@x.org", "--again")["status"] == "active"


def test_suppressions_are_listed_with_their_reasons(operator: Operator) -> None:
    assert "No address" in operator.says("suppression", "list")
    operator.says("suppression", "add", "ann@x.org", "--reason", "complaint")
    operator.says("subscribers", "forget", "bob@x.org", "--yes")

    found = operator.reads("suppression", "list")

    assert found["total"] == 2
    assert [(row["address"], row["reason"]) for row in found["suppressions"]] == [
        ("ann@x.org", "complaint"),
        (None, "forgotten"),
    ]
    assert "1 of 2 are shown" in operator.says("suppression", "list", "--limit", "1")
