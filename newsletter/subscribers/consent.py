"""The record of consent: what changed, with which wording, when and from where. Append-only.

A reader's consent must be demonstrable (GDPR art. 7), so every change of status or cadence writes
its row in the transaction that makes the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from sqlalchemy import ColumnElement
from sqlmodel import Session

from newsletter import suppression, tally
from newsletter.db import session as sessions
from newsletter.logs import events
from newsletter.models import Consent, Subscriber
from newsletter.subscribers import store
from newsletter.subscribers.evidence import Evidence, to_json
from newsletter.suppression import Cause


class Action(StrEnum):
    """What a consent row records."""

    ADDED = "added"
    ASKED = "asked"
    IMPORTED = "imported"
    CONFIRMED = "confirmed"
    CADENCE = "cadence"
    ADDRESS = "address"
    PAUSED = "paused"
    RESUMED = "resumed"
    UNSUBSCRIBED = "unsubscribed"
    RETURNED = "returned"
    SUPPRESSED = "suppressed"
    RELEASED = "released"


#: The source of an unsubscribe by a mailbox provider's button (RFC 8058).
ONE_CLICK = "one-click unsubscribe"
#: The causes of suppressions that are counted apart.
_CAUSES: Mapping[Cause | None, str] = {
    Cause.COMPLAINT: "complaint",
    **dict.fromkeys(suppression.OF_SERVERS, "bounce"),
}


@dataclass(frozen=True)
class Origin:
    """The source of a change."""

    #: The source: `command line`, `import readers.csv`, `box on https://...`.
    source: str
    #: The wording that the reader agreed to, or the operator's reason.
    wording: str = ""
    #: The network address of the reader; None if there is none.
    remote: str | None = None
    #: Why an address is suppressed.
    cause: Cause | None = None


#: The ways of unsubscribing that are counted apart, by source; others are the operator's.
_WAYS = {
    "unsubscribe link": "link",
    ONE_CLICK: "one-click",
    "unsubscribe mail": "mail",
    "report mail": "mail",
    "api": "api",
}


def event(action: str, origin: Origin) -> str:
    """Return what a change is counted as: its action, and the way of a goodbye or suppression.

    Goodbyes: link, one-click, mail (also one that a mailbox provider reports), api, import and
    operator. Suppressions: complaint, bounce, and others.
    """
    if action == Action.UNSUBSCRIBED:
        return f"{action} {_way(origin.source)}"
    if action == Action.SUPPRESSED:
        return f"{action} {_CAUSES.get(origin.cause, 'other')}"
    return str(action)


def _way(source: str) -> str:
    if source.startswith("import "):
        return "import"
    return _WAYS.get(source) or ("mail" if source.endswith(" event") else "operator")


def record(
    session: Session, subscriber: Subscriber, action: Action, *, origin: Origin, now: datetime
) -> None:
    """Append a row with the new state of a subscriber."""
    subscriber.updated_at = now
    session.add(subscriber)
    session.flush()
    assert subscriber.id is not None
    session.add(
        Consent(
            subscriber_id=subscriber.id,
            at=now,
            action=action,
            cadence=subscriber.cadence,
            status=subscriber.status,
            generation=subscriber.generation,
            wording=origin.wording,
            source=origin.source,
            remote=origin.remote,
        )
    )
    session.flush()
    tally.add_events(session, {event(action, origin): 1}, now=now)
    said = {"action": action, "source": origin.source, "cadence": subscriber.cadence}
    sessions.after_commit(session, partial(events.READER_CONSENT, **said))


def record_all(
    session: Session,
    chosen: ColumnElement[bool],
    action: Action,
    *,
    origin: Origin,
    now: datetime,
    evidence: Mapping[str, Evidence] | None = None,
) -> int:
    """Append a row with the new state of each chosen subscriber, in one statement.

    `evidence` maps addresses to the evidence of consent that an import brings.
    """
    if evidence:
        otherwise = store.Said(event(action, origin), origin.source, origin.wording)
        said = {
            address: otherwise._replace(remote=found.remote, evidence=kept)
            for (address, found), kept in zip(
                evidence.items(), to_json(evidence.values()), strict=True
            )
        }
        return store.add_consents_each(
            session, chosen, said, otherwise=otherwise, action=action, now=now
        )
    return store.add_consents(
        session,
        chosen,
        action=action,
        event=event(action, origin),
        source=origin.source,
        wording=origin.wording,
        remote=origin.remote,
        now=now,
    )


def record_each(
    session: Session,
    chosen: ColumnElement[bool],
    action: Action,
    *,
    origins: Mapping[str, Origin],
    now: datetime,
) -> None:
    """Append a row with the new state of each chosen subscriber; `origins` is by address."""
    said = {
        address: store.Said(event(action, one), one.source, one.wording)
        for address, one in origins.items()
    }
    otherwise = store.Said(event(action, Origin("")), "", "")
    store.add_consents_each(session, chosen, said, otherwise=otherwise, action=action, now=now)
