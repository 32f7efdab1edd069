"""Readers at the desk: lists, search, a reader's page, and every change of one."""

from __future__ import annotations

import pytest
from operator_desk import OperatorDesk
from readers import Readers
from sqlmodel import col, select

from newsletter import suppression
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.models import Audit, Delivery, Mailing, Status, Subscriber
from newsletter.subscribers import store, suppress
from newsletter.suppression import Cause, Grounds

ANN = "ann@readers.example"
BOB = "bob@readers.example"
#: Texts that must neither act nor break a page, wherever they are typed.
HOSTILE = [
    "<script>alert(1)</script>@readers.example",
    "\u202eelpmaxe.sredaer@nna",
    "a\x00b@readers.example",
    "x" * 10_000,
    "x" * 900,
    "'; DROP TABLE subscriber; --",
    "\U0001f600" * 50,
    "",
]


def public_id(desk: OperatorDesk, address: str) -> str:
    with sessions.reading(desk.engine) as session:
        found = store.find(session, address)
        assert found is not None
        return found.public_id


def status(desk: OperatorDesk, address: str) -> tuple[str, str] | None:
    with sessions.reading(desk.engine) as session:
        found = store.find(session, address)
        return (found.cadence, found.status) if found else None


def test_a_desk_without_readers_says_what_to_do_next(desk: OperatorDesk) -> None:
    assert "There are no readers yet. Paste the box into your site" in desk.read("/readers")


def test_readers_are_listed_the_newest_first_by_pages(desk: OperatorDesk, readers: Readers) -> None:
    for number in range(60):
        readers.add(f"r{number:02}@readers.example")

    first = desk.get("/readers").text

    assert "r59@" in first
    assert "r10@" in first
    assert "r09@" not in first
    older = first.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    second = desk.read(older)
    assert "r09@" in second
    assert "r10@" not in second


def test_a_list_is_of_one_cadence_and_status(desk: OperatorDesk, readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY)
    readers.add(BOB, Cadence.WEEKLY)
    readers.add("eve@readers.example", Cadence.DAILY, status=Status.PAUSED)

    daily = desk.read("/readers?cadence=daily&status=")
    paused = desk.read("/readers?cadence=&status=paused")
    both = desk.read("/readers?cadence=daily&status=active")

    assert ANN in daily
    assert "eve@" in daily
    assert BOB not in daily
    assert "eve@" in paused
    assert ANN not in paused
    assert ANN in both
    assert "eve@" not in both
    assert "There are no such readers." in desk.read("/readers?cadence=monthly&status=")
    assert desk.get("/readers?cadence=hourly").status_code == 422


def test_a_filtered_list_is_cut_into_pages(desk: OperatorDesk, readers: Readers) -> None:
    for number in range(60):
        cadence = Cadence.DAILY if number % 2 else Cadence.MONTHLY
        readers.add(f"r{number:02}@readers.example", cadence)

    first = desk.get("/readers?status=active").text

    assert "r59@" in first
    assert "r58@" in first
    assert "r09@" not in first
    assert "/readers?status=active&amp;before=" in first


def test_an_address_is_found_in_any_spelling_and_is_in_no_url(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN)

    answer = desk.post("/readers/find", {"address": "  ANN@Readers.Example "}, on="/readers")

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/readers/{public_id(desk, ANN)}"


def test_what_is_known_about_an_address_without_a_reader_is_shown(desk: OperatorDesk) -> None:
    key = desk.settings.keyring()
    with sessions.writing(desk.engine) as session:
        grounds = Grounds(Cause.COMPLAINT, "spam button", source="a hook")
        suppress.suppress(session, BOB, grounds=grounds, now=desk.now, keyring=key)

    known = desk.post("/readers/find", {"address": BOB}, on="/readers")
    unknown = desk.post("/readers/find", {"address": ANN}, on="/readers")

    assert known.status_code == unknown.status_code == 200
    assert "is suppressed since" in known.text
    assert f"Nothing is known about {ANN}." in unknown.text


@pytest.mark.parametrize("path", ["/readers/find", "/readers/add"])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_is_no_address_is_refused_in_words(
    desk: OperatorDesk, path: str, text: str
) -> None:
    fields = {"address": text, "cadence": "weekly", "agreed": "true"}

    answer = desk.post(path, fields, on="/readers")

    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert desk.audited() == []


def test_the_page_of_a_reader_explains_them(desk: OperatorDesk, readers: Readers) -> None:
    readers.add(ANN, Cadence.DAILY)

    page = desk.read(f"/readers/{public_id(desk, ANN)}")

    assert f"{ANN} is daily, active since 2026-11-22 10:00." in page
    assert "Next: the daily edition of Monday 23 November 2026, 07:00." in page
    assert "added, daily; by: box on https://miasfeed.example from 192.0.2.7" in page


def test_hostile_words_of_a_consent_are_shown_and_do_nothing(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.origin = readers.origin.__class__("<img src=x onerror=alert(1)>", "\u202eevil`<b>`")
    readers.add(ANN)

    page = desk.get(f"/readers/{public_id(desk, ANN)}").text

    assert "<img" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert "\\u202eevil" in page


def test_a_reader_who_is_not_there_is_not_found(desk: OperatorDesk) -> None:
    assert desk.get("/readers/AAAAAAAAAAAAAAAA").status_code == 404
    assert desk.get("/readers/a.b").status_code in {404, 422}
    answer = desk.post("/readers/AAAAAAAAAAAAAAAA/unsubscribe", on="/readers")
    assert answer.status_code == 404


def test_a_reader_is_added_on_the_operators_word(desk: OperatorDesk) -> None:
    fields = {"address": "Ann@Readers.example", "cadence": "daily", "agreed": "true"}

    page = desk.do("/readers/add", fields, on="/readers/add")

    assert "The reader is added: daily, active." in page
    assert "by: desk:mia; words: The operator says that this reader has asked" in page
    one = f"reader:{public_id(desk, ANN)}"
    assert desk.audited() == [("subscribers.add", one, "")]


def test_nobody_is_added_without_having_asked(desk: OperatorDesk) -> None:
    answer = desk.post("/readers/add", {"address": ANN, "cadence": "daily"}, on="/readers/add")

    assert answer.status_code == 422
    assert "Without their consent, nobody may be added." in answer.text
    assert f'value="{ANN}"' in answer.text
    assert status(desk, ANN) is None


def test_who_has_left_is_added_only_if_they_asked_anew(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN, status=Status.UNSUBSCRIBED)
    fields = {"address": ANN, "cadence": "weekly", "agreed": "true"}

    refused = desk.post("/readers/add", fields, on="/readers/add")
    page = desk.do("/readers/add", {**fields, "again": "true"}, on="/readers/add")

    assert refused.status_code == 409
    assert "The reader is back: weekly, active." in page


def test_each_change_is_made_and_audited_with_before_and_after(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN, Cadence.WEEKLY)
    here = f"/readers/{public_id(desk, ANN)}"

    assert "The reader is daily." in desk.do(f"{here}/cadence", {"cadence": "daily"})
    assert "The reader is paused" in desk.do(f"{here}/pause", {"until": "2026-12-24"})
    assert "until 2026-12-24 00:00" in desk.read(here)
    assert "The pause is over." in desk.do(f"{here}/resume")
    assert "The reader is unsubscribed." in desk.do(f"{here}/unsubscribe")
    assert "The reader got no mail already." in desk.do(f"{here}/unsubscribe")

    with sessions.reading(desk.engine) as session:
        rows = session.exec(select(Audit).where(col(Audit.action).like("subscribers.%"))).all()
        made = [(row.action.partition(".")[2], row.before, row.after) for row in rows]
        assert {(row.actor, row.subject) for row in rows} == {
            ("desk:mia", f"reader:{here.rpartition('/')[2]}")
        }
    until = "daily, paused until 2026-12-23 23:00 UTC"
    assert made == [
        ("change", "weekly, active", "daily, active"),
        ("pause", "daily, active", until),
        ("resume", until, "daily, active"),
        ("unsubscribe", "daily, active", "daily, unsubscribed"),
    ]


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "0001-01-01", "9999-12-31", "\x00"])
def test_a_day_that_cannot_end_a_pause_is_refused(
    desk: OperatorDesk, readers: Readers, text: str
) -> None:
    readers.add(ANN)
    here = f"/readers/{public_id(desk, ANN)}"

    assert desk.post(f"{here}/pause", {"until": text}, on=here).status_code == 422
    assert status(desk, ANN) == ("weekly", "active")


def test_a_new_address_is_only_asked_for(desk: OperatorDesk, readers: Readers) -> None:
    readers.add(ANN)
    here = f"/readers/{public_id(desk, ANN)}"

    page = desk.do(f"{here}/address", {"address": "ann@new.example"}, on=here)
    again = desk.post(f"{here}/address", {"address": "ann@new.example"}, on=here)

    assert "A letter asks the owner of the new address" in page
    assert "A change of address to ann@new.example waits to be confirmed there" in page
    assert again.status_code == 409
    assert status(desk, ANN) == ("weekly", "active")
    assert [action for action, _, _ in desk.audited()] == ["subscribers.ask-address"]
    with sessions.reading(desk.engine) as session:
        sent = session.exec(
            select(Mailing.kind, Delivery.address).join(
                Delivery, col(Delivery.mailing_id) == Mailing.id
            )
        ).all()
    assert sorted(sent) == [("new_address", "ann@new.example"), ("old_address", ANN)]


def test_an_erased_reader_leaves_no_address_anywhere(desk: OperatorDesk, readers: Readers) -> None:
    readers.add(ANN)
    here = f"/readers/{public_id(desk, ANN)}"
    desk.do(f"{here}/cadence", {"cadence": "daily"})

    asked = desk.read(f"{here}/forget")
    page = desk.do(f"{here}/forget", on=f"{here}/forget")

    assert "This cannot be undone." in asked
    assert "The reader is forgotten: 2 consents erased" in page
    assert status(desk, ANN) is None
    assert desk.get(here).status_code == 404
    assert desk.audited()[-1][0] == "subscribers.forget"
    with sessions.reading(desk.engine) as session:
        rows = session.exec(select(Audit)).all()
        assert not any("readers.example" in repr(row) for row in rows)
        assert session.exec(select(Subscriber)).all() == []
        assert suppression.is_suppressed(session, ANN, keyring=desk.settings.keyring())


def test_a_suppressed_reader_can_be_forgotten_and_nothing_else(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN)
    here = f"/readers/{public_id(desk, ANN)}"
    with sessions.writing(desk.engine) as session:
        grounds = Grounds(Cause.OPERATOR, "asked", source="test")
        suppress.suppress(
            session, ANN, grounds=grounds, now=desk.now, keyring=desk.settings.keyring()
        )

    page = desk.get(here).text

    assert f"{here}/forget" in page
    assert f"{here}/cadence" not in page
    assert desk.post(f"{here}/cadence", {"cadence": "daily"}, on=here).status_code == 409
