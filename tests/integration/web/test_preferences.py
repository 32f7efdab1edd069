from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from freezing import meanwhile
from sqlalchemy import update
from visitor import ANN, Visitor

from newsletter.cadence import Cadence
from newsletter.db import session as sessions
from newsletter.models import Subscriber
from newsletter.subscribers import preferences
from newsletter.subscribers.consent import Origin
from newsletter.tokens import Purpose


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
def test_what_cannot_be_had_is_said_and_changes_nothing(
    visitor: Visitor, manage: str, fields: dict[str, str]
) -> None:
    assert visitor.post(manage, fields).status_code == 422 or fields.get("action") in {None, "fly"}
    assert visitor.actions() == ["added"]


def test_saving_what_is_so_already_says_so_and_writes_no_consent(
    visitor: Visitor, manage: str
) -> None:
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
    answer = visitor.submit(visitor.get(manage), "/data", address=f" {ANN.upper()} ")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    data = json.loads(answer.text)
    assert (data["address"], data["cadence"]) == (ANN, "daily")
    assert [row["action"] for row in data["consents"]] == ["added", "cadence"]
    assert data["consents"][1]["remote"] == "192.0.2.7"
    assert [row["state"] for row in data["mails"]] == ["queued"]


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


def test_erasing_many_times_at_once_erases_once(visitor: Visitor, manage: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: visitor.post(f"{manage}/erase", {"sure": "yes"}), range(8))
        )

    assert sorted({answer.status_code for answer in answers}) == [200, 410]
    assert visitor.find() is None


def test_a_sign_up_beside_an_erasure_brings_nobody_back(visitor: Visitor) -> None:
    for number in range(6):
        address = f"reader{number}@readers.example"
        visitor.add(address)
        erase = f"{visitor.link(Purpose.MANAGE, address)}/erase"
        with ThreadPoolExecutor(2) as pool:
            erased = pool.submit(visitor.post, erase, {"sure": "yes"})
            asked = pool.submit(visitor.sign_up, address)
            assert {erased.result().status_code, asked.result().status_code} == {200}
        assert visitor.find(address) is None
        assert [one for one in visitor.letters(address) if one["To"]] == []


def test_who_has_left_is_not_shown_as_a_reader_for_a_wrong_address(
    visitor: Visitor, manage: str
) -> None:
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))

    for path, fields in (("data", {"address": "x@y.example"}), ("erase", {})):
        answer = visitor.post(f"{manage}/{path}", fields)
        assert answer.status_code == 200
        assert "You have left already" in answer.text


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


def test_a_forwarded_link_gives_nobody_a_copy_who_does_not_know_the_address(
    visitor: Visitor, manage: str
) -> None:
    for wrong in ("", "bob@readers.example", "no address", "a\0b", "x" * 3_000):
        refused = visitor.submit(visitor.get(manage), "/data", address=wrong)
        assert refused.status_code == 422
        assert "This subscription has another address." in refused.text
        assert ANN not in refused.text
    for _ in range(5):
        visitor.post(f"{manage}/data", {"address": "guess@readers.example"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda n: visitor.post(f"{manage}/data", {"address": f"g{n}@readers.example"}),
                range(20),
            )
        )
    assert {answer.status_code for answer in answers} == {429}

    # Whoever guesses on has to wait, and learns nothing even if they are right.
    assert visitor.post(f"{manage}/data", {"address": ANN}).status_code == 429
    visitor.wait(hours=1)
    assert visitor.post(f"{manage}/data", {"address": ANN}).status_code == 200


def test_erasing_asks_once_and_leaves_nothing(visitor: Visitor, manage: str) -> None:
    asked = visitor.post(f"{manage}/erase")
    assert asked.status_code == 422
    assert visitor.status() == "active"

    gone = visitor.submit(asked, "/erase", sure="yes")
    assert gone.status_code == 200
    assert visitor.find() is None
    visitor.sign_up()
    assert visitor.find() is None


def test_who_has_left_is_told_so_and_may_come_back(visitor: Visitor, manage: str) -> None:
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
    for purpose in (Purpose.MANAGE, Purpose.UNSUBSCRIBE, Purpose.CONFIRM, Purpose.VIEW):
        token = visitor.link(purpose).rpartition("/")[2]
        for folder, own in [
            ("preferences", Purpose.MANAGE),
            ("unsubscribe", Purpose.UNSUBSCRIBE),
            ("confirm", Purpose.CONFIRM),
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
