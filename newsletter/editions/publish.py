"""Makes editions: one transaction selects articles and readers, and queues the deliveries.

Nothing is sent here; `lifecycle` has the later changes of an edition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import cadences, tokens
from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import assemble, audience, mailings, periods, store, summaries
from newsletter.editions.assemble import Batch, Variant
from newsletter.editions.audience import Audience
from newsletter.editions.compose import MailRenderer
from newsletter.editions.summaries import Summary
from newsletter.errors import NotFound
from newsletter.ledger import cancellation, queue
from newsletter.logs import events
from newsletter.models import Article, Edition, EditionState
from newsletter.publication import Publication
from newsletter.rendering.compile import Rendered
from newsletter.subscribers import next_digest, preferences

#: The priority of digests: after letters and corrections.
_PRIORITY = 2


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """Values shared by all variants of an edition."""

    publication: Publication
    #: The end of the edition's coverage.
    end: datetime
    #: The time of the edition before; an article that was pinned after it leads this one.
    pinned_after: datetime
    #: Excluded categories, in the spellings that articles have.
    without: frozenset[str]
    #: Future periods of the cadence that an editor has skipped.
    skipped: frozenset[date]
    #: Whether the edition is the first of its cadence.
    is_first: bool

    @classmethod
    def of(
        cls,
        session: Session,
        cadence: Cadence,
        publication: Publication,
        *,
        pinned_after: datetime,
        end: datetime,
    ) -> _Choice:
        return cls(
            publication=publication,
            end=end,
            pinned_after=pinned_after,
            without=articles.spellings(session, publication.skip_categories),
            skipped=next_digest.skipped_ahead(session, now=end)[cadence],
            is_first=store.is_first(session, cadence, end=end),
        )


class _Rehearsed(Exception):
    """Raised to roll back a rehearsal; carries its result."""

    def __init__(self, summary: Summary) -> None:
        super().__init__()
        self.summary = summary


def freeze(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    publication: Publication,
    force: bool = False,
) -> Summary:
    """Make the edition of the newest due period, or return the existing one.

    It is one transaction, under the lock that is also held when articles get their `seen_at`:

    1. The coverage ends at the instant of the lock. 2. A guarded insert creates the edition once,
    however many processes try. 3. Readers whose pause has ended become active. 4. The watermarks of
    earlier editions are settled. 5. Readers are counted by the start of their coverage; starts with
    the same articles form one variant. 6. Without any variant, the edition is skipped with a
    reason, and watermarks do not change. 7. Earlier deliveries to the same readers are superseded;
    each variant is compiled once and queued in one statement.

    With `force`, a skipped edition is made again. Raises Conflict for a restored backup.
    """
    with restore_guard.sending(engine) as session:
        return _freeze(session, cadence, now=now, publication=publication, force=force)


def rehearse(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    publication: Publication,
    force: bool = False,
) -> Summary:
    """Return the result that `freeze` would have, and roll it back; nothing is sent."""
    try:
        with sessions.writing(engine) as session:
            summary = _freeze(session, cadence, now=now, publication=publication, force=force)
            raise _Rehearsed(summary)  # noqa: TRY301 - the transaction itself has to see it
    except _Rehearsed as done:
        return done.summary


def preview(
    engine: Engine, cadence: Cadence, *, now: datetime, publication: Publication
) -> Rendered:
    """Compile the digest that a new reader would get now.

    If there are no articles since the last edition, those of the last period are used; raises
    NotFound if there are none either.
    """
    with sessions.reading(engine) as session:
        start = periods.coverage_start(session, cadence, end=now, publication=publication)
        choice = _Choice.of(session, cadence, publication, pinned_after=start, end=now)
        batch = _batch(session, start, readers=1, choice=choice)
        if not batch.articles:
            batch = _batch(session, now - cadence.length, readers=1, choice=choice)
        if not batch.articles:
            raise NotFound(
                "There are no new articles to preview.",
                hint="Run `newsletter feeds fetch`, or add one by `newsletter articles add`.",
            )
        (variant,) = assemble.variants([batch], min_articles=1)
        waiting = store.waiting_note(session, cadence)
        content = assemble.content(
            variant,
            cadence=cadence,
            period=cadences.newest_due(cadence, now, publication.send_times),
            end=now,
            related=_related(session, variant, choice),
            times=publication.send_times,
            skipped=choice.skipped,
            is_first=choice.is_first,
            note=waiting.text if waiting else "",
        )
    return MailRenderer(publication).digest(content, public_id=tokens.new_public_id())


def _freeze(
    session: Session, cadence: Cadence, *, now: datetime, publication: Publication, force: bool
) -> Summary:
    end = sessions.freeze_lock(session, now)
    period = cadences.newest_due(cadence, now, publication.send_times)
    # Read before the skipped edition is deleted, whose row may be the only record of the start.
    start = periods.coverage_start(session, cadence, end=end, publication=publication)
    if force:
        store.discard_skipped(session, cadence, period)
    edition = store.create(
        session,
        cadence,
        period,
        coverage_start=start,
        coverage_end=end,
        now=now,
    )
    if edition is None:
        edition = store.find(session, cadence, period)
        assert edition is not None
        return summaries.of(session, edition)
    _fill(session, edition, publication)
    summary = summaries.of(session, edition)
    sessions.after_commit(session, partial(_log, summary))
    return summary


def _log(made: Summary) -> None:
    if made.state == EditionState.SKIPPED:
        events.EDITION_SKIPPED(edition=made.edition, message=made.reason)
    else:
        events.EDITION_FROZEN(edition=made.edition, audience=made.audience, variants=made.variants)


def _fill(session: Session, edition: Edition, publication: Publication) -> None:
    """Settle earlier editions, select readers and articles, and queue; or skip the edition."""
    # The lock's instant may be slightly ahead of the clock, so it is used only as end of coverage.
    cadence, now, end = Cadence(edition.cadence), edition.created_at, edition.coverage_end
    preferences.resume_due(session, now)
    chosen = Audience(
        cadence=cadence,
        coverage_start=edition.coverage_start,
        window_start=assemble.window_start(cadence, end=end, catch_up=publication.catch_up),
        earlier=_settle(session, edition, now=now),
    )
    audience.remember(session, chosen)
    choice = _Choice.of(session, cadence, publication, pinned_after=edition.coverage_start, end=end)
    batches = [
        _batch(session, start, readers=count, choice=choice)
        for start, count in audience.count_by_start(session, chosen).items()
    ]
    variants = assemble.variants(batches, min_articles=publication.min_articles)
    if variants:
        _queue(session, edition, chosen, variants, choice)
        return
    reason = assemble.why_skipped(
        cadence,
        batches,
        readers=audience.count_active(session, cadence),
        min_articles=publication.min_articles,
    )
    store.skip(session, edition, reason=reason, now=now)


def _settle(session: Session, edition: Edition, *, now: datetime) -> list[int]:
    """Move the watermarks of earlier editions; return the mailings of those with open rows.

    An edition is closed only if it had no open row *before* its watermarks were moved: outcomes
    that a worker records in between are settled the next time.
    """
    earlier = [(one, is_open) for one, is_open in store.unsettled(session) if one.id != edition.id]
    for one, is_open in earlier:
        store.settle(session, one)
        if not is_open:
            store.close_books(session, one, now=now)
    return mailings.ids(session, [one for one, is_open in earlier if is_open])


def _queue(
    session: Session,
    edition: Edition,
    chosen: Audience,
    variants: Sequence[Variant],
    choice: _Choice,
) -> None:
    now = edition.created_at
    starts = [start for variant in variants for start in variant.starts]
    if chosen.earlier:
        cancellation.supersede(
            session,
            references=audience.references(chosen, starts),
            mailings=mailings.among(chosen.earlier),
            now=now,
        )
    renderer = MailRenderer(choice.publication)
    note = store.take_note(session, edition)
    readers = 0
    for variant in variants:
        mailing_id = _compile(session, edition, variant, renderer, choice=choice, note=note)
        readers += queue.enqueue(
            session,
            mailing_id=mailing_id,
            recipients=audience.recipients(chosen, variant.starts),
            priority=_PRIORITY,
            now=now,
        )
    audience.begin(session, chosen)
    store.set_audience(session, edition, readers)


def _compile(
    session: Session,
    edition: Edition,
    variant: Variant,
    renderer: MailRenderer,
    *,
    choice: _Choice,
    note: str,
) -> int:
    related = _related(session, variant, choice)
    content = assemble.content(
        variant,
        cadence=Cadence(edition.cadence),
        period=edition.period,
        end=choice.end,
        related=related,
        times=choice.publication.send_times,
        skipped=choice.skipped,
        is_first=choice.is_first,
        note=note,
    )
    public_id = tokens.new_public_id()
    rendered = renderer.digest(content, public_id=public_id)
    mailing_id = mailings.add_digest(
        session,
        edition,
        rendered,
        public_id=public_id,
        frozen=choice.publication.frozen,
        now=edition.created_at,
    )
    mailings.add_articles(session, mailing_id, articles=variant.articles, related=related)
    return mailing_id


def _batch(session: Session, start: datetime, *, readers: int, choice: _Choice) -> Batch:
    limit = choice.publication.catch_up_articles
    found = articles.between(
        session,
        start=start,
        end=choice.end,
        limit=limit,
        without=choice.without,
        pinned_after=choice.pinned_after,
    )
    total = len(found)
    if total == limit:
        total = articles.count_between(session, start=start, end=choice.end, without=choice.without)
    chosen = assemble.in_order(found, pinned_after=choice.pinned_after)
    return Batch(start=start, readers=readers, articles=tuple(chosen), total=total)


def _related(session: Session, variant: Variant, choice: _Choice) -> list[Article]:
    """Return earlier articles in the lead's categories that were not sent to these readers last."""
    sent = mailings.sent_at(session, variant.starts)
    return articles.earlier_in_categories(
        session,
        categories=variant.lead.categories,
        before=variant.starts[0],
        exclude_ids=sent | {one.id for one in variant.articles if one.id is not None},
        limit=assemble.RELATED,
        without=choice.without,
    )
