"""A change of address: requested, confirmed from the new mailbox, disclosing nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import event
from sqlmodel import select
from visitor import ANN, Visitor

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.models import AddressChange, Delivery, Status
from newsletter.subscribers import changes, forget, suppress
from newsletter.suppression import Cause, Grounds
from newsletter.tokens import Purpose

pytestmark = pytest.mark.mainly_on("sqlite")

NEW = "ann@new.example"
BOB = "bob@readers.example"
KINDS = ("free", "reader", "paused", "pending", "left", "suppressed", "erased", "same")


def ask(visitor: Visitor, address: str = NEW, *, of: str = ANN) -> object:
    page = visitor.get(visitor.link(Purpose.MANAGE, of))
    return visitor.submit(page, "'address': ", address=address)


def link(visitor: Visitor, address: str = NEW) -> str:
    return visitor.path("new-address", address)


def suppressed(visitor: Visitor, address: str, cause: Cause = Cause.COMPLAINT) -> None:
    with sessions.writing(visitor.engine) as session:
        grounds = Grounds(cause, "words", "test")
        suppress.suppress(
            session, address, grounds=grounds, now=visitor.now, keyring=visitor.keyring
        )


def forgotten(visitor: Visitor, address: str) -> None:
    with sessions.writing(visitor.engine) as session:
        forget.forget(session, address, now=visitor.now, keyring=visitor.keyring)


def make(visitor: Visitor, kind: str) -> str:
    """Make a new address of a kind."""
    address = f"{kind}@other.example"
    if kind in {"reader", "paused", "left", "erased"}:
        visitor.add(address)
    if kind == "paused":
        page = visitor.get(visitor.link(Purpose.MANAGE, address))
        visitor.submit(page, "'action': 'pause'")
    if kind == "left":
        visitor.post(visitor.link(Purpose.UNSUBSCRIBE, address))
    if kind == "pending":
        visitor.sign_up(address)
    if kind == "suppressed":
        suppressed(visitor, address)
    if kind == "erased":
        forgotten(visitor, address)
    visitor.wait(days=2)
    return ANN if kind == "same" else address


def test_a_reader_moves_by_a_letter_to_the_new_address_and_a_note_to_the_old_one(
    visitor: Visitor,
) -> None:
    before = visitor.add(cadence=Cadence.DAILY)
    manage = visitor.link(Purpose.MANAGE)
    assert ask(visitor).status_code == 200  # type: ignore[attr-defined]

    (letter,), (note,) = visitor.letters(NEW), visitor.letters(ANN)
    assert letter["Subject"] == "Please confirm your new address for Mia's Feed"
    assert letter["List-Unsubscribe"] is None
    assert note["Subject"] == "A change of your address for Mia's Feed was asked for"
    assert NEW not in note.as_string()
    assert ANN not in letter.as_string()
    opened = visitor.get(link(visitor))
    assert opened.status_code == 200
    assert visitor.reader().address == ANN

    changed = visitor.submit(opened)
    assert changed.status_code == 200
    assert "a…@new.example" in changed.text
    assert visitor.find(ANN) is None
    after = visitor.reader(NEW)
    assert (after.public_id, after.cadence, after.generation, after.status) == (
        before.public_id,
        "daily",
        1,
        "active",
    )
    assert visitor.actions(NEW) == ["added", "address"]
    assert visitor.consents(NEW)[-1].remote == "192.0.2.7"
    assert "ann@" not in visitor.consents(NEW)[-1].model_dump_json()
    assert visitor.get(manage).status_code == 200


def test_the_link_used_twice_shows_the_same_page_and_changes_nothing(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    first, again = visitor.post(path), visitor.post(path)

    assert first.content == again.content == visitor.get(path).content
    assert visitor.actions(NEW) == ["added", "address"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_response_does_not_depend_on_who_has_the_new_address(
    visitor: Visitor, kind: str
) -> None:
    """The bytes of the response and of the preferences page after it, without the address."""
    pages = []
    for each in ("free", kind):
        reader = f"asker-{len(pages)}@readers.example"
        target = make(visitor, each)
        visitor.add(reader)
        wanted = reader if each == "same" else target
        answer = ask(visitor, wanted, of=reader)
        after = visitor.get(visitor.link(Purpose.MANAGE, reader))
        shown = wanted[0] + "…@" + wanted.partition("@")[2]
        tokens = [
            visitor.link(purpose, reader) for purpose in (Purpose.MANAGE, Purpose.UNSUBSCRIBE)
        ]
        texts = [answer.text, after.text]  # type: ignore[attr-defined]
        for token in tokens:
            texts = [text.replace(token, "") for text in texts]
        pages.append([text.replace(shown, "MASKED") for text in texts])
        assert len(visitor.letters(reader)) >= 1
        visitor.wait(seconds=-2 * 86_400)

    assert pages[0][0] == pages[1][0]
    assert pages[0][1].count("MASKED") == 1
    if kind != "same":
        assert pages[0][1] == pages[1][1]


def test_the_statements_do_not_depend_on_who_has_the_new_address(visitor: Visitor) -> None:
    counted = {}
    targets = {
        kind: make(visitor, kind)
        for kind in ("free", "reader", "pending", "left", "suppressed", "erased")
    }
    # The first of each letter is compiled, also the first with the end of a pause.
    for address in ("first@readers.example", "second@readers.example"):
        visitor.add(address)
    ask(visitor, "warm@other.example", of="first@readers.example")
    ask(visitor, "second@readers.example", of="first@readers.example")
    for kind, target in targets.items():
        reader = f"{kind}@readers.example"
        visitor.add(reader)
        visitor.get(visitor.link(Purpose.MANAGE, reader))
        counted[kind] = _statements(visitor, lambda r=reader, t=target: ask(visitor, t, of=r))
    assert len(set(counted.values())) == 1, counted


def _statements(visitor: Visitor, act: Callable[[], object]) -> int:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(visitor.engine, "before_cursor_execute", note)
    act()
    event.remove(visitor.engine, "before_cursor_execute", note)
    return len(seen)


@pytest.mark.parametrize("kind", ["reader", "paused"])
def test_two_readers_are_never_merged_and_the_other_one_gets_a_letter(
    visitor: Visitor, kind: str
) -> None:
    other = make(visitor, kind)
    visitor.add()
    ask(visitor, other)

    subjects = [letter["Subject"] for letter in visitor.letters(other)]
    assert subjects == ["You are subscribed to Mia's Feed already"]
    assert visitor.reader().address == ANN
    assert visitor.reader(other).public_id != visitor.reader().public_id


def test_a_new_address_that_subscribes_meanwhile_is_not_merged(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    visitor.add(NEW)

    for answer in (visitor.get(path), visitor.post(path)):
        assert answer.status_code == 409
        assert "never made one" in answer.text
    assert (visitor.status(ANN), visitor.status(NEW)) == ("active", "active")


@pytest.mark.parametrize("kind", ["suppressed", "erased"])
def test_an_address_that_must_not_be_mailed_gets_no_letter(visitor: Visitor, kind: str) -> None:
    other = make(visitor, kind)
    visitor.add()
    ask(visitor, other)
    assert visitor.letters(other) == []


def test_a_suppression_is_checked_again_when_the_link_is_used(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    suppressed(visitor, NEW)

    answer = visitor.post(path)
    assert answer.status_code == 409
    assert "must not write" in answer.text
    assert visitor.reader().address == ANN
    assert visitor.find(NEW) is None


@pytest.mark.parametrize("kind", ["pending", "left"])
def test_an_address_without_a_reader_is_free(visitor: Visitor, kind: str) -> None:
    other = make(visitor, kind)
    visitor.add()
    public_id = visitor.reader().public_id
    ask(visitor, other)
    assert visitor.post(link(visitor, other)).status_code == 200
    assert visitor.reader(other).public_id == public_id
    assert visitor.find(ANN) is None


def test_digests_for_the_old_address_are_cancelled_and_sent_to_the_new_one(
    visitor: Visitor,
) -> None:
    visitor.add()
    visitor.wait(days=1)
    visitor.publish("First")
    ask(visitor)
    visitor.post(link(visitor))

    states = [(row.state, row.reason) for row in visitor.deliveries(ANN)]
    # The digest is cancelled; the two notices are not.
    assert states == [("cancelled", "address changed"), ("queued", None), ("queued", None)]
    visitor.wait(days=7)
    visitor.publish("Second")
    digest = visitor.letters(NEW)[-1]
    text = digest.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "First" in text
    assert "Second" in text


def test_a_change_by_a_forwarded_mail_is_always_notified(visitor: Visitor) -> None:
    """The day's notice was about another request; the change itself has a notice of its own."""
    visitor.add()
    manage = visitor.link(Purpose.MANAGE)
    ask(visitor, "decoy@new.example")
    ask(visitor, "eve@stranger.example")
    visitor.post(link(visitor, "eve@stranger.example"))

    *_, last = visitor.letters(ANN)
    assert last["Subject"] == "Your address for Mia's Feed has changed"
    assert "eve@" not in last.as_string()
    # The reader's own link still works, and can change the address back.
    visitor.wait(days=1)
    page = visitor.get(manage)
    assert "e…@stranger.example" in page.text
    visitor.submit(page, "'address': ", address=ANN)
    assert visitor.post(link(visitor, ANN)).status_code == 200
    assert visitor.reader().cadence == "weekly"


def test_a_pause_goes_on_at_the_new_address_and_every_page_says_so(visitor: Visitor) -> None:
    visitor.add()
    visitor.submit(visitor.get(visitor.link(Purpose.MANAGE)), "'action': 'pause'")
    until = visitor.reader().paused_until
    ask(visitor)
    changed = visitor.post(link(visitor))

    assert "Paused until" in changed.text
    assert (visitor.status(NEW), visitor.reader(NEW).paused_until) == (Status.PAUSED, until)


def test_an_unsubscribe_cancels_a_requested_change(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    visitor.post(visitor.link(Purpose.UNSUBSCRIBE))
    for answer in (visitor.get(path), visitor.post(path)):
        assert answer.status_code == 410
    assert visitor.find(NEW) is None


def test_a_reader_cancels_a_change_by_the_link_in_the_notice(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    page = visitor.get(visitor.path("preferences", ANN))
    assert "a…@new.example" in page.text
    called_off = visitor.submit(page, "call_off")
    assert "a…@new.example" not in called_off.text
    assert visitor.post(path).status_code == 410
    assert visitor.reader().address == ANN


def test_a_link_works_for_72_hours_and_leaves_nothing_behind(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    visitor.wait(hours=73)
    expired = visitor.get(path)
    assert expired.status_code == visitor.post(path).status_code == 410
    assert "/again" not in expired.text

    with sessions.writing(visitor.engine) as session:
        assert changes.prune(session, now=visitor.now) == 1
    with sessions.reading(visitor.engine) as session:
        assert session.exec(select(AddressChange)).all() == []
        assert session.exec(select(Delivery).where(Delivery.address == NEW)).all() == []


def test_a_link_of_one_purpose_changes_nothing_of_another(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    token = link(visitor).rpartition("/")[2]
    for folder in ("confirm", "preferences", "unsubscribe"):
        assert visitor.get(f"/{folder}/{token}").status_code == 404
    manage = visitor.link(Purpose.MANAGE).rpartition("/")[2]
    assert visitor.post(f"/new-address/{manage}").status_code == 404


def test_no_mailbox_gets_more_than_a_letter_a_day(visitor: Visitor) -> None:
    for number in range(4):
        visitor.add(f"reader{number}@readers.example")
        ask(visitor, f"victim+{number}@new.example", of=f"reader{number}@readers.example")
    victims = [f"victim+{number}@new.example" for number in range(4)]
    assert sum(len(visitor.letters(victim)) for victim in victims) == 1

    ask(visitor, "other@new.example", of="reader0@readers.example")
    assert len(visitor.letters("reader0@readers.example")) == 1


def test_one_reader_may_ask_five_times_a_day(visitor: Visitor) -> None:
    visitor.add()
    answers = [ask(visitor, f"a{number}@new.example") for number in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2  # type: ignore[attr-defined]


def test_asking_again_keeps_the_link_that_was_sent(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    ask(visitor)
    assert len(visitor.letters(NEW)) == 1
    assert visitor.post(path).status_code == 200


@pytest.mark.parametrize("text", ["", "ann", "a b@x.org", '"><script>@x.org', "a" * 2_000])
def test_an_invalid_address_is_reported_beside_the_field(visitor: Visitor, text: str) -> None:
    visitor.add()
    page = ask(visitor, text)
    assert page.status_code == 422  # type: ignore[attr-defined]
    assert "new-address-problem" in page.text  # type: ignore[attr-defined]
    assert "<script>" not in page.text  # type: ignore[attr-defined]
    assert visitor.letters(ANN) == []


@pytest.mark.parametrize("who", [ANN, NEW])
def test_erasing_either_address_forgets_the_change(visitor: Visitor, who: str) -> None:
    visitor.add()
    ask(visitor)
    path = link(visitor)
    forgotten(visitor, who)

    assert visitor.post(path).status_code == 410
    with sessions.reading(visitor.engine) as session:
        assert session.exec(select(AddressChange)).all() == []
        assert session.exec(select(Delivery).where(Delivery.address == NEW)).all() == []


def test_erasing_after_a_change_leaves_neither_address(visitor: Visitor) -> None:
    visitor.add()
    visitor.publish()
    ask(visitor)
    visitor.post(link(visitor))
    forgotten(visitor, NEW)
    with sessions.reading(visitor.engine) as session:
        rows = session.exec(select(Delivery)).all()
    assert {row.address for row in rows} == {""}


def test_two_readers_who_exchange_addresses_do_not_deadlock(visitor: Visitor) -> None:
    visitor.add()
    visitor.add("bob@readers.example")
    ask(visitor, "bob@readers.example")
    ask(visitor, ANN, of="bob@readers.example")
    assert visitor.reader().public_id != visitor.reader("bob@readers.example").public_id


@pytest.mark.mainly_on("sqlite", "postgresql")
@pytest.mark.parametrize("is_pending", [False, True])
def test_of_two_concurrent_confirmations_of_one_address_one_succeeds(
    visitor: Visitor, is_pending: bool
) -> None:
    """The pending subscriber of the address is deleted while the other transaction waits for it."""
    visitor.add()
    visitor.add(BOB)
    links = []
    for reader in (ANN, BOB):
        ask(visitor, of=reader)
        links.append(link(visitor))
        visitor.wait(days=1, minutes=1)
    if is_pending:
        visitor.sign_up(NEW)
    start = Barrier(4)

    def press(path: str) -> int:
        start.wait()
        return int(visitor.post(path).status_code)

    with ThreadPoolExecutor(4) as pressed:
        answers = sorted(pressed.map(press, links * 2))
    assert answers == [200, 200, 409, 409]
    assert len([one for one in (ANN, BOB) if visitor.find(one) is None]) == 1


@pytest.mark.parametrize("act", ["data", "erase"])
def test_a_link_sent_to_the_old_address_is_void_after_a_change(visitor: Visitor, act: str) -> None:
    visitor.add()
    visitor.post(f"{visitor.link(Purpose.MANAGE)}/{act}")
    old = visitor.path(act)
    ask(visitor)
    visitor.wait(minutes=5)
    visitor.post(link(visitor))

    for answer in (visitor.get(old), visitor.post(old)):
        assert answer.status_code == 410
        assert "The mail goes to another address since this link was sent." in answer.text
        assert NEW not in answer.text
    assert visitor.status(NEW) == "active"

    visitor.wait(days=1)
    visitor.post(f"{visitor.link(Purpose.MANAGE, NEW)}/{act}")
    assert visitor.post(visitor.path(act, NEW)).status_code == 200


def test_the_last_mail_to_the_old_address_does_not_say_that_more_comes(visitor: Visitor) -> None:
    visitor.add()
    ask(visitor)
    visitor.post(link(visitor))
    *_, last = visitor.letters()
    text = last.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "This is the last mail to this one." in " ".join(text.split())
    assert "You get this" not in last.as_string()
