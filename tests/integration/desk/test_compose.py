"""Compose: an announcement is written, looked at, tried, and sent as what was looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from operator_desk import OperatorDesk
from readers import Readers
from sqlmodel import select

from newsletter.cadences import Cadence
from newsletter.cli import catcher
from newsletter.db import session as sessions
from newsletter.editions import lifecycle
from newsletter.models import Announcement, Delivery, Edition, Mailing

WORDS = "From **1 January** on, see [the map](https://miasfeed.example/map)."
FIELDS = {"subject": "We move", "text": WORDS, "audience": "weekly"}
HOSTILE = "</textarea><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def add_readers(readers: Readers) -> None:
    for name, cadence in (
        ("ann", Cadence.WEEKLY),
        ("bob", Cadence.WEEKLY),
        ("dora", Cadence.DAILY),
    ):
        readers.add(f"{name}@readers.example", cadence)


def write(desk: OperatorDesk, **changed: str) -> str:
    """Write a draft; return its path."""
    answer = desk.post("/compose/new", {**FIELDS, **changed}, on="/compose/new")
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def key(desk: OperatorDesk, draft: str) -> str:
    return desk.get(f"{draft}/send").text.partition('name="key" value="')[2].partition('"')[0]


def mails(desk: OperatorDesk) -> int:
    with sessions.reading(desk.engine) as session:
        return len(session.exec(select(Delivery.id)).all())


def test_an_empty_page_says_what_to_do(desk: OperatorDesk) -> None:
    page = desk.read("/compose")

    assert "Write an announcement" in page
    assert "No draft waits." in page
    assert "Nothing was announced yet." in page


def test_a_draft_is_written_looked_at_changed_and_sent(
    desk: OperatorDesk, readers: Readers
) -> None:
    add_readers(readers)
    draft = write(desk)

    page, frame = desk.get(draft).text, desk.get(f"{draft}/mail")
    assert WORDS in page.replace("&#39;", "'")
    assert f'src="{draft}/mail"' in page
    assert "sandbox" in frame.headers["Content-Security-Policy"]
    assert "<strong>1 January</strong>" in frame.text
    desk.do(draft, {**FIELDS, "subject": "We move soon"}, on=draft)
    assert "We move soon Weekly readers" in desk.read("/compose")
    asked = desk.read(f"{draft}/send")
    assert "We move soon To Weekly readers Readers 2" in asked
    assert "readers.example 2" in asked
    assert "Send to 2 readers" in asked
    assert mails(desk) == 0

    sent = desk.do(f"{draft}/send", {"key": key(desk, draft)}, on=f"{draft}/send")

    assert "It is made for 2 readers. No worker is running" in sent
    assert "An announcement to weekly, made" in sent
    assert "Queued 2" in sent
    assert mails(desk) == 2
    assert "No draft waits." in desk.read("/compose")
    assert "We move soon open Weekly readers" in desk.read("/compose")
    actions = [action for action, *_ in desk.audited()]
    assert actions == ["announce.write", "announce.change", "announce.send"]


def test_a_second_press_of_send_makes_no_second_announcement(
    desk: OperatorDesk, readers: Readers
) -> None:
    add_readers(readers)
    draft = write(desk)
    fields = {"key": key(desk, draft)}

    answers = [desk.post(f"{draft}/send", fields) for _ in range(2)]

    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert mails(desk) == 2
    assert desk.get(draft).headers["Location"] == answers[0].headers["Location"]
    assert desk.get(f"{draft}/send").status_code == 409
    assert desk.post(draft, FIELDS).status_code == 409


def test_what_was_changed_since_it_was_looked_at_is_not_sent(
    desk: OperatorDesk, readers: Readers
) -> None:
    add_readers(readers)
    draft = write(desk)
    seen = key(desk, draft)
    desk.do(draft, {**FIELDS, "text": "Other words."})

    for given in (seen, "", "ü"):
        answer = desk.post(f"{draft}/send", {"key": given})
        assert answer.status_code in {409, 422}

    assert mails(desk) == 0


def test_what_was_sent_before_and_what_nobody_would_get_is_said(
    desk: OperatorDesk, readers: Readers
) -> None:
    nobody = write(desk)
    assert "Nobody would get it." in desk.read(f"{nobody}/send")
    assert desk.post(f"{nobody}/send", {"key": key(desk, write(desk))}).status_code in {409, 422}
    add_readers(readers)
    first, second = write(desk), write(desk)
    desk.do(f"{first}/send", {"key": key(desk, first)})

    asked = desk.read(f"{second}/send")

    assert "The same text went to the same readers before: extra-" in asked
    assert "Send to" not in asked
    assert mails(desk) == 2


def test_an_unfinished_draft_is_kept_and_says_what_is_missing(desk: OperatorDesk) -> None:
    draft = write(desk, subject="", text="No heading.")

    page = desk.get(draft)

    assert "The announcement has no subject." in page.text
    assert "Go on to send it" not in page.text
    assert desk.get(f"{draft}/send").status_code == 422
    assert desk.get(f"{draft}/mail").status_code == 422


@pytest.mark.parametrize(
    "changed",
    [
        {"audience": "everyone"},
        {"audience": "x" * 41},
        {"audience": HOSTILE},
        {"text": "a\x00b"},
        {"text": "\u202egnol"},
        {"text": "x" * 40_001},
        {"subject": "x" * 1_001},
    ],
)
def test_what_cannot_be_kept_is_refused_and_stays_in_the_form(
    desk: OperatorDesk, changed: dict[str, str]
) -> None:
    answer = desk.post("/compose/new", {**FIELDS, **changed}, on="/compose/new")

    assert answer.status_code == 422
    assert "<script>" not in answer.text
    assert desk.audited() == []
    with sessions.reading(desk.engine) as session:
        assert session.exec(select(Announcement)).all() == []


def test_markup_in_a_draft_is_inert_on_every_page(desk: OperatorDesk, readers: Readers) -> None:
    add_readers(readers)
    draft = write(desk, subject=HOSTILE, text=HOSTILE)
    paths = ["/compose", draft, f"{draft}/mail", f"{draft}/send", f"{draft}/discard"]

    pages = [desk.get(path) for path in paths]
    sent = desk.post(f"{draft}/send", {"key": key(desk, draft)}).headers["Location"]
    pages += [desk.get(sent), desk.get("/compose"), desk.get("/audit")]

    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


def test_a_test_mail_goes_to_oneself_alone_and_is_in_no_books(
    desk: OperatorDesk, readers: Readers, tmp_path: Path
) -> None:
    add_readers(readers)
    with catcher.running(tmp_path / "mails") as running:
        url = f"smtp://127.0.0.1:{running.port}"
        chosen = desk.settings.model_copy(update={"smtp_url": [url]})
        tried = OperatorDesk(desk.engine, chosen).sign_in()
        draft = write(tried)

        page = tried.do(f"{draft}/test", {"address": "mia@localhost"}, on=draft)
        wrong = tried.post(f"{draft}/test", {"address": "mia"}, on=draft)

    assert "Sent to mia@localhost alone" in page
    assert wrong.status_code == 422
    (mail,) = (tmp_path / "mails").glob("*.eml")
    assert b"Subject: We move" in mail.read_bytes()
    assert mails(desk) == 0
    with sessions.reading(desk.engine) as session:
        assert session.exec(select(Edition.id)).all() == []
        assert session.exec(select(Mailing.id)).all() == []


def test_a_draft_is_discarded_after_a_question(desk: OperatorDesk) -> None:
    draft = write(desk)

    assert "Discard this draft?" in desk.read(f"{draft}/discard")
    assert "The draft is discarded." in desk.do(f"{draft}/discard", on=f"{draft}/discard")

    assert desk.get(draft).status_code == 404
    assert [action for action, *_ in desk.audited()] == ["announce.write", "announce.discard"]


def test_it_is_paused_resumed_cancelled_and_answered_at_its_page(
    desk: OperatorDesk, readers: Readers
) -> None:
    add_readers(readers)
    draft = write(desk, audience="all")
    edition = desk.post(f"{draft}/send", {"key": key(desk, draft)}).headers["Location"]

    assert "paused" in desk.do(f"{edition}/pause", on=edition)
    assert "goes on" in desk.do(f"{edition}/resume", on=edition)
    asked = desk.read(f"{edition}/cancel")
    cancelled = desk.do(f"{edition}/cancel", {"reason": "wrong"}, on=f"{edition}/cancel")

    assert "3 readers will not get it." in asked
    assert "next edition" not in asked
    assert "is cancelled: 0 readers had it, 3 will not get it." in cancelled
    name = edition.rpartition("/")[2]
    assert f"Those who got {name}" in desk.read(f"/compose/new?to={name}")
    assert desk.get("/compose/new?to=everyone").status_code == 422
    assert lifecycle.finish(desk.engine, now=desk.now) == []
