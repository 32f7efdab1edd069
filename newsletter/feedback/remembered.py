"""Receipts of mails that were read and stay in their mailbox, so that they are not read again.

Each is a row of the table `receipt`, which is renewed for as long as the mail is in the mailbox.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine, update
from sqlmodel import col, select

from newsletter.db import session as sessions
from newsletter.ledger import reports
from newsletter.models import Receipt

#: Keys in one statement; SQLite allows 32,766 parameters.
_CHUNK = 5_000
#: Minimum age of a receipt for its renewal; receipts are deleted after weeks.
_RENEWED = timedelta(days=1)


def key(source: str, *parts: str) -> str:
    """Return the key of a mail's receipt, from the parts that identify the mail at its source."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).digest()
    return f"{source}:{base64.urlsafe_b64encode(digest[:24]).decode()}"


def missing(engine: Engine, keys: Sequence[str], *, now: datetime) -> list[str]:
    """Return the keys without a receipt, in their order; renew the receipts of the others."""
    known: dict[str, datetime] = {}
    chunks = [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)]
    with sessions.reading(engine) as session:
        for chunk in chunks:
            query = select(Receipt.key, Receipt.at).where(col(Receipt.key).in_(chunk))
            known.update(session.exec(query).all())
    if any(at < now - _RENEWED for at in known.values()):
        with sessions.writing(engine) as session:
            for chunk in chunks:
                session.execute(update(Receipt).where(col(Receipt.key).in_(chunk)).values(at=now))
    return [one for one in keys if one not in known]


def add(engine: Engine, keys: Sequence[str], *, now: datetime) -> None:
    """Store receipts of mails."""
    if keys:
        with sessions.writing(engine) as session:
            reports.receive(session, keys, now=now)
