"""Delivery, Reports and Findings: what they show, and what their forms do."""

from __future__ import annotations

import gzip
from datetime import timedelta

import claimants
import ledgers
import pytest
from operator_desk import OperatorDesk, text
from sqlmodel import col, select

from newsletter import tally
from newsletter.db import session as sessions
from newsletter.desk.routes import delivery
from newsletter.doctor import kept
from newsletter.doctor.findings import Checks, Finding, Level
from newsletter.ledger import reports
from newsletter.models import Delivery, Pace, State

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def uncertain(desk: OperatorDesk) -> list[Delivery]:
    """Three deliveries of which two may or may not have arrived."""
    desk.now = ledgers.NOW + timedelta(hours=1)
    desk.client.cookies.clear()
    desk.sign_in()
    ledgers.fill(desk.engine, 3)
    claims = sorted(claimants.claim(desk.engine, limit=2, now=desk.now))
    claimants.mark(desk.engine, [one.id for one in claims], now=desk.now)
    with sessions.writing(desk.engine) as session:
        tally.update_deliveries(
            session,
            col(Delivery.id).in_([one.id for one in claims]),
            {"state": State.UNKNOWN, "state_at": desk.now, "reply": HOSTILE},
        )
    with sessions.reading(desk.engine) as session:
        return list(session.exec(select(Delivery).order_by(Delivery.id)))


def test_the_queue_says_what_waits_and_why(desk: OperatorDesk, uncertain: list[Delivery]) -> None:
    page = desk.read("/delivery")

    assert "2 mails" in page
    assert "unknown 2" in page.lower()
    assert HOSTILE in page
    assert HOSTILE not in desk.get("/delivery").text


def test_one_uncertain_mail_is_sent_again(desk: OperatorDesk, uncertain: list[Delivery]) -> None:
    page = desk.do("/delivery/retry", {"id": uncertain[0].id}, on="/delivery")

    assert "1 of 1 delivery will be sent again." in page
    assert ledgers.states(desk.engine)["unknown"] == 1
    assert desk.audited() == [("delivery.retry", "deliveries", "1 of 1")]


def test_all_uncertain_mails_are_sent_again(desk: OperatorDesk, uncertain: list[Delivery]) -> None:
    page = desk.do("/delivery/retry", on="/delivery")

    assert "2 of 2 deliveries will be sent again." in page
    assert ledgers.states(desk.engine)["unknown"] == 0
    assert desk.audited() == [("delivery.retry", "deliveries", "2 of 2")]


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_is_looked_at_before_it_settles(
    desk: OperatorDesk, uncertain: list[Delivery], packed: bool
) -> None:
    listed = b"<mailing000000001.reader1000000001@miasfeed.example>\n<not@ours.example>\n"
    files = {"log": ("mail.log", gzip.compress(listed) if packed else listed)}

    looked = desk.post("/delivery/reconcile", on="/delivery", files=files)
    assert looked.status_code == 200
    assert "1 would be settled as accepted, and 1 would stay uncertain" in looked.text
    assert ledgers.states(desk.engine)["unknown"] == 2
    assert desk.audited() == []

    page = desk.do("/delivery/reconcile", {"settled": "true"}, on="/delivery", files=files)
    assert "1 delivery was accepted by the log." in page
    assert ledgers.states(desk.engine)["unknown"] == 1
    assert desk.audited() == [("delivery.reconcile", "deliveries", "1 accepted")]


def test_a_log_that_is_none_says_so(desk: OperatorDesk, uncertain: list[Delivery]) -> None:
    files = {"log": ("mail.log.gz", b"\x1f\x8bnot gzip")}
    answer = desk.post("/delivery/reconcile", on="/delivery", files=files)

    assert answer.status_code == 422
    assert "mail.log.gz is damaged" in answer.text
    empty = desk.post(
        "/delivery/reconcile", on="/delivery", files={"log": ("a", b"\xff\x00 this is no log\n")}
    )
    assert "The file speaks of no message" in empty.text


def test_slow_domains_are_shown_with_what_they_said(desk: OperatorDesk) -> None:
    with sessions.writing(desk.engine) as session:
        session.add(
            Pace(
                key="slow.example",
                next_at=desk.now,
                connections=2,
                paused_until=desk.now + timedelta(minutes=7),
                reply=f"421 4.7.28 {HOSTILE}",
                changed_at=desk.now,
            )
        )
    page = desk.read("/delivery")

    assert "slow.example" in page
    assert f"421 4.7.28 {HOSTILE}" in page


def test_reports_are_listed_by_pages(desk: OperatorDesk) -> None:
    with sessions.writing(desk.engine) as session:
        reports.add_unplaced(
            session,
            [
                {
                    "source": "mail",
                    "kind": "bounce",
                    "verdict": "dead",
                    "recipient": f"r{number}@readers.example",
                    "code": 550,
                    "enhanced": "5.1.1",
                    "phase": None,
                    "reply": HOSTILE,
                    "reason": None,
                    "at": desk.now,
                }
                for number in range(60)
            ],
        )
    first = desk.read("/reports")
    assert "r59@readers.example" in first
    assert "r9@readers.example" not in first
    assert HOSTILE not in desk.get("/reports").text
    older = desk.read("/reports?before=11")
    assert "r9@readers.example" in older
    assert "r10@" not in older
    assert "r59@" in desk.read("/reports?unplaced=true")


def test_findings_have_the_doctors_words_and_records(desk: OperatorDesk) -> None:
    found = Finding(
        id="dns.spf.missing",
        level=Level.ERROR,
        sentence=f"There is no SPF record, but {HOSTILE}.",
        hint="Run `newsletter doctor --dns`.",
        record='@ TXT "v=spf1 -all"',
    )
    with sessions.writing(desk.engine) as session:
        kept.keep(session, {Checks.DNS: [found]}, now=desk.now)
    page = desk.get("/findings").text

    assert "dns.spf.missing" in page
    assert "<code>newsletter doctor --dns</code>" in page
    assert "v=spf1 -all" in page
    assert HOSTILE not in page


@pytest.mark.parametrize("number", ["0", "-1", str(2**63), "9" * 5000, "one"])
def test_a_number_that_is_of_no_mail_is_refused(desk: OperatorDesk, number: str) -> None:
    assert desk.post("/delivery/retry", {"id": number}).status_code == 422
    assert desk.audited() == []


def test_a_log_that_unpacks_to_too_much_is_refused(
    desk: OperatorDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAXIMUM_UNPACKED", 1_000_000)
    for content, status in ((b"a b\n" * 200_000, 200), (b"a b\n" * 300_000, 422)):
        files = {"log": ("mail.log.gz", gzip.compress(content))}
        answer = desk.post("/delivery/reconcile", on="/audit", files=files)
        assert answer.status_code == status, text(answer.text)
    assert "more than 1,000,000 octets" in text(answer.text)
