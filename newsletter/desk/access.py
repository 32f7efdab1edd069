"""Signing in to the desk: one-time links, and the sessions that they open.

Tokens have 256 random bits, and only their hashes are stored, so that a copy of the database lets
nobody in. A plain SHA-256 is enough for tokens that cannot be guessed.

The functions take a Session, whose transaction their caller owns.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from newsletter import audit
from newsletter.errors import InvalidInput, InvalidToken, NotFound
from newsletter.models import DeskLogin, DeskSession
from newsletter.settings.values import LONGEST_NAME

#: How long a link can be used, and how long a session lasts.
LINK_LIFETIME = timedelta(minutes=10)
SESSION_LIFETIME = timedelta(hours=12)
#: How long rows of ended sessions and links are kept, to be looked at.
_KEPT = timedelta(days=30)


class Opened(NamedTuple):
    """A new session: the value of its cookie, and its row."""

    token: str
    row: DeskSession


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who is signed in, for one request."""

    name: str
    #: The token that forms of this session carry.
    csrf: str
    #: The id of the session; None if a proxy has signed the person in.
    session_id: int | None = None

    @property
    def actor(self) -> str:
        """The person as the audit log names them."""
        return f"desk:{self.name}"


def issue(session: Session, name: str, *, actor: str, now: datetime) -> str:
    """Return the token of a new link for a person; raises InvalidInput for an unusable name."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name.strip() != name:
        raise InvalidInput(
            f"A name has 1 to {LONGEST_NAME} printable characters.", hint="Write it as: mia"
        )
    _prune(session, now)
    token = secrets.token_urlsafe(32)
    expires_at = now + LINK_LIFETIME
    session.add(DeskLogin(token_hash=_hash(token), name=name, expires_at=expires_at))
    audit.record(session, "desk.link", {"desk": name}, actor=actor, at=now)
    return token


def look_up(session: Session, token: str, *, now: datetime) -> DeskLogin:
    """Return an unused link; raises InvalidToken if it is used, expired or unknown."""
    found = session.get(DeskLogin, _hash(token))
    if found is None or found.used_at is not None or found.expires_at <= now:
        raise InvalidToken(
            "This link cannot be used: it is unknown, used already or older than ten minutes.",
            hint="`newsletter desk login` makes a new one.",
        )
    return found


def sign_in(session: Session, token: str, *, now: datetime) -> Opened:
    """Use a link up, and open a session; raises InvalidToken as `look_up` does.

    Of several simultaneous requests with one link, exactly one gets a session.
    """
    link = look_up(session, token, now=now)
    used = session.execute(
        update(DeskLogin)
        .where(col(DeskLogin.token_hash) == link.token_hash, col(DeskLogin.used_at).is_(None))
        .values(used_at=now)
        .execution_options(synchronize_session=False)
    )
    if getattr(used, "rowcount", 0) != 1:
        raise InvalidToken(
            "This link was used a moment ago.", hint="`newsletter desk login` makes a new one."
        )
    cookie = secrets.token_urlsafe(32)
    row = DeskSession(
        token_hash=_hash(cookie),
        name=link.name,
        created_at=now,
        expires_at=now + SESSION_LIFETIME,
    )
    session.add(row)
    session.flush()
    audit.record(session, "desk.sign-in", {f"session:{row.id}": ""}, actor=_actor(row), at=now)
    return Opened(cookie, row)


def find(session: Session, cookie: str, *, now: datetime) -> Person | None:
    """Return who has a cookie; None if it is unknown, or its session has ended."""
    hashed = _hash(cookie)
    row = session.exec(select(DeskSession).where(DeskSession.token_hash == hashed)).first()
    if row is None or row.ended_at is not None or row.expires_at <= now:
        return None
    return Person(name=row.name, csrf=csrf(cookie, row.name), session_id=row.id)


def csrf(key: str, name: str) -> str:
    """Return the token of a session's forms, which nobody can make without the cookie or key."""
    return hmac.new(key.encode(), f"desk csrf {name}".encode(), hashlib.sha256).hexdigest()


def end(session: Session, session_id: int, *, actor: str, now: datetime) -> DeskSession:
    """End a session; raises NotFound if there is none with this id that is open."""
    row = session.get(DeskSession, session_id)
    if row is None or row.ended_at is not None or row.expires_at <= now:
        raise NotFound(
            f"There is no open session {session_id}.", hint="`newsletter desk sessions` lists them."
        )
    row.ended_at = now
    session.add(row)
    audit.record(session, "desk.sign-out", {f"session:{row.id}": row.name}, actor=actor, at=now)
    return row


def open_sessions(session: Session, *, now: datetime) -> list[DeskSession]:
    """Return the sessions that are open, the newest first."""
    chosen = select(DeskSession).where(
        col(DeskSession.ended_at).is_(None), col(DeskSession.expires_at) > now
    )
    return list(session.exec(chosen.order_by(col(DeskSession.id).desc())))


def _actor(row: DeskSession) -> str:
    return f"desk:{row.name}"


def _prune(session: Session, now: datetime) -> None:
    for model in (DeskLogin, DeskSession):
        session.execute(delete(model).where(col(model.expires_at) < now - _KEPT))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
