"""Suppressions at the desk: the list, the search, and who may end one."""

from __future__ import annotations

import interleave
import pytest
from operator_desk import OperatorDesk
from readers import Readers
from sqlmodel import col, select

from newsletter import suppression
from newsletter.db import session as sessions
from newsletter.models import Audit, Status
from newsletter.subscribers import operating, store, suppress
from newsletter.suppression import Cause, Grounds

ANN = "ann@readers.example"
BOB = "bob@readers.example"


def suppressed(desk: OperatorDesk, address: str, cause: Cause, reason: str = "test") -> int:
    key = desk.settings.keyring()
    with sessions.writing(desk.engine) as session:
        grounds = Grounds(cause, reason, source="a test")
        suppress.suppress(session, address, grounds=grounds, now=desk.now, keyring=key)
        found = suppression.find(session, address, keyring=key)
        assert found is not None
        assert found.id is not None
        return found.id


def status(desk: OperatorDesk, address: str) -> str:
    with sessions.reading(desk.engine) as session:
        found = store.find(session, address)
        assert found is not None
        return found.status


def test_a_list_without_rows_says_so(desk: OperatorDesk) -> None:
    assert "No address is suppressed." in desk.read("/suppressions")
    assert "No address is suppressed for this cause." in desk.read("/suppressions?cause=bounce")


def test_addresses_are_listed_by_cause_with_counts(desk: OperatorDesk) -> None:
    for number in range(55):
        suppressed(desk, f"r{number:02}@readers.example", Cause.BOUNCE)
    suppressed(desk, ANN, Cause.COMPLAINT, "<script>alert(1)</script>\u202e")

    everything = desk.get("/suppressions").text
    bounces = desk.get("/suppressions?cause=bounce").text

    assert ANN in everything
    assert "<script>alert" not in everything
    assert "\u202e" not in everything
    assert "bounce 55 a bounce mail said that nobody is there" in desk.read("/suppressions")
    assert ANN not in bounces
    assert "r54@" in bounces
    assert "r04@" not in bounces
    older = bounces.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    assert "r04@" in desk.read(older.replace("&amp;", "&"))


def test_an_address_is_found_also_by_its_hash_and_is_in_no_url(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN)
    with sessions.writing(desk.engine) as session:
        operating.forget(
            session, ANN, actor="cli:test", now=desk.now, keyring=desk.settings.keyring()
        )
    listed = desk.read("/suppressions")

    answer = desk.post("/suppressions/find", {"address": "Ann@readers.example"}, on="/suppressions")
    page = desk.read(answer.headers["Location"])

    assert ANN not in listed
    assert "an erased person" in listed
    assert answer.status_code == 303
    assert "ann" not in answer.headers["Location"]
    assert "the person was erased" in page
    assert ANN not in page


@pytest.mark.parametrize(("text", "code"), [(BOB, 404), ("bob", 422), ("\x00", 422), ("", 422)])
def test_what_is_not_suppressed_is_not_found(desk: OperatorDesk, text: str, code: int) -> None:
    answer = desk.post("/suppressions/find", {"address": text}, on="/suppressions")

    assert answer.status_code == code
    assert desk.get("/suppressions/12345").status_code == 404
    assert desk.get("/suppressions/0").status_code == 422
    assert desk.get(f"/suppressions/{2**63}").status_code == 422


def test_an_operator_suppresses_an_address_with_its_reader(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN)
    fields = {"address": ANN, "cause": "opt-out", "reason": "wrote us a letter"}

    page = desk.do("/suppressions/add", fields, on="/suppressions/add")
    again = desk.do("/suppressions/add", {**fields, "cause": "bounce"}, on="/suppressions/add")

    assert "The address is suppressed (opt-out)." in page
    assert "wrote us a letter" in page
    assert "The address was suppressed already (opt-out)." in again
    assert status(desk, ANN) == Status.SUPPRESSED
    ((action, subject, detail),) = desk.audited()
    assert (action, detail) == ("suppression.add", "")
    assert subject.startswith("suppression:")


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "x" * 900},
        {"address": "<script>@readers.example"},
        {"address": "x" * 10_000},
        {"cause": "erased"},
        {"cause": "whim"},
        {"reason": "\u202egnol"},
        {"reason": "a\x00b"},
        {"reason": "x" * 501},
    ],
)
def test_what_cannot_be_kept_is_refused(desk: OperatorDesk, changed: dict[str, str]) -> None:
    fields = {"address": ANN, "cause": "operator", "reason": "", **changed}

    answer = desk.post("/suppressions/add", fields, on="/suppressions/add")

    assert answer.status_code == 422
    assert "<script>@" not in answer.text
    assert desk.audited() == []


def test_lifting_gives_readers_back_whom_a_mail_server_had_refused(
    desk: OperatorDesk, readers: Readers
) -> None:
    readers.add(ANN)
    one = suppressed(desk, ANN, Cause.DEAD)

    page = desk.do(f"/suppressions/{one}/lift", {"address": ANN}, on=f"/suppressions/{one}")

    assert "Its reader is active again." in page
    assert status(desk, ANN) == Status.ACTIVE
    assert desk.audited() == [("suppression.remove", f"suppression:{one}", "")]


def test_lifting_a_complaint_is_no_consent(desk: OperatorDesk, readers: Readers) -> None:
    readers.add(ANN)
    one = suppressed(desk, ANN, Cause.COMPLAINT)

    assert "Nothing but this form lifts it." in desk.read(f"/suppressions/{one}")
    page = desk.do(f"/suppressions/{one}/lift", {"address": ANN}, on=f"/suppressions/{one}")

    assert "Nobody reads there until they sign up anew" in page
    assert status(desk, ANN) == Status.UNSUBSCRIBED


def test_a_lift_is_of_the_address_that_was_looked_at(desk: OperatorDesk) -> None:
    one = suppressed(desk, ANN, Cause.OPERATOR)
    suppressed(desk, BOB, Cause.OPERATOR)

    answer = desk.post(f"/suppressions/{one}/lift", {"address": BOB}, on="/suppressions")

    assert answer.status_code == 409
    assert desk.audited() == []


@pytest.mark.parametrize("step", range(7))
def test_of_two_who_lift_one_at_once_one_is_recorded(desk: OperatorDesk, step: int) -> None:
    suppressed(desk, ANN, Cause.OPERATOR)

    def lift() -> bool:
        with sessions.writing(desk.engine) as session:
            return operating.release_address(
                session,
                ANN,
                actor="desk:mia",
                source="desk:mia",
                now=desk.now,
                keyring=desk.settings.keyring(),
            )

    interleave.stopped_before(desk.engine, step, lift, lift)

    with sessions.reading(desk.engine) as session:
        rows = session.exec(select(Audit).where(col(Audit.action) == "suppression.remove")).all()
    assert [(row.subject, row.before, row.after) for row in rows] == [
        ("suppression:1", "operator", "")
    ]
