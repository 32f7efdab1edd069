from __future__ import annotations

from typing import Any

import counts
import pytest
from sqlalchemy import update
from visitor import ANN, NOW, Make, Visitor

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.models import Subscriber
from newsletter.subscribers import preferences, suppress
from newsletter.subscribers.consent import Origin
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Purpose

pytestmark = pytest.mark.mainly_on("sqlite")

STRANGER = "66.6.6.6"
FORM = "application/x-www-form-urlencoded"
#: The requests of RFC 8058 8.1 to 8.3 (the boundary of 8.3 is wrong there, too), the one of
#: Gmail's page for senders, and one without a body.
ONE_CLICK = {
    "RFC 8058 8.1": ({"Content-Type": FORM}, b"List-Unsubscribe=One-Click"),
    "RFC 8058 8.2": (
        {"Content-Type": FORM, "Host": "example.com"},
        b"List-Unsubscribe=One-Click\r\n",
    ),
    "RFC 8058 8.3": (
        {"Content-Type": "multipart/form-data; boundary=---FormBoundaryjWmhtjORrn"},
        (
            b"---FormBoundaryjWmhtjORrn\r\n"
            b'Content-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n'
            b"One-Click\r\n---FormBoundaryjWmhtjORrn--"
        ),
    ),
    "Gmail": (
        {"Content-Type": FORM, "Host": "solarmora.com", "User-Agent": "Google-Gmail"},
        b"List-Unsubscribe=One-Click",
    ),
    "empty": ({}, b""),
}


@pytest.mark.parametrize("name", ONE_CLICK)
def test_a_one_click_request_acts_at_once_and_the_next_send_skips_the_reader(
    visitor: Visitor, name: str
) -> None:
    headers, body = ONE_CLICK[name]
    visitor.add()
    visitor.add("bob@readers.example")
    visitor.publish()
    link = visitor.link(Purpose.UNSUBSCRIBE)

    first = visitor.client.post(link, headers=headers, content=body)
    again = visitor.client.post(link, headers=headers, content=body)

    for answer in (first, again):
        assert answer.status_code == 200
        assert "location" not in answer.headers
        assert "set-cookie" not in answer.headers
    assert visitor.status() == "unsubscribed"
    assert visitor.actions() == ["added", "unsubscribed"]
    assert visitor.consents()[-1].remote == "192.0.2.7"
    assert [(row.state, row.reason) for row in visitor.deliveries()] == [
        ("cancelled", "unsubscribed")
    ]
    assert [row.state for row in visitor.deliveries("bob@readers.example")] == ["queued"]

    visitor.wait(days=7)
    visitor.publish("Another headline")
    assert len(visitor.deliveries()) == 1
    assert len(visitor.deliveries("bob@readers.example")) == 2


BODIES: list[tuple[dict[str, str], bytes]] = [
    ({"Content-Type": "multipart/form-data"}, b"no boundary"),
    ({"Content-Type": "application/json"}, b"{"),
    ({"Content-Type": "\xff"}, b"\xff\x00"),
    ({"Content-Type": FORM}, b"%" * 100_000),
    ({"Content-Type": FORM, "Cookie": "session=1"}, b"List-Unsubscribe=Never"),
]


@pytest.mark.parametrize(("headers", "body"), BODIES, ids=range(len(BODIES)))
def test_a_one_click_request_takes_effect_with_any_body(
    visit: Make, headers: dict[str, Any], body: bytes
) -> None:
    visitor = visit()
    visitor.add()
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = visitor.client.post(visitor.link(Purpose.UNSUBSCRIBE), headers=encoded, content=body)
    assert answer.status_code == 200
    assert visitor.status() == "unsubscribed"


def test_opening_the_link_changes_nothing_and_offers_alternatives(visitor: Visitor) -> None:
    visitor.add(cadence=Cadence.DAILY)
    page = visitor.get(visitor.link(Purpose.UNSUBSCRIBE))
    assert page.status_code == 200
    assert "a…@readers.example" in page.text
    assert ANN not in page.text
    assert visitor.status() == "active"

    saved = visitor.submit(page, "'action': 'cadence'")
    assert saved.status_code == 200
    assert (visitor.status(), visitor.reader().cadence) == ("active", "weekly")


def test_a_pause_is_offered_on_the_way_out(visitor: Visitor) -> None:
    visitor.add()
    page = visitor.get(visitor.link(Purpose.UNSUBSCRIBE))
    assert visitor.submit(page, "'action': 'pause'").status_code == 200
    assert visitor.status() == "paused"
    until = visitor.reader().paused_until
    assert until is not None
    assert until.isoformat() == "2026-12-21T23:00:00+00:00"


def test_one_link_unsubscribes_undoes_it_and_unsubscribes_again(visitor: Visitor) -> None:
    visitor.add()
    link = visitor.link(Purpose.UNSUBSCRIBE)
    goodbye = visitor.submit(visitor.get(link), "/unsubscribe/")
    assert visitor.status() == "unsubscribed"

    back = visitor.submit(goodbye, "/undo")
    assert back.status_code == 200
    assert "Monday 23 November" in back.text
    assert visitor.status() == "active"

    assert visitor.post(link).status_code == 200
    assert visitor.status() == "unsubscribed"
    assert visitor.actions() == ["added", "unsubscribed", "returned", "unsubscribed"]


def test_an_undo_comes_too_late_after_a_day(visitor: Visitor) -> None:
    visitor.add()
    link = visitor.link(Purpose.UNSUBSCRIBE)
    visitor.post(link)
    visitor.wait(hours=25)
    page = visitor.get(link)
    assert page.status_code == 200
    assert "/undo" not in page.text
    assert visitor.post(f"{link}/undo").status_code == 410
    assert visitor.status() == "unsubscribed"


def test_a_link_of_an_earlier_consent_ends_no_newer_one(visitor: Visitor) -> None:
    visitor.add()
    old = visitor.link(Purpose.UNSUBSCRIBE)
    visitor.post(old)
    visitor.sign_up()
    visitor.post(visitor.path("confirm"))
    assert (visitor.status(), visitor.reader().generation) == ("active", 2)

    assert visitor.get(old).status_code == 410
    assert visitor.post(old).status_code == 200
    assert visitor.post(f"{old}/undo").status_code == 410
    assert visitor.status() == "active"
    assert visitor.get(visitor.link(Purpose.MANAGE, generation=1)).status_code == 410


def test_the_link_of_an_erased_reader_still_gets_a_page(visitor: Visitor) -> None:
    visitor.add()
    link, manage = visitor.link(Purpose.UNSUBSCRIBE), visitor.link(Purpose.MANAGE)
    visitor.post(visitor.link(Purpose.ERASE))
    assert visitor.post(link).status_code == visitor.get(link).status_code == 200
    assert visitor.post(f"{link}/undo").status_code == 410
    assert visitor.get(manage).status_code == 410
    assert visitor.find() is None


def test_who_is_suppressed_cannot_undo_it(visitor: Visitor) -> None:
    from newsletter.db import session as sessions
    from newsletter.subscribers import suppress
    from newsletter.suppression import Cause, Grounds

    visitor.add()
    link = visitor.link(Purpose.UNSUBSCRIBE)
    with sessions.writing(visitor.engine) as session:
        grounds = Grounds(Cause.COMPLAINT, "complaint", "test")
        suppress.suppress(session, ANN, grounds=grounds, now=NOW, keyring=visitor.keyring)
    assert "/undo" not in visitor.get(link).text
    assert "/undo" not in visitor.post(link).text
    assert visitor.status() == "suppressed"


def test_a_goodbye_letter_is_written_where_it_is_wanted_once_a_day(visit: Make) -> None:
    visitor = visit(goodbye_letter=True)
    visitor.add()
    link = visitor.link(Purpose.UNSUBSCRIBE)
    for _ in range(3):
        visitor.post(link)
        visitor.post(f"{link}/undo")
    visitor.post(link)

    # An undo does not cancel the letter; a second unsubscribe does not queue another one.
    kinds = [row.state for row in visitor.deliveries()]
    assert len(kinds) == 1

    visitor.wait(hours=24)
    visitor.post(f"{link}/undo")
    visitor.post(link)
    (letter,) = visitor.letters()
    assert "unsubscribed" in letter["Subject"]
    assert letter["List-Unsubscribe"] is None
    assert visitor.get(visitor.path("unsubscribe")).status_code == 200


def test_an_undo_brings_back_what_they_had_chosen_themselves(visit: Make) -> None:
    """And not the cadence of a later sign-up by somebody else."""
    visitor = visit(trusted_proxies=["192.0.2.7"])
    visitor.add(cadence=Cadence.MONTHLY)
    link = visitor.link(Purpose.UNSUBSCRIBE)
    visitor.post(link)
    visitor.sign_up(cadence="daily", headers={"X-Forwarded-For": STRANGER})

    visitor.post(f"{link}/undo")

    assert (visitor.status(), visitor.reader().cadence) == ("active", "monthly")


@pytest.mark.parametrize("until", ["2027-03-01", None])
def test_an_undo_brings_back_a_pause(visitor: Visitor, until: str | None) -> None:
    visitor.add()
    manage, link = visitor.link(Purpose.MANAGE), visitor.link(Purpose.UNSUBSCRIBE)
    if until:
        visitor.post(manage, {"action": "pause", "until": "other", "until_date": until})
    else:
        with sessions.writing(visitor.engine) as session:
            reader = session.merge(visitor.reader())
            preferences.pause(session, reader, until=None, origin=Origin("test"), now=visitor.now)
    visitor.post(link)

    answer = visitor.post(f"{link}/undo")

    assert visitor.status() == "paused"
    assert ("Monday, 1 March 2027" in answer.text.replace("\u00a0", " ")) is bool(until)


def test_an_operators_release_does_not_revive_an_old_link(visitor: Visitor) -> None:
    visitor.add()
    link = visitor.link(Purpose.UNSUBSCRIBE)
    visitor.post(link)
    keyring, now = visitor.keyring, visitor.now
    with sessions.writing(visitor.engine) as session:
        grounds = Grounds(Cause.COMPLAINT, "complaint", "test")
        suppress.suppress(session, ANN, grounds=grounds, now=now, keyring=keyring)
        session.execute(update(Subscriber).values(status="suppressed"))
        counts.recount(session)
        suppress.release(session, ANN, origin=Origin("test"), now=now, keyring=keyring)

    assert visitor.post(f"{link}/undo").status_code == 410
    assert visitor.status() == "unsubscribed"


def test_only_a_reader_who_has_returned_gets_the_page_that_says_so(visitor: Visitor) -> None:
    told = "You have subscribed again"
    visitor.add()
    manage, link = visitor.link(Purpose.MANAGE), visitor.link(Purpose.UNSUBSCRIBE)
    visitor.post(link)
    visitor.wait(days=2)
    assert told not in visitor.post(f"{link}/undo").text
    visitor.sign_up()
    visitor.post(visitor.path("confirm"))
    assert told in visitor.get(link).text
    assert told in visitor.post(link).text
    visitor.post(visitor.link(Purpose.ERASE))
    for path in (manage, link):
        assert told not in visitor.get(path).text
