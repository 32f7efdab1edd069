"""The addresses that must never be mailed: suppress them, release them, ask about them.

Why an address is suppressed is one of a closed list of causes; RULES says what follows from each.
An address is kept with a keyed hash. A person who was erased leaves the hash and the cause alone,
so that the address is still refused when it comes back, without standing anywhere. Functions take
the Session of a transaction that their caller owns. What a suppression means for a subscriber is
decided above.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, case, func, or_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter.db import dialects
from newsletter.models import Suppression
from newsletter.models.suppression import Cause
from newsletter.tokens import Keyring

__all__ = ["FORGOTTEN", "RULES", "Cause", "Grounds", "Rule"]

#: The reason that an erased person leaves, whatever the cause.
FORGOTTEN = "forgotten"

_id = col(Suppression.id)
_address = col(Suppression.address)
_hash = col(Suppression.address_hash)
_cause = col(Suppression.cause)


class Rule(NamedTuple):
    """What a cause means."""

    #: For operators: what it says of the address.
    meaning: str
    #: Whether a confirm letter may go to the address when somebody signs up with it, and whether
    #: the reader lifts the suppression by confirming. Otherwise only the operator lifts it.
    is_liftable: bool


#: Every cause, in the order of replacement: an address that is suppressed again keeps the graver
#: cause. The table in docs/operations.md is this one, and a test compares the two.
RULES: Mapping[Cause, Rule] = {
    Cause.FULL: Rule("its mailbox was full too often", is_liftable=True),
    Cause.IMPORTED: Rule("another system had it as blocked", is_liftable=True),
    Cause.DEAD: Rule("a mail server said that nobody is there", is_liftable=True),
    Cause.BOUNCE: Rule("a bounce mail said that nobody is there", is_liftable=True),
    Cause.ERASED: Rule("the person was erased", is_liftable=True),
    Cause.OPERATOR: Rule("the operator said so", is_liftable=False),
    Cause.OPT_OUT: Rule("the person said never to write to them", is_liftable=False),
    Cause.COMPLAINT: Rule("the person complained about a mail as spam", is_liftable=False),
}
_ORDER = list(Cause)


@dataclass(frozen=True)
class Grounds:
    """Why addresses are suppressed, in whose words, and who says so."""

    cause: Cause
    reason: str
    source: str
    #: Since when, where another system has known it for longer; now if None.
    since: datetime | None = None


def suppress(
    session: Session, address: str, *, grounds: Grounds, now: datetime, keyring: Keyring
) -> bool:
    """Suppress one address, in its one spelling; return False if it was suppressed already."""
    return suppress_each(session, {address: grounds}, now=now, keyring=keyring) == 1


def suppress_all(
    session: Session,
    addresses: Collection[str],
    *,
    grounds: Grounds,
    now: datetime,
    keyring: Keyring,
) -> int:
    """Suppress addresses and return how many were not suppressed before."""
    each = dict.fromkeys(addresses, grounds)
    return suppress_each(session, each, now=now, keyring=keyring)


def suppress_each(
    session: Session, each: Mapping[str, Grounds], *, now: datetime, keyring: Keyring
) -> int:
    """Suppress each address on its own grounds; return how many were not suppressed before.

    Who was suppressed for a lesser cause gets the graver one. At most once in a transaction: two
    at once take their rows in the same order.
    """
    if not each:
        return 0
    known = _known(session, each, keyring=keyring)
    rows = [
        {
            "address": address,
            "address_hash": keyring.fingerprints(address)[0],
            "cause": each[address].cause,
            "reason": each[address].reason,
            "source": each[address].source,
            "created_at": each[address].since or now,
        }
        for address in sorted(each.keys() - known.keys())
    ]
    dialects.insert_missing(session, Suppression, rows, constants={})
    # After the insert, which finds what somebody else has inserted meanwhile.
    by_id = {row.id: each[address] for address, row in known.items()}
    by_hash = {str(row["address_hash"]): each[str(row["address"])] for row in rows}
    _aggravate(session, by_id, by_hash)
    return len(rows)


def suppress_hashes(session: Session, each: Mapping[str, Grounds], *, now: datetime) -> int:
    """Suppress erased persons by what another database has of them: hashes under the same keys.

    Returns how many were not suppressed before. At most once in a transaction, after addresses.
    """
    if not each:
        return 0
    known = known_hashes(session, each)
    rows = [
        {"address_hash": one, "cause": each[one].cause, "created_at": each[one].since or now}
        for one in sorted(each.keys() - known)
    ]
    nameless = {"address": None, "reason": FORGOTTEN, "source": ""}
    dialects.insert_missing(
        session, Suppression, [{**nameless, **row} for row in rows], constants={}
    )
    _aggravate(session, {}, each)
    return len(rows)


def known_hashes(session: Session, hashes: Collection[str]) -> set[str]:
    """Return those of `hashes` that are suppressed."""
    return set(session.exec(select(_hash).where(_hash.in_(hashes))))


def _aggravate(
    session: Session, by_id: Mapping[int, Grounds], by_hash: Mapping[str, Grounds]
) -> None:
    """Give rows that have a lesser cause the graver one; an erased person's takes no words."""
    gravest = max((one.cause for one in (*by_id.values(), *by_hash.values())), key=gravity)
    found = session.exec(
        select(Suppression)
        .where(or_(_id.in_(by_id), _hash.in_(by_hash)), _cause.in_(_below(gravest)))
        .order_by(_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    for row in found.all():
        grounds = by_id.get(row.id or 0) or by_hash[row.address_hash]
        if gravity(row.cause) >= gravity(grounds.cause):
            continue
        row.cause = grounds.cause
        if row.address is not None:
            row.reason, row.source = grounds.reason, grounds.source
        session.add(row)
    session.flush()


def gravity(cause: str) -> int:
    """Return the place of a cause in the order of replacement: the graver, the higher."""
    return _ORDER.index(Cause(cause))


def _below(cause: Cause) -> list[str]:
    return [one.value for one in _ORDER if gravity(one) < gravity(cause)]


def is_liftable(cause: str) -> bool:
    """Tell whether a confirm letter may go to an address, and its reader lift the suppression."""
    return RULES[Cause(cause)].is_liftable


def release(session: Session, address: str, *, keyring: Keyring) -> bool:
    """Let an address be mailed again; return False if it was not suppressed."""
    found = _matching(session, address, keyring=keyring)
    for suppression in found:
        session.delete(suppression)
    session.flush()
    return bool(found)


def forget(session: Session, address: str, *, now: datetime, keyring: Keyring) -> None:
    """Leave nothing of an address but its keyed hash, under the newest key, and the cause.

    A cause that is graver than the erasure stays: who has complained is not written to again.
    """
    causes = [Cause.ERASED]
    for suppression in _matching(session, address, keyring=keyring):
        causes.append(Cause(suppression.cause))
        session.delete(suppression)
    session.flush()
    newest = keyring.fingerprints(address)[0]
    nameless = {"address": None, "reason": FORGOTTEN, "source": ""}
    row = {**nameless, "address_hash": newest, "cause": max(causes, key=gravity)}
    dialects.insert_missing(session, Suppression, [row], constants={"created_at": now})
    # Somebody else may have written theirs at this moment, with the address in it.
    graver = case((_cause.in_(_below(Cause.ERASED)), Cause.ERASED.value), else_=_cause)
    session.execute(
        update(Suppression)
        .where(_hash == newest)
        .values(**nameless, cause=graver)
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
    return set(_known(session, addresses, keyring=keyring))


def listing(
    session: Session, *, limit: int, after: int = 0, cause: Cause | None = None
) -> list[Suppression]:
    """Return suppressions in the order in which they came, from the one after id `after`."""
    return list(
        session.exec(select(Suppression).where(_id > after, *_of(cause)).order_by(_id).limit(limit))
    )


def count(session: Session, *, at_most: int | None = None, cause: Cause | None = None) -> int:
    """Return how many addresses are suppressed, without counting on past `at_most`."""
    counted = select(Suppression.id).where(*_of(cause)).limit(at_most).subquery()
    return session.exec(select(func.count()).select_from(counted)).one()


def _of(cause: Cause | None) -> list[ColumnElement[bool]]:
    return [_cause == cause] if cause else []


def _matching(session: Session, address: str, *, keyring: Keyring) -> list[Suppression]:
    """Return the rows of one address; more than one if a key that signed an old one is gone."""
    hashes = keyring.fingerprints(address)
    return list(
        session.exec(select(Suppression).where(or_(_hash.in_(hashes), _address == address)))
    )


def _known(
    session: Session, addresses: Collection[str], *, keyring: Keyring
) -> dict[str, Row[Any]]:
    """Return id, address, address_hash and cause of those of `addresses` that are suppressed."""
    if not addresses or count(session, at_most=1) == 0:
        return {}
    asked = list(addresses)
    columns = select_columns(_id, _address, _hash, _cause)
    found = {row.address: row for row in session.execute(columns.where(_address.in_(asked)))}
    # A key at a time, so that a statement's parameters stay below what SQLite takes.
    prints = [keyring.fingerprints(address) for address in asked]
    for of_one_key in zip(*prints, strict=True):
        by_hash = dict(zip(of_one_key, asked, strict=True))
        rows = session.execute(columns.where(_hash.in_(by_hash)))
        found.update({by_hash[row.address_hash]: row for row in rows})
    return found
