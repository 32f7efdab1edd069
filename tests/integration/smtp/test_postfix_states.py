"""Replies of a real Postfix, and the resulting states of deliveries."""

from __future__ import annotations

import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import ledgers
import pytest
import relays
from journey import free_port
from sqlalchemy import ColumnElement, Engine, literal, null, select, union_all, update
from sqlmodel import col

from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.ledger import queue
from newsletter.models import Delivery, Pace, Suppression
from newsletter.sender import worker

# Only one Postfix runs at a time.
pytestmark = pytest.mark.xdist_group("postfix")

GOOD = "reader@good.example"
GREYLISTED = "reader@greylist.example"
FULL = "reader@full.example"
NEARLY_FULL = "reader@nearly-full.example"
NOBODY = "reader@nobody.example"
HURRIED = ("one@limit.example", "two@limit.example", "three@limit.example")


@dataclass
class Policy:
    """A policy service (Postfix policy delegation protocol), asked at every RCPT."""

    port: int = 0
    #: Answers by domain, in order; the last one is repeated.
    answers: dict[str, Sequence[str]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def answer(self, recipient: str) -> str:
        answers = self.answers.get(recipient.rpartition("@")[2], ["DUNNO"])
        self.asked[recipient] += 1
        return answers[min(self.asked[recipient], len(answers)) - 1]


@contextmanager
def deciding() -> Iterator[Policy]:
    """Run a policy service on a free port of 127.0.0.1."""
    policy = Policy()

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            recipient = ""
            for line in self.rfile:
                name, _, value = line.decode().rstrip("\n").partition("=")
                if name == "recipient":
                    recipient = value
                elif not name:
                    self.wfile.write(f"action={policy.answer(recipient)}\n\n".encode())

    class Service(socketserver.ThreadingTCPServer):
        daemon_threads = True
        # Postfix reuses its connections.
        block_on_close = False

    with Service(("127.0.0.1", 0), Conversation) as service:
        policy.port = service.server_address[1]
        threading.Thread(target=service.serve_forever, daemon=True).start()
        try:
            yield policy
        finally:
            service.shutdown()


class Relay(NamedTuple):
    """A Postfix and its policy service."""

    port: int
    policy: Policy


@pytest.fixture(scope="module")
def one_relay() -> Iterator[Relay]:
    """A Postfix of this module that asks the policy service and discards accepted mail."""
    port = free_port()
    with deciding() as policy:
        parameters = (
            "default_transport = discard:\n"
            f"smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy.port}\n"
        )
        with relays.postfix({port: ""}, parameters=parameters):
            yield Relay(port, policy)


@pytest.fixture
def relay(one_relay: Relay) -> Relay:
    """It, with these destinations behind it."""
    one_relay.policy.asked.clear()
    one_relay.policy.answers = {
        "greylist.example": ["DEFER_IF_PERMIT Greylisted, come back in five minutes", "DUNNO"],
        "full.example": ["552 5.2.2 mailbox over quota"],
        "nearly-full.example": ["452 4.2.2 mailbox over quota"],
        "nobody.example": ["550 5.1.1 no such user"],
        "limit.example": ["450 4.7.28 unusual rate of mail from your address"],
    }
    return one_relay


def enqueue(engine: Engine, addresses: Sequence[str], *, number: int = 1) -> None:
    """Queue one more mailing to some readers."""
    mailing_id = ledgers.add_mailing(engine, public_id=f"mailing{number:09}")
    since_at = col(Delivery.since_at).type
    recipients = union_all(
        *(
            select(
                literal(address).label("address"),
                literal(address.replace("@", "-")[:16]).label("reference"),
                literal(1).label("generation"),
                null().cast(since_at).label("since_at"),
            )
            for address in addresses
        )
    ).subquery()
    with sessions.writing(engine) as session:
        made = queue.enqueue(
            session,
            mailing_id=mailing_id,
            recipients=select(*recipients.c),
            priority=2,
            now=ledgers.NOW,
        )
    assert made == len(addresses)


def make_due(engine: Engine, *which: ColumnElement[bool]) -> None:
    """Make some deliveries due."""
    with sessions.writing(engine) as session:
        session.execute(update(Delivery).where(*which).values(due_at=ledgers.NOW))


def rows(engine: Engine) -> dict[str, Delivery]:
    """Return the last delivery to each reader."""
    with sessions.reading(engine) as session:
        found = session.execute(select(Delivery).order_by(col(Delivery.id))).scalars().all()
        session.expunge_all()
    return {each.address: each for each in found}


def suppressed(engine: Engine) -> dict[str | None, str]:
    with sessions.reading(engine) as session:
        found = session.execute(select(Suppression.address, Suppression.reason))  # type: ignore[call-overload]
        return {row.address: row.reason for row in found}


def pause_of(engine: Engine, domain: str) -> datetime | None:
    with sessions.reading(engine) as session:
        pace = session.get(Pace, domain)
        return pace.paused_until if pace else None


def test_each_reader_is_left_where_the_reply_says(engine: Engine, relay: Relay) -> None:
    enqueue(engine, [GOOD, GREYLISTED, FULL, NEARLY_FULL, NOBODY])

    began_at = utc_now()
    worker.run(engine, ledgers.plan(relay.port, connections=2))

    found = rows(engine)
    assert {address: (each.state, each.code, each.enhanced) for address, each in found.items()} == {
        GOOD: ("accepted", 250, "2.0.0"),
        GREYLISTED: ("deferred", 450, "4.7.1"),
        FULL: ("refused", 552, "5.2.2"),
        NEARLY_FULL: ("deferred", 452, "4.2.2"),
        NOBODY: ("refused", 550, "5.1.1"),
    }
    assert "queued as " in (found[GOOD].reply or "")
    assert [each.attempts for each in found.values()] == [1] * 5
    for address in (GREYLISTED, NEARLY_FULL):
        assert found[address].due_at >= began_at + ledgers.WAITS[0]
    (dead,) = suppressed(engine).items()
    assert dead[0] == NOBODY
    assert dead[1].startswith("550 5.1.1 ")
    # Replies about one reader do not limit the domain.
    assert [pause_of(engine, address.partition("@")[2]) for address in found] == [None] * 5


def test_who_was_greylisted_is_accepted_when_the_mail_comes_back(
    engine: Engine, relay: Relay
) -> None:
    enqueue(engine, [GREYLISTED, NEARLY_FULL])
    worker.run(engine, ledgers.plan(relay.port))
    worker.run(engine, ledgers.plan(relay.port))
    assert relay.policy.asked == {GREYLISTED: 1, NEARLY_FULL: 1}

    make_due(engine)
    worker.run(engine, ledgers.plan(relay.port))

    assert relay.policy.asked == {GREYLISTED: 2, NEARLY_FULL: 2}
    found = rows(engine)
    assert (found[GREYLISTED].state, found[GREYLISTED].attempts) == ("accepted", 2)
    assert (found[NEARLY_FULL].state, found[NEARLY_FULL].attempts) == ("deferred", 2)
    assert suppressed(engine) == {}


def test_a_full_mailbox_is_given_up_after_three_mails_and_gets_no_fourth(
    engine: Engine, relay: Relay
) -> None:
    for number in (1, 2, 3):
        assert suppressed(engine) == {}
        enqueue(engine, [GOOD, FULL], number=number)
        worker.run(engine, ledgers.plan(relay.port))

    assert list(suppressed(engine)) == [FULL]
    assert suppressed(engine)[FULL].startswith("3 mails in a row: 552 5.2.2 ")

    enqueue(engine, [GOOD, FULL], number=4)
    worker.run(engine, ledgers.plan(relay.port))

    assert relay.policy.asked == {GOOD: 4, FULL: 3}
    assert (rows(engine)[FULL].state, rows(engine)[FULL].reason) == ("skipped", "suppressed")
    assert ledgers.states(engine) == {"accepted": 4, "refused": 3, "skipped": 1}


def test_a_full_mailbox_is_never_given_up_where_the_setting_is_0(
    sqlite_engine: Engine, relay: Relay
) -> None:
    usual = ledgers.plan(relay.port)
    patient = replace(usual, suppression=usual.suppression._replace(full_mailboxes=0))
    for number in range(1, 5):
        enqueue(sqlite_engine, [FULL], number=number)
        worker.run(sqlite_engine, patient)

    assert ledgers.states(sqlite_engine) == {"refused": 4}
    assert suppressed(sqlite_engine) == {}


def test_a_domain_that_has_had_enough_is_left_alone_and_nobody_is_charged(
    engine: Engine, relay: Relay
) -> None:
    told: list[str] = []
    enqueue(engine, [*HURRIED, GOOD])
    plan = ledgers.plan(relay.port, connections=1)

    worker.run(engine, plan, on_trouble=lambda sentence, _: told.append(sentence))

    # One reply pauses the whole domain.
    assert relay.policy.asked == {HURRIED[0]: 1, GOOD: 1}
    assert ledgers.states(engine) == {"queued": 3, "accepted": 1}
    assert {each.attempts for address, each in rows(engine).items() if address != GOOD} == {0}
    (sentence,) = told
    assert sentence.startswith("limit.example has had enough of us: 450 ")
    paused_until = pause_of(engine, "limit.example")
    assert paused_until is not None
    assert paused_until > utc_now()

    # Although due, they wait until the pause ends.
    make_due(engine, col(Delivery.state) == "queued")
    worker.run(engine, plan)
    assert relay.policy.asked == {HURRIED[0]: 1, GOOD: 1}
    waiting = [each for address, each in rows(engine).items() if address != GOOD]
    assert {(each.state, each.blocked_domain) for each in waiting} == {("queued", "limit.example")}

    relay.policy.answers = {}
    with sessions.writing(engine) as session:
        ended = {"paused_until": ledgers.NOW, "next_at": ledgers.NOW}
        session.execute(update(Pace).where(col(Pace.key) == "limit.example").values(ended))
    make_due(engine, col(Delivery.state) == "queued")
    worker.run(engine, plan)

    assert ledgers.states(engine) == {"accepted": 4}
    assert {each.attempts for each in rows(engine).values()} == {1}
    assert suppressed(engine) == {}
