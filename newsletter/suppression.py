"""The addresses that must never be mailed: suppress them, release them, ask about them.

Each is kept with a keyed hash. A person who was erased leaves the hash alone, so that the address
is still refused when it comes back, without standing anywhere. Functions take the Session of a
transaction that their caller owns. What a suppression means for a subscriber is decided above.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, update
from sqlmodel import Session, col, select

from newsletter.db import statements
from newsletter.models import Suppression
from newsletter.tokens import Keyring

#: The reason that an erased person leaves.
FORGOTTEN = "forgotten"

_address = col(Suppression.address)
_hash = col(Suppression.address_hash)


@dataclass(frozen=True)
class Cause:
    """Why addresses are suppressed, and who says so."""

    reason: str
    source: str


def suppress(
    session: Session, address: str, *, cause: Cause, now: datetime, keyring: Keyring
) -> bool:
    """Suppress one address, in its one spelling; return False if it was suppressed already."""
    return suppress_all(session, [address], cause=cause, now=now, keyring=keyring) == 1


def suppress_all(
    session: Session,
    addresses: Collection[str],
    *,
    cause: Cause,
    now: datetime,
    keyring: Keyring,
) -> int:
    """Suppress addresses and return how many were not suppressed before."""
    known = suppressed_among(session, addresses, keyring=keyring)
    rows = [
        {
            "address": address,
            "address_hash": keyring.fingerprints(address)[0],
            "reason": cause.reason,
            "source": cause.source,
        }
        # In one order, so that two of these at once do not wait for each other.
        for address in sorted(set(addresses) - known)
    ]
    statements.insert_missing(session, Suppression, rows, constants={"created_at": now})
    return len(rows)


def release(session: Session, address: str, *, keyring: Keyring) -> bool:
    """Let an address be mailed again; return False if it was not suppressed."""
    found = _matching(session, address, keyring=keyring)
    for suppression in found:
        session.delete(suppression)
    session.flush()
    return bool(found)


def forget(session: Session, address: str, *, now: datetime, keyring: Keyring) -> None:
    """Leave nothing of an address but its keyed hash, under the newest key."""
    for suppression in _matching(session, address, keyring=keyring):
        session.delete(suppression)
    session.flush()
    newest = keyring.fingerprints(address)[0]
    row = {"address": None, "address_hash": newest, "reason": FORGOTTEN, "source": ""}
    statements.insert_missing(session, Suppression, [row], constants={"created_at": now})
    # Somebody else may have written theirs at this moment, with the address in it.
    session.execute(
        update(Suppression)
        .where(_hash == newest)
        .values(address=None, reason=FORGOTTEN, source="")
        .execution_options(synchronize_session=False)
    )


def find(session: Session, address: str, *, keyring: Keyring) -> Suppression | None:
    """Return the suppression of an address, by the address or by its hash under any key."""
    return next(iter(_matching(session, address, keyring=keyring)), None)


def is_suppressed(session: Session, address: str, *, keyring: Keyring) -> bool:
    """Tell whether an address must not be mailed."""
    return find(session, address, keyring=keyring) is not None


def suppressed_among(session: Session, addresses: Collection[str], *, keyring: Keyring) -> set[str]:
    """Return those of `addresses` that must not be mailed."""
    if not addresses or count(session, at_most=1) == 0:
        return set()
    asked = list(addresses)
    found = set(session.exec(select(_address).where(_address.in_(asked))))
    # A key at a time, so that a statement's parameters stay below what SQLite takes.
    prints = [keyring.fingerprints(address) for address in asked]
    for of_one_key in zip(*prints, strict=True):
        by_hash = dict(zip(of_one_key, asked, strict=True))
        hashes = session.exec(select(_hash).where(_hash.in_(by_hash)))
        found.update(by_hash[fingerprint] for fingerprint in hashes)
    return {address for address in found if address}


def listing(session: Session, *, limit: int, after: int = 0) -> list[Suppression]:
    """Return suppressions in the order in which they came, from the one after id `after`."""
    return list(
        session.exec(
            select(Suppression)
            .where(col(Suppression.id) > after)
            .order_by(col(Suppression.id))
            .limit(limit)
        )
    )


def count(session: Session, *, at_most: int | None = None) -> int:
    """Return how many addresses are suppressed, without counting on past `at_most`."""
    counted = select(Suppression.id).limit(at_most).subquery()
    return session.exec(select(func.count()).select_from(counted)).one()


def _matching(session: Session, address: str, *, keyring: Keyring) -> list[Suppression]:
    """Return the rows of one address; more than one if a key that signed an old one is gone."""
    hashes = keyring.fingerprints(address)
    return list(
        session.exec(select(Suppression).where(or_(_hash.in_(hashes), _address == address)))
    )
