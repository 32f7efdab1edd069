"""The queries about editions and their mailings. They take a Session and never commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, case, delete, func, insert, or_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from newsletter import cadences, tokens
from newsletter.cadences import Cadence
from newsletter.db import dialects
from newsletter.errors import NotFound
from newsletter.ledger import queue
from newsletter.models import (
    Article,
    Delivery,
    Edition,
    EditionState,
    FreezeLock,
    Kind,
    Mailing,
    MailingArticle,
    Note,
    Role,
    State,
    Subscriber,
)

if TYPE_CHECKING:
    from newsletter.rendering.compile import Rendered

_edition_id = col(Edition.id)
_edition_state = col(Edition.state)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """An edition and its books: the counts of all states sum to the audience."""

    cadence: str
    period: date
    #: Its name: weekly-2026-11-23.
    edition: str
    #: open, finished, skipped, paused, cancelled.
    state: str
    reason: str | None
    audience: int
    variants: int
    accepted: int
    refused: int
    deferred: int
    unknown: int
    cancelled: int
    skipped: int
    queued: int
    claimed: int
    in_flight: int

    @property
    def is_open(self) -> bool:
        """Whether anything of it is still to happen."""
        return bool(self.queued or self.claimed or self.in_flight or self.deferred)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An article as it stands in a mailing, by the title and link that it had at the freeze."""

    article_id: int
    position: int
    role: str
    title: str
    link: str
    #: Whether the article was edited after the freeze; the mailing keeps what it had.
    is_edited: bool


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """One correction of an edition, and its own books: they sum to its readers."""

    subject: str
    created_at: datetime
    readers: int
    #: How many of its deliveries are in each state; none are left out.
    states: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """One mailing of an edition: a variant."""

    mailing_id: int
    public_id: str
    subject: str
    readers: int
    articles: list[Placed]


# Making an edition


def create(
    session: Session,
    cadence: Cadence,
    period: date,
    *,
    coverage_start: datetime,
    coverage_end: datetime,
    now: datetime,
) -> Edition | None:
    """Insert the edition of a period; None if another process inserted it first."""
    row = {
        "cadence": cadence,
        "period": period,
        "state": EditionState.OPEN,
        "coverage_start": coverage_start,
        "coverage_end": coverage_end,
        "audience": 0,
        "created_at": now,
    }
    first = dialects.insert_into(session, Edition).values(row).on_conflict_do_nothing()
    made = session.execute(first.returning(_edition_id)).scalar()
    return find(session, cadence, period) if made else None


def discard_skipped(session: Session, cadence: Cadence, period: date) -> None:
    """Forget that an edition was skipped, so that it can be made after all."""
    session.execute(
        delete(Edition).where(
            col(Edition.cadence) == cadence,
            col(Edition.period) == period,
            _edition_state == EditionState.SKIPPED,
        )
    )


def skip(session: Session, edition: Edition, *, reason: str, now: datetime) -> None:
    """Record that an edition is not sent, and why."""
    _change(session, edition, state=EditionState.SKIPPED, reason=reason, settled_at=now)


def set_audience(session: Session, edition: Edition, audience: int) -> None:
    """Record how many readers an edition has."""
    _change(session, edition, audience=audience)


def last_covered(session: Session, cadence: Cadence) -> datetime | None:
    """Return up to where the editions of a cadence have covered what came.

    That is the end of the last one that was not skipped; if all were, where the first one began.
    """
    was_made = _edition_state != EditionState.SKIPPED
    found: datetime | None = session.execute(
        select_columns(
            func.coalesce(
                func.max(case((was_made, col(Edition.coverage_end)))),
                func.min(col(Edition.coverage_start)),
            )
        ).where(col(Edition.cadence) == cadence)
    ).scalar()
    return found


def add_mailing(
    session: Session,
    edition: Edition,
    rendered: Rendered,
    *,
    public_id: str,
    frozen: Mapping[str, Any],
    now: datetime,
) -> int:
    """Freeze a compiled digest, with what its slots are written with; return its id."""
    digest = {"public_id": public_id, "kind": Kind.DIGEST, "edition_id": edition.id}
    return _freeze(session, rendered, created_at=now, **digest, **frozen)


def add_correction(
    session: Session,
    edition: Edition,
    rendered: Rendered,
    *,
    key: str,
    frozen: Mapping[str, Any],
    now: datetime,
) -> int:
    """Freeze a compiled correction; it is no part of the edition's books. Return its id."""
    correction = {
        "public_id": tokens.new_public_id(),
        "kind": Kind.CORRECTION,
        "corrects_id": edition.id,
        "key": key,
    }
    return _freeze(session, rendered, created_at=now, **correction, **frozen)


def keyed(session: Session, key: str) -> int | None:
    """Return the mailing that says what a key stands for, if there is one."""
    return session.exec(select(Mailing.id).where(Mailing.key == key)).one_or_none()


def _freeze(session: Session, rendered: Rendered, **columns: Any) -> int:  # noqa: ANN401 - a row
    body, fields = rendered.message.dump()
    mailing = Mailing(
        subject=rendered.message.subject,
        body=body,
        fields=fields,
        html=rendered.page,
        **columns,
    )
    session.add(mailing)
    session.flush()
    assert mailing.id is not None
    return mailing.id


def add_articles(
    session: Session, mailing_id: int, *, articles: Sequence[Article], related: Sequence[Article]
) -> None:
    """Record what is in a mailing, as it stood at the freeze; the first of `articles` leads."""
    roles = [Role.LEAD, *[Role.STORY] * (len(articles) - 1), *[Role.RELATED] * len(related)]
    session.execute(
        insert(MailingArticle),
        [
            {
                "mailing_id": mailing_id,
                "article_id": article.id,
                "position": position,
                "role": role,
                "title": article.title,
                "link": article.link,
                "content_hash": article.content_hash,
            }
            for position, (article, role) in enumerate(
                zip([*articles, *related], roles, strict=True), start=1
            )
        ],
    )


def sent_at(session: Session, ends: Collection[datetime]) -> set[int]:
    """Return the articles in the editions whose coverage ended at one of `ends`.

    Those are what the readers with these watermarks were sent last.
    """
    found = session.execute(
        select_columns(col(MailingArticle.article_id))
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .join(Edition, _edition_id == col(Mailing.edition_id))
        .where(col(Edition.coverage_end).in_(ends))
        .distinct()
    )
    return set(found.scalars())


# The editor's notes


def waiting_note(session: Session, cadence: Cadence) -> Note | None:
    """Return the note that the next edition of a cadence takes, if one waits."""
    return session.exec(
        select(Note).where(Note.cadence == cadence, col(Note.edition_id).is_(None))
    ).one_or_none()


def add_note(session: Session, cadence: Cadence, text: str, *, now: datetime) -> Note:
    """Have a note wait for the next edition; there must be none that waits already."""
    made = Note(cadence=cadence, text=text, created_at=now)
    session.add(made)
    session.flush()
    return made


def discard_note(session: Session, cadence: Cadence) -> None:
    """Delete the note that waits for the next edition of a cadence."""
    session.execute(
        delete(Note).where(col(Note.cadence) == cadence, col(Note.edition_id).is_(None))
    )


def take_note(session: Session, edition: Edition) -> str:
    """Give the note that waits to an edition, and return it as it was written; "" for none."""
    found = waiting_note(session, Cadence(edition.cadence))
    if found is None:
        return ""
    found.edition_id = edition.id
    session.flush()
    return found.text


def note_of(session: Session, edition: Edition) -> Note | None:
    """Return the note that an edition has, if it has one."""
    return session.exec(select(Note).where(Note.edition_id == edition.id)).one_or_none()


# Settling


def unsettled(session: Session) -> list[tuple[Edition, bool]]:
    """Return the editions whose watermarks may still move, and whether a row of each is open."""
    found = session.execute(
        select_columns(Edition, _has_open_row()).where(col(Edition.settled_at).is_(None))
    )
    return [(edition, is_open) for edition, is_open in found]


def settle(session: Session, edition: Edition) -> None:
    """Move the watermark of everyone who got an edition, or may have got it, to its end.

    Watermarks never move back, so it may be done at any time and again.
    """
    arrived = select_columns(col(Delivery.reference)).where(
        col(Delivery.mailing_id).in_(mailings(edition)),
        col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN)),
    )
    watermark = col(Subscriber.watermark)
    session.execute(
        update(Subscriber)
        .where(
            col(Subscriber.public_id).in_(arrived),
            or_(watermark.is_(None), watermark < edition.coverage_end),
        )
        .values(watermark=edition.coverage_end)
        .execution_options(synchronize_session=False)
    )


def close_books(session: Session, edition: Edition, *, now: datetime) -> None:
    """Note that an edition is settled for good: none of its rows was open, and all are counted."""
    _change(session, edition, settled_at=now)


def mailing_ids(session: Session, editions: Iterable[Edition]) -> list[int]:
    """Return the ids of the mailings of some editions."""
    found = mailings_of([edition.id for edition in editions])
    return list(session.execute(found).scalars())


# Changing the state


def change_state(
    session: Session,
    edition: Edition,
    state: EditionState,
    *,
    among: Collection[EditionState],
    reason: str | None = None,
) -> bool:
    """Move an edition to `state` if it is in one of `among`; tell whether it was."""
    changed = session.execute(
        update(Edition)
        .where(_edition_id == edition.id, _edition_state.in_(among))
        .values(state=state, reason=reason)
        .returning(_edition_id)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.scalars().all())


def finish(session: Session, *, now: datetime) -> list[str]:
    """Finish the editions that have no open row left; return their names."""
    finished = session.execute(
        update(Edition)
        .where(_edition_state.in_((EditionState.OPEN, EditionState.PAUSED)), ~_has_open_row())
        .values(state=EditionState.FINISHED, finished_at=now)
        .returning(col(Edition.cadence), col(Edition.period))
        .execution_options(synchronize_session=False)
    )
    return [cadences.slug(Cadence(cadence), period) for cadence, period in finished]


def mailings(edition: Edition) -> Select[Any]:
    """Select the ids of the mailings of an edition."""
    return mailings_of([edition.id])


def reopen(session: Session) -> list[str]:
    """Open finished editions of which a row is to be tried again; return their names."""
    reopened = session.execute(
        update(Edition)
        .where(_edition_state == EditionState.FINISHED, _has_open_row())
        .values(state=EditionState.OPEN, finished_at=None, settled_at=None)
        .returning(col(Edition.cadence), col(Edition.period))
        .execution_options(synchronize_session=False)
    )
    return [cadences.slug(Cadence(cadence), period) for cadence, period in reopened]


def mailings_of(edition_ids: Collection[int | None]) -> Select[Any]:
    """Select the ids of the mailings of some editions."""
    return select_columns(col(Mailing.id)).where(col(Mailing.edition_id).in_(edition_ids))


def settled_mailings(before: datetime) -> Select[Any]:
    """Select the mailings of the editions whose coverage ended before, and that are settled."""
    return _mailings_where(col(Edition.settled_at).is_not(None), col(Edition.coverage_end) < before)


def editions_of(session: Session, mailings: Select[Any]) -> dict[int, int]:
    """Return the edition of each of `mailings`."""
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.edition_id)).where(
            col(Mailing.id).in_(mailings)
        )
    )
    return {row.id: row.edition_id for row in found}


def mailings_among(ids: Collection[int]) -> Select[Any]:
    """Select those of some mailings that are there."""
    return select_columns(col(Mailing.id)).where(col(Mailing.id).in_(ids))


def withheld_mailings() -> Select[Any]:
    """Select the mailings that no worker may claim.

    Those of editions that are paused or cancelled; and what corrects one that is paused.
    """
    corrects = col(Mailing.corrects_id) == _edition_id
    return (
        select_columns(col(Mailing.id))
        .join(Edition, (_edition_id == col(Mailing.edition_id)) | corrects)
        .where(
            (_edition_state == EditionState.PAUSED)
            | ((_edition_state == EditionState.CANCELLED) & ~corrects)
        )
    )


def corrections_of(edition: Edition) -> Select[Any]:
    """Select the ids of the mailings that correct an edition."""
    return select_columns(col(Mailing.id)).where(col(Mailing.corrects_id) == edition.id)


def unless_withheld(mailings: Select[Any]) -> Select[Any]:
    """Select those of some mailings that workers may claim, whenever it is asked."""
    return mailings.where(col(Mailing.id).not_in(withheld_mailings()))


def _mailings_where(*conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select_columns(col(Mailing.id))
        .join(Edition, _edition_id == col(Mailing.edition_id))
        .where(*conditions)
    )


def cancelled_mailings(*, and_of: Collection[int | None] = ()) -> Select[Any]:
    """Select the mailings of cancelled editions, and of some more."""
    is_cancelled = _edition_state == EditionState.CANCELLED
    return _mailings_where(is_cancelled | _edition_id.in_(and_of))


# Asking


def began_at(session: Session) -> datetime:
    """Return when the publication was set up."""
    return session.exec(select(FreezeLock.created_at)).one()


def find(session: Session, cadence: Cadence, period: date) -> Edition | None:
    """Return the edition of a period, if it was made or skipped."""
    return session.exec(
        select(Edition).where(Edition.cadence == cadence, Edition.period == period)
    ).one_or_none()


def is_first(session: Session, cadence: Cadence, *, end: datetime) -> bool:
    """Say whether no edition of a cadence was made, other than skipped, that ended before `end`."""
    found = session.exec(
        select(Edition.id)
        .where(
            Edition.cadence == cadence,
            _edition_state != EditionState.SKIPPED,
            col(Edition.coverage_end) < end,
        )
        .limit(1)
    )
    return found.first() is None


def edition_with(session: Session, article_id: int, *, but_cancelled: bool = False) -> str | None:
    """Return the name of the latest edition that has an article as its lead or as a story.

    With `but_cancelled`, of those that were not cancelled. None if there is none.
    """
    chosen = (
        select(Edition)
        .join(Mailing, col(Mailing.edition_id) == _edition_id)
        .join(MailingArticle, col(MailingArticle.mailing_id) == col(Mailing.id))
        .where(
            col(MailingArticle.article_id) == article_id,
            col(MailingArticle.role) != Role.RELATED,
        )
        .order_by(col(Edition.coverage_end).desc())
        .limit(1)
    )
    if but_cancelled:
        chosen = chosen.where(_edition_state != EditionState.CANCELLED)
    found = session.exec(chosen).first()
    return cadences.slug(Cadence(found.cadence), found.period) if found else None


def by_slug(session: Session, slug: str) -> Edition:
    """Return the edition of a name such as weekly-2026-11-23; raises NotFound."""
    cadence, period = cadences.parse_slug(slug)
    found = find(session, cadence, period)
    if found is None:
        raise NotFound(
            f"There is no edition {slug}.", hint="`newsletter editions list` shows them all."
        )
    return found


def in_states(session: Session, states: Collection[EditionState]) -> list[Edition]:
    """Return the editions in one of `states`, the oldest first."""
    return list(
        session.exec(
            select(Edition).where(_edition_state.in_(states)).order_by(col(Edition.coverage_end))
        )
    )


def recent(session: Session, *, cadence: Cadence | None = None, limit: int = 10) -> list[Summary]:
    """Return the latest editions, the newest first."""
    chosen = select(Edition).order_by(col(Edition.coverage_end).desc()).limit(limit)
    if cadence is not None:
        chosen = chosen.where(Edition.cadence == cadence)
    return summaries(session, list(session.exec(chosen)))


def summary(session: Session, edition: Edition) -> Summary:
    """Return an edition with its books."""
    return summaries(session, [edition])[0]


def summaries(session: Session, editions: Sequence[Edition]) -> list[Summary]:
    """Return editions with their books, in two statements."""
    ids = [edition.id for edition in editions]
    variants = _variants(session, ids)
    counts = _counts(session, ids)
    return [
        _summary(edition, variants[edition.id], counts.get(edition.id, {})) for edition in editions
    ]


def contents(session: Session, edition: Edition) -> list[Contents]:
    """Return the mailings of an edition and what is in them, the largest first."""
    readers = queue.size()
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.public_id), col(Mailing.subject), readers)
        .where(col(Mailing.edition_id) == edition.id)
        .order_by(readers.desc(), col(Mailing.id))
    )
    return [
        Contents(
            mailing_id=mailing_id,
            public_id=public_id,
            subject=subject,
            readers=count,
            articles=_placed(session, mailing_id),
        )
        for mailing_id, public_id, subject, count in found.all()
    ]


def corrections(session: Session, edition: Edition) -> list[Corrected]:
    """Return what was corrected of an edition, in order."""
    mailings = corrections_of(edition)
    books = queue.books(mailings)
    states: dict[int, dict[str, int]] = {}
    for mailing_id, state, rows in session.execute(select_columns(*books.c)):
        states.setdefault(mailing_id, {})[state] = rows
    found = session.execute(
        select_columns(col(Mailing.id), col(Mailing.subject), col(Mailing.created_at))
        .where(col(Mailing.corrects_id) == edition.id)
        .order_by(col(Mailing.id))
    )
    return [
        Corrected(
            subject=subject,
            created_at=created_at,
            readers=sum(states[mailing_id].values()),
            states=states[mailing_id],
        )
        for mailing_id, subject, created_at in found
    ]


def holding(edition: Edition, article_id: int) -> Select[Any]:
    """Select the mailings of an edition that hold an article: as the lead or as a story.

    Not where it is only named as related: such a mail has its headline alone, with a link to the
    site, where it stands as it is today. What it said came with the edition that had it as a story.
    """
    return (
        select_columns(col(MailingArticle.mailing_id))
        .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
        .where(
            col(Mailing.edition_id) == edition.id,
            col(MailingArticle.article_id) == article_id,
            col(MailingArticle.role) != Role.RELATED,
        )
    )


def placements(session: Session, edition: Edition) -> list[MailingArticle]:
    """Return each article of an edition as it stands in each of its mailings."""
    return list(
        session.exec(
            select(MailingArticle)
            .join(Mailing, col(Mailing.id) == col(MailingArticle.mailing_id))
            .where(Mailing.edition_id == edition.id)
        )
    )


def pruned_accepted(session: Session, mailings: Select[Any]) -> int:
    """Return how many accepted deliveries of `mailings` were pruned: to whom is not known."""
    found: int | None = session.execute(
        select_columns(func.sum(col(Mailing.pruned_accepted))).where(col(Mailing.id).in_(mailings))
    ).scalar()
    return int(found or 0)


def _placed(session: Session, mailing_id: int) -> list[Placed]:
    found = session.execute(
        select_columns(MailingArticle, col(Article.content_hash))
        .join(Article, col(Article.id) == col(MailingArticle.article_id))
        .where(col(MailingArticle.mailing_id) == mailing_id)
        .order_by(col(MailingArticle.position))
    )
    return [
        Placed(
            article_id=entry.article_id,
            position=entry.position,
            role=entry.role,
            title=entry.title,
            link=entry.link,
            is_edited=content_hash != entry.content_hash,
        )
        for entry, content_hash in found
    ]


def _variants(session: Session, edition_ids: Collection[int | None]) -> Counter[int | None]:
    found = session.execute(
        select_columns(col(Mailing.edition_id), func.count().label("mailings"))
        .where(col(Mailing.edition_id).in_(edition_ids))
        .group_by(col(Mailing.edition_id))
    )
    return Counter({row.edition_id: row.mailings for row in found})


def _counts(
    session: Session, edition_ids: Collection[int | None]
) -> dict[int | None, dict[str, int]]:
    books = queue.books(mailings_of(edition_ids))
    found = session.execute(
        select_columns(col(Mailing.edition_id), books.c.state, func.sum(books.c.rows))
        .join(books, books.c.mailing_id == col(Mailing.id))
        .group_by(col(Mailing.edition_id), books.c.state)
    )
    counts: dict[int | None, dict[str, int]] = {}
    for edition_id, state, count in found:
        counts.setdefault(edition_id, {})[state] = int(count)
    return counts


def _summary(edition: Edition, variants: int, counts: Mapping[str, int]) -> Summary:
    return Summary(
        cadence=edition.cadence,
        period=edition.period,
        edition=cadences.slug(Cadence(edition.cadence), edition.period),
        state=edition.state,
        reason=edition.reason,
        audience=edition.audience,
        variants=variants,
        accepted=counts.get(State.ACCEPTED, 0),
        refused=counts.get(State.REFUSED, 0),
        deferred=counts.get(State.DEFERRED, 0),
        unknown=counts.get(State.UNKNOWN, 0),
        cancelled=counts.get(State.CANCELLED, 0),
        skipped=counts.get(State.SKIPPED, 0),
        queued=counts.get(State.QUEUED, 0),
        claimed=counts.get(State.CLAIMED, 0),
        in_flight=counts.get(State.IN_FLIGHT, 0),
    )


def _has_open_row() -> Any:  # noqa: ANN401 - an SQL expression
    mailings = (
        select_columns(col(Mailing.id))
        .where(col(Mailing.edition_id) == _edition_id)
        .correlate(Edition)
    )
    return queue.is_open(mailings)


def _change(session: Session, edition: Edition, **values: object) -> None:
    for name, value in values.items():
        setattr(edition, name, value)
    session.flush()
