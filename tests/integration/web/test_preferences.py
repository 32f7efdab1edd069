from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from freezing import meanwhile
from sqlalchemy import update
from visitor import ANN, Visitor

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.models import Subscriber
from newsletter.subscribers import locking, preferences, store, suppress
from newsletter.subscribers.consent import Origin
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Purpose

pytestmark = pytest.mark.mainly_on("sqlite")


@pytest.fixture
def manage(visitor: Visitor) -> str:
    """The link of a weekly reader."""
    visitor.add()
    return visitor.link(Purpose.MANAGE)


def test_a_cadence_is_changed_and_undone(visitor: Visitor, manage: str) -> None:
    page = visitor.get(manage)
    assert page.status_code == 200
    assert ANN not in page.text

    saved = visitor.submit(page, "'action': 'cadence'", cadence="monthly")
    assert saved.status_code == 200
    assert visitor.reader().cadence == "monthly"
    assert "Tuesday 1 December" in saved.text

    undone = visitor.submit(saved)
    assert visitor.reader().cadence == "weekly"
    assert "Monday 23 November" in undone.text
    assert visitor.actions() == ["added", "cadence", "cadence"]
    assert visitor.consents()[-1].source == "preferences page"


def test_a_pause_ends_on_its_day_and_says_what_comes_then(visitor: Visitor, manage: str) -> None:
    saved = visitor.submit(
        visitor.get(manage), "'action': 'pause'", until="other", until_date="2026-12-24"
    )
    assert saved.status_code == 200
    assert visitor.status() == "paused"
    # Midnight in Berlin.
    until = visitor.reader().paused_until
    assert until is not None
    assert until.isoformat() == "2026-12-23T23:00:00+00:00"
    assert "Monday 28 December" in saved.text

    back = visitor.submit(saved)
    assert visitor.status() == "active"
    again = visitor.submit(back)
    assert (again.status_code, visitor.reader().paused_until) == (200, until)
    assert visitor.actions() == ["added", "paused", "resumed", "paused"]


def test_the_offered_pauses_can_be_had(visitor: Visitor, manage: str) -> None:
    assert visitor.submit(visitor.get(manage), "'action': 'pause'").status_code == 200
    until = visitor.reader().paused_until
    assert until is not None
    assert until.isoformat() == "2026-11-28T23:00:00+00:00"
    resumed = visitor.submit(visitor.get(manage), "'action': 'resume'")
    assert (resumed.status_code, visitor.status()) == (200, "active")


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "pause"},
        {"action": "pause", "until": "tomorrow"},
        {"action": "pause", "until": "2026-11-22"},
        {"action": "pause", "until": "2028-01-01"},
        {"action": "pause", "until": "other", "until_date": "20261224x"},
        {"action": "cadence"},
        {"action": "cadence", "cadence": "hourly"},
        {"action": "fly"},
        {},
    ],
    ids=str,
)
def test_an_invalid_choice_is_reported_and_changes_nothing(
    visitor: Visitor, manage: str, fields: dict[str, str]
) -> None:
    assert visitor.post(manage, fields).status_code == 422 or fields.get("action") in {None, "fly"}
    assert visitor.actions() == ["added"]


def test_saving_without_a_change_writes_no_consent(visitor: Visitor, manage: str) -> None:
    for fields in ({"action": "cadence", "cadence": "weekly"}, {"action": "resume"}):
        answer = visitor.post(manage, fields)
        assert answer.status_code == 200
        assert "<form" not in answer.text
    assert visitor.actions() == ["added"]


def test_a_pause_without_an_end_is_shown_and_ended(visitor: Visitor, manage: str) -> None:
    with sessions.writing(visitor.engine) as session:
        reader = session.merge(visitor.reader())
        preferences.pause(session, reader, until=None, origin=Origin("test"), now=visitor.now)
    assert visitor.post(manage, {"action": "cadence", "cadence": "daily"}).status_code == 200
    assert visitor.post(manage, {"action": "pause", "until": "2026-12-01"}).status_code == 200
    assert visitor.post(manage, {"action": "resume"}).status_code == 200
    assert visitor.status() == "active"


def test_a_copy_of_my_data_has_all_of_it(visitor: Visitor, manage: str) -> None:
    visitor.publish()
    visitor.post(manage, {"action": "cadence", "cadence": "daily"})
    assert visitor.submit(visitor.get(manage), "/data").status_code == 200
    page = visitor.get(visitor.path("data"))
    answer = visitor.submit(page)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    data = json.loads(answer.text)
    assert (data["address"], data["cadence"]) == (ANN, "daily")
    assert [row["action"] for row in data["consents"]] == ["added", "cadence"]
    assert data["consents"][1]["remote"] == "192.0.2.7"
    assert [row["state"] for row in data["mails"]] == ["queued", "queued"]


def test_a_pause_during_a_freeze_takes_back_what_the_freeze_made(
    visitor: Visitor, manage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.publish()
    with sessions.writing(visitor.engine) as session:
        session.execute(update(Subscriber).values(watermark=visitor.now))
    visitor.wait(days=7)

    with meanwhile(
        monkeypatch,
        lambda: visitor.post(manage, {"action": "pause", "until": _in_a_week(visitor)}),
    ):
        visitor.publish("Another headline")

    assert visitor.status() == "paused"
    assert visitor.deliveries()[-1].state == "cancelled"


def _in_a_week(visitor: Visitor) -> str:
    return (visitor.now + timedelta(days=7)).date().isoformat()


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_erasing_many_times_at_once_erases_once(visitor: Visitor, manage: str) -> None:
    visitor.post(f"{manage}/erase")
    link = visitor.path("erase")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: visitor.post(link), range(8)))

    assert sorted({answer.status_code for answer in answers}) == [200, 410]
    assert visitor.find() is None


@pytest.mark.mainly_on("sqlite", "postgresql")
def test_a_sign_up_concurrent_with_an_erasure_revives_nobody(visitor: Visitor) -> None:
    for number in range(6):
        address = f"reader{number}@readers.example"
        visitor.add(address)
        erase = visitor.link(Purpose.ERASE, address)
        with ThreadPoolExecutor(2) as pool:
            erased = pool.submit(visitor.post, erase)
            asked = pool.submit(visitor.sign_up, address)
            assert {erased.result().status_code, asked.result().status_code} == {200}
        # A sign-up after the erasure is pending until it is confirmed.
        found = visitor.find(address)
        assert found is None or found.status == "pending"


def test_who_has_left_may_still_have_a_copy_and_be_erased(visitor: Visitor, manage: str) -> None:
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))

    for act in ("data", "erase"):
        assert visitor.post(f"{manage}/{act}").status_code == 200
        assert visitor.post(visitor.path(act)).status_code == 200
    assert visitor.find() is None


def test_who_is_suppressed_gets_no_letter_about_their_data(visitor: Visitor, manage: str) -> None:
    with sessions.writing(visitor.engine) as session:
        grounds = Grounds(Cause.DEAD, "test", "test")
        suppress.suppress(session, ANN, grounds=grounds, now=visitor.now, keyring=visitor.keyring)
    for act in ("data", "erase"):
        assert "You have left already" in visitor.post(f"{manage}/{act}").text
    assert visitor.letters() == []


def test_a_pause_that_is_over_is_not_spoken_of(visitor: Visitor, manage: str) -> None:
    visitor.post(manage, {"action": "pause", "until": "2026-11-24"})
    visitor.wait(days=5)

    saved = visitor.post(manage, {"action": "cadence", "cadence": "monthly"})

    assert "no mail until" not in saved.text
    assert "Paused until" not in visitor.get(manage).text


def test_the_dates_of_a_paused_reader_agree(visitor: Visitor, manage: str) -> None:
    visitor.post(manage, {"action": "pause", "until": "other", "until_date": "2027-10-27"})

    page = visitor.get(manage).text.replace("\u00a0", " ")

    assert "Paused until Wednesday, 27 October 2027." in page
    assert "Monday 23 November" not in page


@pytest.mark.parametrize("act", ["data", "erase"])
def test_a_forwarded_link_gets_nobody_a_copy_and_erases_nobody(
    visitor: Visitor, manage: str, act: str
) -> None:
    """A forwarded mail has the link and, in its footer, the address."""
    for fields in ({}, {"address": ANN}, {"sure": "yes"}, {"address": ANN, "sure": "yes"}):
        answer = visitor.post(f"{manage}/{act}", fields)
        assert answer.status_code == 200
        assert "Please look into your mailbox" in answer.text
        assert ANN not in answer.text
    token = manage.rpartition("/")[2]
    assert visitor.post(f"/{act}/{token}").status_code == 404
    assert visitor.status() == "active"

    # One letter a day, to the reader's own address.
    (letter,) = visitor.letters()
    assert letter["To"] == ANN
    visitor.wait(days=1)
    visitor.post(f"{manage}/{act}")
    assert len(visitor.letters()) == 2


@pytest.mark.parametrize("act", ["data", "erase"])
def test_opening_the_link_of_such_a_letter_does_nothing(
    visitor: Visitor, manage: str, act: str
) -> None:
    visitor.post(f"{manage}/{act}")
    page = visitor.get(visitor.path(act))
    assert page.status_code == 200
    assert ANN not in page.text
    assert "consents" not in page.text
    assert visitor.status() == "active"


def test_erasing_asks_by_mail_and_leaves_nothing(visitor: Visitor, manage: str) -> None:
    visitor.submit(visitor.get(manage), "/erase")
    link = visitor.path("erase")
    gone = visitor.submit(visitor.get(link))
    assert gone.status_code == 200
    assert visitor.find() is None
    assert visitor.post(link).status_code == 410
    assert visitor.get(manage).status_code == 410


def test_an_erased_person_may_subscribe_again_by_confirming(visitor: Visitor, manage: str) -> None:
    visitor.post(f"{manage}/erase")
    visitor.post(visitor.path("erase"))

    visitor.sign_up()
    assert visitor.post(visitor.path("confirm")).status_code == 200

    assert visitor.status() == "active"
    assert visitor.actions() == ["asked", "released", "confirmed"]
    assert visitor.get(manage).status_code == 410


@pytest.mark.parametrize("act", ["data", "erase"])
def test_the_link_of_such_a_letter_expires_and_ends_with_its_consent(
    visitor: Visitor, manage: str, act: str
) -> None:
    visitor.post(f"{manage}/{act}")
    link = visitor.path(act)
    visitor.wait(hours=73)
    for answer in (visitor.get(link), visitor.post(link)):
        assert answer.status_code == 410
        assert "/again" not in answer.text
        assert "ask for a new one on your preferences page" in answer.text
    visitor.post(f"{manage}/{act}")
    link = visitor.path(act)
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))
    visitor.sign_up()
    visitor.post(visitor.path("confirm"))
    assert visitor.post(link).status_code == 410
    assert visitor.status() == "active"


def test_an_unsubscribed_reader_gets_a_page_with_an_undo(visitor: Visitor, manage: str) -> None:
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))
    for answer in (visitor.get(manage), visitor.post(manage, {"action": "resume"})):
        assert answer.status_code == 200
        assert "/undo" in answer.text
    assert visitor.status() == "unsubscribed"
    visitor.submit(answer)
    assert visitor.status() == "active"


def test_an_unconfirmed_reader_has_no_preferences(visitor: Visitor) -> None:
    visitor.sign_up()
    assert visitor.get(visitor.link(Purpose.MANAGE)).status_code == 410
    assert visitor.get(visitor.link(Purpose.UNSUBSCRIBE)).status_code == 410


def test_a_link_works_for_its_own_purpose_alone(visitor: Visitor) -> None:
    visitor.add(cadence=Cadence.DAILY)
    for purpose in (
        Purpose.MANAGE,
        Purpose.UNSUBSCRIBE,
        Purpose.CONFIRM,
        Purpose.VIEW,
        Purpose.ERASE,
        Purpose.DATA,
    ):
        token = visitor.link(purpose).rpartition("/")[2]
        for folder, own in [
            ("preferences", Purpose.MANAGE),
            ("unsubscribe", Purpose.UNSUBSCRIBE),
            ("confirm", Purpose.CONFIRM),
            ("erase", Purpose.ERASE),
            ("data", Purpose.DATA),
        ]:
            if purpose is not own:
                assert visitor.get(f"/{folder}/{token}").status_code == 404
                assert visitor.post(f"/{folder}/{token}").status_code == 404
    assert visitor.actions() == ["added"]


def test_a_rotated_key_keeps_old_links_alive(visitor: Visitor, manage: str) -> None:
    keys = ["another-9876543210fedcba9876543210fedcba", *visitor.settings.secret_keys]
    rotated = Visitor(visitor.engine, visitor.settings.model_copy(update={"secret_keys": keys}))
    assert rotated.get(manage).status_code == 200
    assert rotated.get(rotated.link(Purpose.MANAGE)).status_code == 200
    assert visitor.get(rotated.link(Purpose.MANAGE)).status_code == 404


@pytest.mark.parametrize("is_open", [False, True], ids=["until a day", "until they come back"])
def test_every_page_of_a_paused_reader_says_so(visitor: Visitor, is_open: bool) -> None:
    visitor.sign_up()
    confirm = visitor.path("confirm")
    visitor.post(confirm)
    until = None if is_open else visitor.now + timedelta(days=30)
    with sessions.writing(visitor.engine) as session:
        reader = locking.locked_subscriber(session, store.with_address(ANN), ends=False)
        assert reader is not None
        preferences.pause(session, reader, until=until, origin=Origin("test"), now=visitor.now)
    manage, leave = visitor.link(Purpose.MANAGE), visitor.link(Purpose.UNSUBSCRIBE)
    page = visitor.get(manage)

    said = "until you come back" if is_open else "Tuesday, 22 December 2026"
    pages = [page, visitor.get(leave), visitor.get(confirm), visitor.post(confirm)]
    pages += [
        visitor.submit(page, "'action': 'cadence'", cadence=each) for each in ("weekly", "daily")
    ]
    for each in pages:
        assert said in each.text
        assert "23 November" not in each.text
