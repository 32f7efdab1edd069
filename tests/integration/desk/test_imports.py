"""Importing a file at the desk: the look at it, the import, its refusals; and the export."""

from __future__ import annotations

import io
import re
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from httpx2 import Response
from operator_desk import OperatorDesk, text
from readers import Readers
from sqlmodel import select

from newsletter import paths, suppression
from newsletter.db import session as sessions
from newsletter.desk import importing
from newsletter.desk.importing import Importing
from newsletter.desk.uploads import Stage, Upload, Uploads
from newsletter.models import Audit, Consent, Status
from newsletter.subscribers import store, suppress
from newsletter.suppression import Cause, Grounds

ANN = "ann@readers.example"
FILE = b"""email,status,cadence
ann@readers.example,active,daily
bob@readers.example,unsubscribed,
not an address,active,
eve@readers.example,active,
ann@readers.example,active,daily
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def sent(desk: OperatorDesk, content: bytes, name: str = "readers.csv") -> Response:
    return desk.post("/readers/import", on="/readers/import", files={"file": (name, content)})


def uploaded(desk: OperatorDesk, content: bytes, name: str = "readers.csv") -> str:
    """Upload a file; return the path of its page, when it has been looked at."""
    answer = sent(desk, content, name)
    assert answer.status_code == 303, text(answer.text)
    finished()
    return answer.headers["Location"]


def finished() -> None:
    for thread in threading.enumerate():
        if thread.name == "upload":
            thread.join(60)


def decided(desk: OperatorDesk, page: str, do: str, **fields: str) -> str:
    answer = desk.post(page, {"do": do, "cadence": "weekly", **fields}, on=page)
    assert answer.status_code == 303, text(answer.text)
    finished()
    return desk.read(page)


def status(desk: OperatorDesk, address: str) -> str | None:
    with sessions.reading(desk.engine) as session:
        found = store.find(session, address)
        return found.status if found else None


def readers_in(desk: OperatorDesk) -> int:
    with sessions.reading(desk.engine) as session:
        return sum(store.counts(session).values())


def test_a_file_is_looked_at_before_anything_is_written(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add("eve@readers.example")

    page = desk.read(uploaded(desk, FILE))

    assert "Nothing is imported yet." in page
    assert "Add as active 1 Add as unsubscribed 1 There already 1" in page
    assert "Repeated lines 1 Refused lines 1" in page
    assert "2 ann@readers.example daily active" in page
    assert "5 eve@readers.example weekly is there already" in page
    assert "email address" in page
    assert status(desk, ANN) is None
    assert desk.audited() == []


def test_a_file_is_imported_with_its_refusals_to_download(desk: OperatorDesk) -> None:
    here = uploaded(desk, FILE)

    page = decided(desk, here, "import")
    refused = desk.get(f"{here}/refused.csv")

    assert "Lines 5 Added 3 Changed 0 As they were 1 Suppressed 0 Refused 1" in page
    assert status(desk, ANN) == Status.ACTIVE
    assert status(desk, "bob@readers.example") == Status.UNSUBSCRIBED
    assert refused.headers["Content-Disposition"] == 'attachment; filename="refused.csv"'
    assert refused.headers["Cache-Control"] == "no-store"
    assert "not an address,active," in refused.text
    with sessions.reading(desk.engine) as session:
        assert {row.source for row in session.exec(select(Consent))} == {"import readers.csv"}
        rows = session.exec(select(Audit)).all()
        assert [(row.actor, row.action, row.detail) for row in rows if "import" in row.action] == [
            ("desk:mia", "subscribers.import", "readers.csv"),
            ("desk:mia", "subscribers.imported", "readers.csv"),
        ]
        assert rows[-1].after == "5 read, 3 added, 1 unchanged, 1 rejected"
        assert not any("readers.example" in repr(row) for row in rows)


def test_a_file_is_imported_once(desk: OperatorDesk) -> None:
    here = uploaded(desk, FILE)
    decided(desk, here, "import")

    assert desk.post(here, {"do": "import"}, on="/audit").status_code == 409
    again = decided(desk, uploaded(desk, FILE), "import")
    assert "Added 0" in again
    assert readers_in(desk) == 3


def test_who_is_vouched_for_is_active(desk: OperatorDesk) -> None:
    here = uploaded(desk, b"email\nann@readers.example\n")
    assert "Add as pending 1" in desk.read(here)

    first = decided(desk, here, "import", confirmed="true", cadence="monthly")
    second = decided(desk, here, "import", confirmed="true", cadence="monthly")

    assert "The choices are new" in first or "Add as active 1" in first
    assert "The file is imported." in second
    assert status(desk, ANN) == Status.ACTIVE


def test_a_state_that_nobody_knows_stops_an_import_until_somebody_says_what_it_is(
    desk: OperatorDesk,
) -> None:
    here = uploaded(desk, b"email,newsletter_abo_status\nann@readers.example,schlummernd\n")

    page = desk.get(here).text
    refused = desk.post(here, {"do": "import"}, on=here)
    looked = decided(desk, here, "look", **{"as-1": "-"})
    done = decided(desk, here, "import", **{"as-1": "-"})

    assert "schlummernd" in page
    assert 'name="as-1"' in page
    assert 'value="import"' not in page
    assert refused.status_code == 409
    assert "Add as pending 1" in looked
    assert "The file is imported." in done


def test_two_columns_cannot_be_one_field(desk: OperatorDesk) -> None:
    here = uploaded(desk, b"email,a,b\nann@readers.example,no,yes\n")

    answer = desk.post(here, {"do": "look", "as-1": "bounced", "as-2": "bounced"}, on=here)

    assert answer.status_code == 422
    assert "Two columns cannot both be read as bounced." in text(answer.text)


def test_suppressed_addresses_are_not_added(desk: OperatorDesk) -> None:
    key = desk.settings.keyring()
    with sessions.writing(desk.engine) as session:
        grounds = Grounds(Cause.COMPLAINT, "spam", source="a test")
        suppress.suppress(session, ANN, grounds=grounds, now=desk.now, keyring=key)

    here = uploaded(desk, FILE)
    page = desk.read(here)
    decided(desk, here, "import")

    assert "Add as active 1 Add as unsubscribed 1 There already 0 Suppressed 1" in page
    assert status(desk, ANN) is None
    with sessions.reading(desk.engine) as session:
        assert suppression.is_suppressed(session, ANN, keyring=key)


def test_an_interrupted_import_is_started_again(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = uploaded(desk, FILE)
    with monkeypatch.context() as patched:
        # What a desk leaves behind that is stopped in the midst of an import.
        patched.setattr(Importing, "_import", lambda *_: None)
        decided(desk, here, "import")

    restarted = OperatorDesk(desk.engine, desk.settings).sign_in()
    page = restarted.read(here)
    done = decided(restarted, here, "import")

    assert "It was interrupted, as the desk was stopped." in page
    assert "Added 3" in done


def test_hostile_files_are_shown_and_do_nothing(desk: OperatorDesk) -> None:
    content = (
        "email,<script>alert(1)</script>,\u202eeman\n"
        '"<img src=x onerror=alert(1)>@readers.example",x,y\n'
        f"{'x' * 10_000}@readers.example,x,y\n"
        "a\x00b@readers.example,x,y\n"
        '"=cmd|calc",x,y\n'
        "\u202eann@readers.example,x,y\n"
    ).encode()

    here = uploaded(desk, content, "../../<script>alert(2)</script>\u202e.csv")
    html = desk.get(here).text
    listed = desk.get("/readers/import").text
    decided(desk, here, "import")
    refused = desk.get(f"{here}/refused.csv").text

    for page in (html, listed):
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\u202e" not in page
        assert len(page) < 60_000
    assert "Refused lines" in html
    assert not re.search(r'(^|,)"?=cmd', refused, re.MULTILINE)


@pytest.mark.parametrize(
    "content",
    [b"\x00\xff\xfe\x00" * 50, b"PK\x03\x04" + bytes(200), b"a,b\n1,2\n", b"\n\n"],
    ids=["octets", "zip", "numbers", "blank"],
)
def test_what_is_no_file_is_said_to_be_none(desk: OperatorDesk, content: bytes) -> None:
    here = uploaded(desk, content)

    page = desk.read(here)

    assert readers_in(desk) == 0
    assert "Look again Discard the file" in page


def test_an_upload_without_a_file_is_refused(desk: OperatorDesk) -> None:
    assert sent(desk, b"").status_code == 422
    assert desk.post("/readers/import", on="/readers/import").status_code == 422
    assert desk.get("/readers/imports/AAAAAAAAAAAAAAAA").status_code == 404
    assert desk.get("/readers/imports/../../etc").status_code == 404
    assert desk.get("/readers/imports/AAAAAAAAAAAAAAAA/refused.csv").status_code == 404


def test_files_are_kept_for_a_day_and_for_their_owner_alone(desk: OperatorDesk) -> None:
    here = uploaded(desk, FILE)
    folder = paths.state_folder()
    (kept,) = folder.rglob("readers.csv")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700

    desk.wait(hours=25)
    desk.sign_in()
    uploaded(desk, FILE)

    assert desk.get(here).status_code == 404
    assert len(list(folder.rglob("readers.csv"))) == 1


def test_a_file_goes_when_its_day_is_over_though_nobody_opens_the_desk(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "KEPT", timedelta(seconds=0.01))

    uploaded(desk, FILE)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer) and thread.interval < 1:
            thread.join(60)

    assert list(paths.state_folder().rglob("readers.csv")) == []


def test_what_a_crash_has_left_of_an_upload_goes_with_the_others(desk: OperatorDesk) -> None:
    uploads = Uploads(desk.settings)
    left = uploads._folder() / ("a" * 16)
    left.mkdir()
    (left / "readers.csv").write_bytes(FILE)
    kept = datetime.fromtimestamp(left.stat().st_mtime, UTC)

    uploads.prune(kept + timedelta(hours=23))
    assert left.exists()
    uploads.prune(kept + timedelta(hours=25))
    assert not left.exists()


def test_nothing_is_left_of_an_upload_that_fails(desk: OperatorDesk) -> None:
    class Torn(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is full")

    uploads = Uploads(desk.settings)
    with pytest.raises(OSError, match="disk is full"):
        uploads.add(Torn(), name="readers.csv", by="desk:mia", now=desk.now)

    assert list(uploads._folder().iterdir()) == []


def test_a_file_that_is_being_read_is_not_discarded(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    here = uploaded(desk, FILE)
    original = Importing._look

    def slowly(self: Importing, upload: Upload) -> None:
        begun.set()
        assert goes_on.wait(60)
        original(self, upload)

    monkeypatch.setattr(importing, "_PATIENCE", 0)
    monkeypatch.setattr(Importing, "_look", slowly)
    desk.post(here, {"do": "look", "cadence": "daily"}, on=here)
    assert begun.wait(60)

    refusal = desk.post(f"{here}/discard", on=here)
    goes_on.set()
    finished()

    assert refusal.status_code == 409
    assert desk.get(here).status_code == 200


def test_an_imported_file_is_deleted_and_a_discarded_one_too(desk: OperatorDesk) -> None:
    done, discarded = uploaded(desk, FILE), uploaded(desk, FILE)

    decided(desk, done, "import")
    page = desk.do(f"{discarded}/discard", on=discarded)

    assert "The file is deleted." in page
    assert list(paths.state_folder().rglob("readers.csv")) == []
    assert desk.get(discarded).status_code == 404


def test_no_more_files_are_kept_than_a_few(desk: OperatorDesk) -> None:
    for _ in range(8):
        uploaded(desk, FILE)

    assert sent(desk, FILE).status_code == 409
    uploads = Uploads(desk.settings).all()
    assert {one.stage for one in uploads} == {Stage.LOOKED}


def test_readers_are_exported_as_the_command_does(desk: OperatorDesk, readers: Readers) -> None:
    readers.add(ANN)
    readers.add("+1@readers.example", status=Status.PAUSED)

    everybody = desk.post("/readers/export", {"status": "", "cadence": ""}, on="/readers/export")
    paused = desk.post("/readers/export", {"status": "paused"}, on="/readers/export")

    assert everybody.status_code == 200
    assert everybody.headers["Content-Type"] == "text/csv; charset=utf-8"
    name = 'attachment; filename="readers-2026-11-22.csv"'
    assert everybody.headers["Content-Disposition"] == name
    assert "\nann@readers.example,weekly,active," in everybody.text
    assert "\n'+1@readers.example," in everybody.text
    assert ANN not in paused.text
    assert [one for one in desk.audited() if one[0] == "subscribers.export"] == [
        ("subscribers.export", "readers", "all readers"),
        ("subscribers.export", "readers", "paused"),
    ]
    assert desk.post("/readers/export", {"status": "x"}, on="/readers/export").status_code == 422
