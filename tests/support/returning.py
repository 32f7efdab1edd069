"""Accepted mails to readers, and bounces and complaints about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import bounces
import counts
import ledgers
from readers import Readers
from sqlalchemy import select, update
from sqlmodel import col

from newsletter.db import session as sessions
from newsletter.feedback import apply, arrivals
from newsletter.feedback.apply import FeedbackRules, FeedbackTally
from newsletter.ledger import message_ids, queue
from newsletter.ledger.dead_addresses import SuppressionRules
from newsletter.models import Delivery, Mailing, Report, State, Subscriber, Suppression
from newsletter.publication import Publication
from newsletter.return_path import ReturnPath
from newsletter.settings import Settings

NOW = ledgers.NOW
_SECRET = "0123456789abcdef0123456789abcdef-for-tests"


class Sent:
    """Readers, and mails that a server has accepted for them."""

    def __init__(self, readers: Readers) -> None:
        self.readers = readers
        self.engine = readers.engine
        settings = Settings(secret_keys=[_SECRET])
        self.publication = Publication.of(settings)
        self.keyring = self.publication.keyring
        self.rules = FeedbackRules(self.publication, SuppressionRules(self.keyring, 3))
        self.path = ReturnPath("bounces+{token}@miasfeed.example", self.keyring)

    def mail(
        self,
        number: int = 1,
        *,
        at: datetime = NOW,
        state: State = State.ACCEPTED,
        edition_id: int | None = None,
    ) -> int:
        """Record a mailing as accepted for all active readers; return its id."""
        mailing = ledgers.add_mailing(self.engine, public_id=f"mailing{number:09}")
        with sessions.writing(self.engine) as session:
            recipients = select(
                Subscriber.address,
                col(Subscriber.public_id).label("reference"),
                Subscriber.generation,
                col(Subscriber.subscribed_at).label("since_at"),
            ).where(col(Subscriber.status) == "active")
            queue.enqueue(session, mailing_id=mailing, recipients=recipients, priority=2, now=at)
            values: dict[str, Any] = {"state": state, "state_at": at, "code": 250, "reply": "Ok"}
            session.execute(
                update(Delivery).where(col(Delivery.mailing_id) == mailing).values(values)
            )
            counts.recount(session)
            if edition_id is not None:
                session.execute(
                    update(Mailing).where(col(Mailing.id) == mailing).values(edition_id=edition_id)
                )
        return mailing

    def message_id(self, address: str, number: int = 1) -> str:
        """Return the Message-ID of a mail to a reader."""
        reference = self.readers.get(address).public_id
        return f"<{message_ids.make(f'mailing{number:09}', reference, 'miasfeed.example')}>"

    def bounce(
        self,
        address: str,
        reply: str = "550 5.1.1 No such user",
        *,
        number: int | None = 1,
        recipient: str | None = None,
        to: str = "bounces@miasfeed.example",
        action: str = "failed",
        own_id: str = "",
        date: datetime | None = None,
    ) -> bytes:
        """Return a bounce of a mail; without a number it has no Message-ID of ours."""
        sent = bounces.SENT.replace("ada@readers.example", recipient or address)
        message_id = self.message_id(address, number) if number else "<gone@elsewhere.example>"
        sent = sent.replace(bounces.MESSAGE_ID, message_id)
        status = next((word for word in reply.split() if "." in word), "5.0.0")
        block = (
            f"Final-Recipient: rfc822; {recipient or address}\nAction: {action}\n"
            f"Status: {status}\nDiagnostic-Code: smtp; {reply}"
        )
        text = bounces.report("It could not be delivered.", block, sent=sent)
        text = text.replace("To: bounces@miasfeed.example", f"To: {to}", 1)
        own_id = own_id or f"{address}.{number}.{reply}".replace(" ", ".")
        dated = f"Date: {format_datetime(date)}\n" if date else ""
        return f"{dated}Message-ID: <{own_id}@mx.example>\n{text}".encode()

    def complaint(
        self, address: str, *, recipient: str = "", of: str = "abuse", own_id: str = "arf"
    ) -> bytes:
        """Return a feedback report (RFC 5965) about a mail."""
        sent = bounces.SENT.replace("ada@readers.example", recipient or address)
        sent = sent.replace(bounces.MESSAGE_ID, self.message_id(address))
        block = f"Feedback-Type: {of}\nUser-Agent: SomeGenerator/1.0\nVersion: 1"
        text = bounces.report("A complaint.", block, of="feedback-report", sent=sent)
        return f"Message-ID: <{own_id}.{address}@mx.example>\n{text}".encode()

    def read(self, *mails: bytes, at: datetime = NOW + timedelta(hours=1)) -> FeedbackTally:
        """Apply mails."""
        found = [arrivals.of_mail(mail, self.keyring) for mail in mails]
        return apply.apply_all(self.engine, found, rules=self.rules, now=at)

    def suppressed(self) -> dict[str | None, str]:
        with sessions.reading(self.engine) as session:
            rows = session.execute(select(Suppression)).scalars()
            return {row.address: f"{row.cause}: {row.reason}" for row in rows}

    def reports(self) -> list[tuple[str, str, str | None, bool]]:
        """Return kind, verdict, reason and whether it is counted for each report."""
        with sessions.reading(self.engine) as session:
            rows = session.execute(select(Report).order_by(col(Report.id))).scalars()
            return [(r.kind, r.verdict, r.reason, r.mailing_id is not None) for r in rows]

    def placed(self) -> list[tuple[str, str]]:
        """Return address and verdict of the reports about a known delivery."""
        with sessions.reading(self.engine) as session:
            found = select(Delivery.address, Report.verdict).join(
                Report, col(Report.delivery_id) == col(Delivery.id)
            )
            return [(address, verdict) for address, verdict in session.execute(found)]

    def status(self, address: str) -> str:
        return self.readers.get(address).status
