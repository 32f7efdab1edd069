"""The addresses that must never be mailed: suppress, release and query them.

The cause of a suppression is one of a closed list; RULES defines the effect of each. An address is
stored with a keyed hash. For an erased person only the hash and the cause are kept, so that the
address is refused later without being stored. Functions take the Session of a transaction that
their caller owns. `subscribers.suppress` changes the subscribers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, func, or_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from newsletter import tally
from newsletter.db import dialects
from newsletter.models import Suppression
from newsletter.models.suppression import Cause
from newsletter.tally import Name
from newsletter.tokens import Keyring

__all__ = ["FORGOTTEN", "RULES", "Cause", "Grounds", "Rule"]

#: The reason stored for an erased person, whatever the cause.
FORGOTTEN = "forgotten"

_id = col(Suppression.id)
_address = col(Suppression.address)
_hash = col(Suppression.address_hash)
_cause = col(Suppression.cause)


class Rule(NamedTuple):
    """The effect of a cause."""

    #: The explanation shown to operators.
    meaning: str
    #: Whether a sign-up may send a confirm letter to the address, and its confirmation lifts the
    #: suppression. Otherwise only the operator lifts it.
    is_liftable: bool


#: Every cause, from least to most grave: an address that is suppressed again keeps the graver
#: cause. docs/operations.md has the same table; a test compares the two.
RULES: Mapping[Cause, Rule] = {
    Cause.FULL: Rule("its mailbox was full too often", is_liftable=True),
    Cause.DEAD: Rule("a mail server said that nobody is there", is_liftable=True),
    Cause.BOUNCE: Rule("a bounce mail said that nobody is there", is_liftable=True),
    Cause.IMPORTED: Rule("another system had it as blocked", is_liftable=True),
    Cause.ERASED: Rule("the person was erased", is_liftable=True),
    Cause.OPERATOR: Rule("the operator said so", is_liftable=False),
    Cause.OPT_OUT: Rule("the person said never to write to them", is_liftable=False),
    Cause.COMPLAINT: Rule("the person complained about a mail as spam", is_liftable=False),
}
_ORDER = list(Cause)
#: Causes that a mail server has reported, and not the person.
OF_SERVERS = frozenset({Cause.FULL, Cause.DEAD, Cause.BOUNCE})


@dataclass(frozen=True)
class Grounds:
    """Why addresses are suppressed: the cause, a reason as text, and the source of both."""

    cause: Cause
    reason: str
    source: str
    #: The time at which another system suppressed the address; None for the current time.
    since: datetime | None = None


def suppress(
    session: Session, address: str, *, grounds: Grounds, now: datetime, keyring: Keyring
) -> bool:
    """Suppress one normalised address; return False if it was suppressed already."""
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
    """Suppress each address for its own cause; return how many were not suppressed before.

    A graver cause replaces a lesser one. Lock order: rows are locked by address within one call, so
    call it at most once per transaction, or two transactions may deadlock.
    """
    if not each:
        return 0
    known = _known(session, each, keyring=keyring)
    new = sorted(each.keys() - known.keys())
    hashes = [keyring.fingerprints(address)[0] for address in new]
    grounds = [each[address] for address in new]
    columns: dict[str, Sequence[Any]] = {
        "address": new,
        "address_hash": hashes,
        "cause": [one.cause for one in grounds],
        "reason": [one.reason for one in grounds],
        "source": [one.source for one in grounds],
        "created_at": [one.since or now for one in grounds],
    }
    _insert_missing(session, columns)
    # The update follows the insert, so that rows that other transactions have inserted are updated.
    by_id = {row.id: each[address] for address, row in known.items()}
    _aggravate(session, by_id, dict(zip(hashes, grounds, strict=True)))
    return len(new)


def suppress_hashes(session: Session, each: Mapping[str, Grounds], *, now: datetime) -> int:
    """Suppress erased persons by their hashes from a database with the same keys.

    Returns how many were not suppressed before. Lock order: call it at most once per transaction,
    and after `suppress_each`.
    """
    if not each:
        return 0
    new = sorted(each.keys() - known_hashes(session, each))
    columns: dict[str, Sequence[Any]] = {
        "address_hash": new,
        "cause": [each[one].cause for one in new],
        "reason": [FORGOTTEN] * len(new),
        "created_at": [each[one].since or now for one in new],
    }
    _insert_missing(session, columns, source="")
    _aggravate(session, {}, each)
    return len(new)


def _insert_missing(
    session: Session,
    columns: Mapping[str, Sequence[Any]],
    *,
    known: Collection[Cause] = (),
    **constants: object,
) -> None:
    """Insert the rows that are new, and count them, except for causes that were `known` before."""
    added = dialects.insert_missing(
        session, Suppression, columns, constants=constants, returning="cause"
    )
    tally.add(session, Name.SUPPRESSION, Counter(one for one in added if one not in known))


def known_hashes(session: Session, hashes: Collection[str]) -> set[str]:
    """Return the `hashes` that are suppressed."""
    return set(session.exec(select(_hash).where(_hash.in_(hashes))))


def _aggravate(
    session: Session, by_id: Mapping[int, Grounds], by_hash: Mapping[str, Grounds]
) -> None:
    """Replace lesser causes by graver ones, with reason and source except for erased persons."""
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
        tally.add(session, Name.SUPPRESSION, {grounds.cause: 1})
        if row.address is not None:
            row.reason, row.source = grounds.reason, grounds.source
        session.add(row)
    session.flush()


def gravity(cause: str) -> int:
    """Return the rank of a cause in RULES; a graver cause has a higher rank."""
    return _ORDER.index(Cause(cause))


def _below(cause: Cause) -> list[str]:
    return [one.value for one in _ORDER if gravity(one) < gravity(cause)]


def is_liftable(cause: str) -> bool:
    """Return whether a confirmation lifts a suppression for this cause, so a letter may be sent."""
    return RULES[Cause(cause)].is_liftable


def release(session: Session, address: str, *, keyring: Keyring) -> Cause | None:
    """Delete the suppression of an address; return its cause, None if it was not suppressed."""
    found = _delete_matching(session, address, keyring=keyring)
    return max((Cause(one.cause) for one in found), key=gravity, default=None)


def _delete_matching(session: Session, address: str, *, keyring: Keyring) -> Sequence[Suppression]:
    # Locked first: a row that another transaction is deleting is not found any more.
    locked = _matching(address, keyring=keyring).with_for_update()
    found = session.exec(locked.execution_options(populate_existing=True)).all()
    for suppression in found:
        session.delete(suppression)
    session.flush()
    return found


def release_all(session: Session, addresses: Collection[str], *, cause: Cause) -> set[str]:
    """Delete the suppressions of addresses if they have the given cause; return those addresses."""
    released = session.execute(
        delete(Suppression)
        .where(_address.in_(addresses), _cause == cause)
        .returning(_address)
        .execution_options(synchronize_session=False)
    )
    return {address for address in released.scalars() if address is not None}


def forget(session: Session, address: str, *, now: datetime, keyring: Keyring) -> None:
    """Replace the suppression of an address by its keyed hash, under the newest key, and the cause.

    A cause graver than the erasure stays: somebody who has complained is never mailed again.
    """
    known = [Cause(one.cause) for one in _delete_matching(session, address, keyring=keyring)]
    cause = max([Cause.ERASED, *known], key=gravity)
    newest = keyring.fingerprints(address)[0]
    nameless = {"address": None, "reason": FORGOTTEN, "source": ""}
    row = {**nameless, "address_hash": newest, "cause": cause}
    columns = {name: [value] for name, value in row.items()}
    _insert_missing(session, columns, known=known, created_at=now)
    # A concurrent transaction may have inserted a row with the address in it.
    its = update(Suppression).where(_hash == newest).execution_options(synchronize_session=False)
    raised = session.execute(its.where(_cause.in_(_below(Cause.ERASED))).values(cause=Cause.ERASED))
    tally.add(session, Name.SUPPRESSION, {Cause.ERASED: getattr(raised, "rowcount", 0)})
    session.execute(its.values(**nameless))


def find(session: Session, address: str, *, keyring: Keyring) -> Suppression | None:
    """Return the suppression of an address, found by address or by its hash under any key."""
    return session.exec(_matching(address, keyring=keyring)).first()


def named(session: Session, address: str) -> Suppression | None:
    """Return the suppression stored with an address in plain text; hashes are not searched.

    For output, which must not reveal that the person of an address was erased.
    """
    return session.exec(select(Suppression).where(_address == address)).one_or_none()


def is_suppressed(session: Session, address: str, *, keyring: Keyring) -> bool:
    """Return whether an address is suppressed."""
    return find(session, address, keyring=keyring) is not None


def suppressed_among(session: Session, addresses: Collection[str], *, keyring: Keyring) -> set[str]:
    """Return the `addresses` that are suppressed."""
    return set(_known(session, addresses, keyring=keyring))


class Chosen(NamedTuple):
    """A filter of suppressions by cause and earliest time; None means no restriction."""

    cause: Cause | None = None
    since: datetime | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter as SQL conditions."""
        of_cause = [_cause == self.cause] if self.cause else []
        return [*of_cause, col(Suppression.created_at) >= self.since] if self.since else of_cause


_ALL = Chosen()


def listing(
    session: Session, *, limit: int, after: int = 0, chosen: Chosen = _ALL
) -> list[Suppression]:
    """Return suppressions in the order of their ids, beginning after id `after`."""
    found = select(Suppression).where(_id > after, *chosen.conditions)
    return list(session.exec(found.order_by(_id).limit(limit)))


def newest(
    session: Session, *, limit: int, before: int | None = None, cause: Cause | None = None
) -> list[Suppression]:
    """Return suppressions with an id below `before`, the newest first."""
    chosen = select(Suppression).where(*Chosen(cause).conditions)
    if before is not None:
        chosen = chosen.where(_id < before)
    return list(session.exec(chosen.order_by(_id.desc()).limit(limit)))


def count(session: Session, *, at_most: int | None = None, chosen: Chosen = _ALL) -> int:
    """Return how many addresses are suppressed; counting stops at `at_most`."""
    counted = select(Suppression.id).where(*chosen.conditions).limit(at_most).subquery()
    return session.exec(select(func.count()).select_from(counted)).one()


def _matching(address: str, *, keyring: Keyring) -> SelectOfScalar[Suppression]:
    """Select the rows of one address; several if the key of an older hash was removed."""
    hashes = keyring.fingerprints(address)
    return select(Suppression).where(or_(_hash.in_(hashes), _address == address)).order_by(_id)


def _known(
    session: Session, addresses: Collection[str], *, keyring: Keyring
) -> dict[str, Row[Any]]:
    """Return id, address, address_hash and cause of the suppressed ones of `addresses`."""
    if not addresses or count(session, at_most=1) == 0:
        return {}
    asked = list(addresses)
    columns = select_columns(_id, _address, _hash, _cause)
    found = {row.address: row for row in session.execute(columns.where(_address.in_(asked)))}
    # One query for each key, because SQLite limits the parameters of a statement.
    prints = [keyring.fingerprints(address) for address in asked]
    for of_one_key in zip(*prints, strict=True):
        by_hash = dict(zip(of_one_key, asked, strict=True))
        rows = session.execute(columns.where(_hash.in_(by_hash)))
        found.update({by_hash[row.address_hash]: row for row in rows})
    return found
