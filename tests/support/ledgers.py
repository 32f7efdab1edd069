"""Ledgers for tests: one mailing and any number of queued deliveries, without subscribers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, Select, String, cast, func, literal, null, select

from newsletter.db import session as sessions
from newsletter.ledger import dead_addresses, holding, queue
from newsletter.ledger.retry import Policy, RetryRules
from newsletter.models import Delivery, Mailing
from newsletter.rendering.message import CompiledMessage, Field, Place, Slot
from newsletter.return_path import ReturnPath
from newsletter.sender.limits import Limits
from newsletter.sender.personalize import Filler, SlotValues
from newsletter.sender.plan import Plan
from newsletter.smtp.server import SmtpServer
from newsletter.tokens import Keyring

SECRET = "0123456789abcdef0123456789abcdef-for-tests"
DOMAIN = "miasfeed.example"
#: A time in the past, so that everything is due.
NOW = datetime(2026, 9, 1, 6, tzinfo=UTC)
WAITS = [timedelta(minutes=minutes) for minutes in (5, 15, 30, 60, 120, 240, 480)]
STAMP = SlotValues("mailing000000001", DOMAIN, ZoneInfo("Europe/Berlin"), "en")


def compiled(*, size: int = 400) -> CompiledMessage:
    """Return a message of about `size` octets with every kind of slot that a digest has."""
    line = b"=C3=A9 a line of the digest, as long as such lines are in mails\r\n"
    return CompiledMessage(
        "News",
        (
            b"From: Mia <digest@miasfeed.example>\r\nTo: ",
            Field(Slot.ADDRESS, Place.HEADER),
            b"\r\nSubject: News\r\nDate: ",
            Field(Slot.DATE, Place.HEADER),
            b"\r\nMessage-ID: <",
            Field(Slot.MESSAGE_ID, Place.HEADER),
            (
                b">\r\nContent-Type: text/plain; charset=utf-8\r\n"
                b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
                b"..a line that begins with a dot\r\n"
            ),
            line * max(1, (size - 400) // len(line)),
            Field(Slot.UNSUBSCRIBE, Place.TEXT),
            b"=\r\n\r\nsince ",
            Field(Slot.SINCE, Place.TEXT),
            b"=\r\n\r\n",
        ),
    )


def add_mailing(
    engine: Engine, *, public_id: str = "mailing000000001", message: CompiledMessage | None = None
) -> int:
    """Add a mailing; `public_id` must have 16 characters."""
    body, fields = (message or compiled()).dump()
    with sessions.writing(engine) as session:
        mailing = Mailing(
            public_id=public_id,
            kind="digest",
            subject="News",
            body=body,
            fields=fields,
            domain=DOMAIN,
            timezone="Europe/Berlin",
            language="en",
            signing_key="",
            html="<p>News</p>",
            created_at=NOW,
        )
        session.add(mailing)
        session.flush()
        assert mailing.id is not None
        return mailing.id


def recipients(count: int) -> Select:  # type: ignore[type-arg]
    """Select `count` made-up recipients: reader1@example.com, reference reader1000000001 ..."""
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True, nesting=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < count))
    n = numbers.c.n
    return select(
        (literal("reader") + cast(n, String) + literal("@example.com")).label("address"),
        (literal("reader") + cast(n + 1_000_000_000, String)).label("reference"),
        literal(1).label("generation"),
        cast(null(), Delivery.__table__.c.since_at.type).label("since_at"),  # type: ignore[attr-defined]
    )


def fill(
    engine: Engine,
    count: int,
    *,
    public_id: str = "mailing000000001",
    message: CompiledMessage | None = None,
    priority: int = 2,
    now: datetime = NOW,
) -> int:
    """Queue `count` deliveries of a new mailing and return its id."""
    mailing_id = add_mailing(engine, public_id=public_id, message=message)
    with sessions.writing(engine) as session:
        made = queue.enqueue(
            session, mailing_id=mailing_id, recipients=recipients(count), priority=priority, now=now
        )
    assert made == count
    return mailing_id


def filler() -> Filler:
    return Filler(Keyring([SECRET]))


def plan(
    *ports: int, connections: int = 4, policy: Policy = "resend", rules: Limits | None = None
) -> Plan:
    """Return a plan for sending to the servers on these ports of 127.0.0.1."""
    return Plan(
        servers=[relay(port) for port in ports],
        connections=connections,
        return_path=ReturnPath(f"bounces@{DOMAIN}", Keyring([SECRET])),
        filler=filler(),
        retries=RetryRules(policy, WAITS),
        suppression=dead_addresses.SuppressionRules(Keyring([SECRET]), full_mailboxes=3),
        limits=rules or Limits(),
    )


def relay(port: int, *, weight: int = 1) -> SmtpServer:
    """Return the relay on a port of 127.0.0.1."""
    return SmtpServer(
        host="127.0.0.1",
        port=port,
        username=None,
        password=None,
        security="plain",
        hostname="sender.test",
        weight=weight,
    )


def states(engine: Engine) -> Counter[str]:
    """Count the ledger's rows by state, including claimed and in flight."""
    with sessions.reading(engine) as session:
        state = holding.state().label("state")
        found = session.execute(select(state, func.count().label("rows")).group_by(state))
        return Counter({row.state: row.rows for row in found})
