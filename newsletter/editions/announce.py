"""Announces: sends a text of the publisher once, to all readers, a cadence or an edition's readers.

An announcement is an edition of its own without articles, so it is paused, cancelled, counted and
pruned like a digest. It has no part in watermarks: no digest changes by it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit, cadences, tokens
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import (
    announcements,
    audience,
    lifecycle,
    mailings,
    plan_audience,
    store,
    summaries,
)
from newsletter.editions import plan as planning
from newsletter.editions import send as sending
from newsletter.editions.audience import Addressees
from newsletter.editions.compose import MailRenderer
from newsletter.editions.plan import Left
from newsletter.editions.summaries import Summary
from newsletter.errors import Conflict, InvalidInput
from newsletter.ledger import books, queue
from newsletter.ledger.reasons import Reason
from newsletter.ledger.registry import Trouble
from newsletter.logs import events
from newsletter.models import Announcement, Edition, EditionState, State
from newsletter.publication import Publication
from newsletter.rendering import note as notes
from newsletter.rendering.compile import Rendered
from newsletter.rendering.content import AnnouncementContent, one_line
from newsletter.sender.forecast import Capacity, Forecast
from newsletter.subscribers import preferences

if TYPE_CHECKING:
    from newsletter.sender.plan import Plan

#: Maximum characters of an announcement.
LONGEST = 20_000
#: The audience of all readers.
ALL = "all"
_LONGEST_SUBJECT = 200
#: The priority of announcements: that of digests.
_PRIORITY = 2


@dataclass(frozen=True, kw_only=True)
class Text:
    """What is announced, and to whom; equal texts are the same announcement."""

    subject: str
    #: Markdown, without the heading that is the subject.
    text: str
    #: "all", a cadence, or the name of an edition that the readers got.
    audience: str

    @property
    def key(self) -> str:
        """The hash by which an announcement is found that was made already."""
        said = json.dumps((self.subject, self.text, self.audience))
        return hashlib.sha256(f"announcement {said}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class AnnouncementPlan:
    """An announcement as it would be made now, or as it was made."""

    #: The result that `freeze` would return.
    summary: Summary
    is_made: bool
    subject: str
    audience: str
    #: Size of the whole message, and of its HTML part, as transmitted.
    octets: int
    html_octets: int
    without: list[Left] = field(default_factory=list)
    #: Readers to whom the edition of the audience is still to be sent, and those who had it but are
    #: not known any more, because their deliveries were pruned.
    coming: int = 0
    pruned: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    forecast: Forecast | None = None
    rendered: Rendered = field(repr=False)


def parse(written: str, *, audience: str, subject: str | None = None) -> Text:
    """Return what is announced by a text in Markdown; raises InvalidInput.

    Without a subject, it is the heading with which the text begins.
    """
    text = notes.check(written, name="announcement", longest=LONGEST)
    heading, rest = notes.parts(text)
    if subject is None:
        subject = heading
    elif heading != one_line(subject):
        rest = text
    return Text(
        subject=_subject(subject),
        text=notes.check(rest, name="announcement", longest=LONGEST),
        audience=parse_audience(audience),
    )


def parse_audience(text: str) -> str:
    """Return the name of an audience as a person typed it; raises InvalidInput."""
    name = text.strip().lower()
    if name == ALL or name in set(Cadence):
        return name
    try:
        cadences.parse_name(name)
    except InvalidInput:
        raise InvalidInput(
            f"{text[:100]!a} names no readers.",
            hint="Use all, daily, weekly, monthly, or the edition that they got: "
            "weekly-2026-12-07.",
        ) from None
    return name


def render(text: Text, *, now: datetime, publication: Publication) -> Rendered:
    """Compile an announcement as it would be made now; changes nothing."""
    made_on = _date(now, publication)
    name = cadences.slug(cadences.EXTRA, made_on)
    return _compile(text, publication, name=name, made_on=made_on, public_id=tokens.new_public_id())


def plan(
    engine: Engine, text: Text, *, now: datetime, publication: Publication, capacity: Capacity
) -> AnnouncementPlan:
    """Return what `freeze` would make, who would get nothing and why, and how long it would take.

    It only reads. Raises NotFound if the edition of the audience does not exist.
    """
    rendered = render(text, now=now, publication=publication)
    body, _ = rendered.message.dump()
    mail = {
        "subject": text.subject,
        "audience": text.audience,
        "octets": len(body),
        "html_octets": rendered.html_octets,
        "rendered": rendered,
    }
    with sessions.snapshot(engine) as session:
        made = announcements.made(session, text.key)
        if made is not None:
            summary = summaries.of(session, made)
            return AnnouncementPlan(summary=summary, is_made=True, **mail)  # type: ignore[arg-type]  # by their names
        addressees, edition = _addressees(session, text)
        counted = plan_audience.count_addressed(session, addressees, at=now)
        domains, books_of = counted.domains[now], _books(session, edition)
        period = _date(now, publication)
        return AnnouncementPlan(
            summary=summaries.summary(
                announcements.next_extra(session, period),
                period,
                state=EditionState.OPEN,
                reason=None,
                audience=domains.total(),
                variants=1,
                counts={State.QUEUED: domains.total()},
            ),
            is_made=False,
            without=[
                *planning.without(counted, domains.total()),
                *_forgotten(session, edition),
            ],
            coming=books.left(books_of),
            pruned=mailings.pruned_accepted(session, mailings.of(edition)) if edition else 0,
            domains=domains,
            forecast=planning.foresee(session, domains, capacity, at=now),
            **mail,  # type: ignore[arg-type]  # by their names
        )


def freeze(
    engine: Engine,
    text: Text,
    *,
    now: datetime,
    publication: Publication,
    actor: str,
    draft: int | None = None,
) -> Summary:
    """Make the edition of an announcement, or return the existing one of an equal text.

    It is one transaction under the freeze lock: the readers who can be mailed at that instant are
    its audience, for good. `draft` is the stored draft that becomes the announcement. Raises
    Conflict if nobody would get it, and for a restored backup; NotFound if the edition of the
    audience does not exist.
    """
    with restore_guard.sending(engine) as session:
        end = sessions.freeze_lock(session, now)
        found = announcements.made(session, text.key)
        stored = _stored(session, draft, found, now=now)
        if found is not None:
            return summaries.of(session, found)
        preferences.resume_due(session, now)
        edition = _create(session, text, now=now, end=end, publication=publication)
        stored.subject, stored.text, stored.audience = text.subject, text.text, text.audience
        stored.updated_at, stored.edition_id = now, edition.id
        session.add(stored)
        session.flush()
        subjects = {f"edition:{edition.name}": text.subject}
        audit.record(
            session, "announce.send", subjects, actor=actor, at=now, after=f"to {text.audience}"
        )
        made = summaries.of(session, edition)
        logged = partial(
            events.EDITION_FROZEN, edition=made.edition, audience=made.audience, variants=1
        )
        sessions.after_commit(session, logged)
        return made


def send(
    engine: Engine,
    text: Text,
    *,
    now: datetime,
    publication: Publication,
    plan: Callable[[], Plan],
    actor: str,
    workers: int = 1,
    on_frozen: Callable[[Summary], None] = lambda _: None,
    on_settled: Callable[[int], None] | None = None,
    on_trouble: Trouble | None = None,
) -> Summary:
    """Make an announcement, unless it was made before, and send its due deliveries.

    Idempotent, also concurrently: a second run sends what is left of it.
    """
    lifecycle.expire(engine, now=now, times=publication.send_times)
    frozen = freeze(engine, text, now=now, publication=publication, actor=actor)
    on_frozen(frozen)
    return sending.deliver(
        engine, frozen, plan=plan, workers=workers, on_settled=on_settled, on_trouble=on_trouble
    )


def _stored(
    session: Session, draft: int | None, made: Edition | None, *, now: datetime
) -> Announcement:
    """Return the row that becomes the announcement, or is it already; raises Conflict."""
    if draft is None:
        return Announcement(subject="", text="", audience="", created_at=now, updated_at=now)
    stored = announcements.by_id(session, draft)
    if made is not None and stored.edition_id != made.id:
        raise Conflict(
            f"The same text went to the same readers as {made.name}.",
            hint="Change it, or discard the draft.",
        )
    return stored if made is not None else announcements.draft(session, draft)


def _create(
    session: Session, text: Text, *, now: datetime, end: datetime, publication: Publication
) -> Edition:
    addressees, of_edition = _addressees(session, text)
    made_on = _date(now, publication)
    edition = store.create(
        session,
        announcements.next_extra(session, made_on),
        made_on,
        coverage_start=end,
        coverage_end=end,
        now=now,
    )
    assert edition is not None
    edition.settled_at = now
    public_id = tokens.new_public_id()
    mailing_id = mailings.add_announcement(
        session,
        edition,
        _compile(text, publication, name=edition.name, made_on=made_on, public_id=public_id),
        key=text.key,
        public_id=public_id,
        frozen=publication.frozen,
        now=now,
    )
    readers = queue.enqueue(
        session,
        mailing_id=mailing_id,
        recipients=audience.addressed(addressees),
        priority=_PRIORITY,
        now=now,
    )
    if not readers:
        raise _nobody(text, of_edition)
    store.set_audience(session, edition, readers)
    return edition


def _addressees(session: Session, text: Text) -> tuple[Addressees, Edition | None]:
    """Return the readers of an announcement, and the edition that they got, if it is for such."""
    if text.audience == ALL:
        return Addressees(), None
    if text.audience in set(Cadence):
        return Addressees(cadence=Cadence(text.audience)), None
    edition = store.by_slug(session, text.audience)
    return Addressees(mailings=mailings.of(edition)), edition


def _books(session: Session, edition: Edition | None) -> dict[State, int]:
    return dict(books.count_states(session, mailings.of(edition))) if edition else {}


def _forgotten(session: Session, edition: Edition | None) -> list[Left]:
    """Return the readers of an edition whose data was erased since."""
    if edition is None:
        return []
    gone = audience.standings(session, mailings.of(edition))["forgotten"]
    return [Left(reason=Reason.FORGOTTEN, readers=gone)] if gone else []


def _nobody(text: Text, edition: Edition | None) -> Conflict:
    if edition is not None:
        return Conflict(
            f"Nobody would get it: of those who got {edition.name}, nobody is known any more and "
            "can be mailed.",
            hint=f"`newsletter delivery list --edition {edition.name}` says what became of it.",
        )
    whom = "no reader" if text.audience == ALL else f"no {text.audience} reader"
    return Conflict(
        f"Nobody would get it: {whom} can be mailed.",
        hint="`newsletter status` counts the readers.",
    )


def _compile(
    text: Text, publication: Publication, *, name: str, made_on: date, public_id: str
) -> Rendered:
    content = AnnouncementContent(subject=text.subject, text=text.text, made_on=made_on)
    return MailRenderer(publication).announcement(content, name=name, public_id=public_id)


def _date(now: datetime, publication: Publication) -> date:
    return now.astimezone(publication.send_times.zone).date()


def _subject(subject: str) -> str:
    if not one_line(subject):
        raise InvalidInput(
            "The announcement has no subject.",
            hint="Begin the text with a heading, such as `# We move`, or name one by --subject.",
        )
    if len(subject) > _LONGEST_SUBJECT:
        raise InvalidInput(
            f"A subject has 1 to {_LONGEST_SUBJECT} characters, not {len(subject):,}.",
            hint="Say the rest in the text.",
        )
    return one_line(subject)
