"""Makes editions: one transaction selects articles and readers, and queues the deliveries.

Nothing is sent here; `lifecycle` has the later changes of an edition. `plan` shows what `freeze`
would do, by the same queries; tests/integration/editions/test_plan.py compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit, cadences, tokens
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import (
    assemble,
    audience,
    clicks,
    composition,
    mailings,
    periods,
    store,
    summaries,
)
from newsletter.editions.assemble import Variant
from newsletter.editions.audience import Audience
from newsletter.editions.compose import MailRenderer
from newsletter.editions.composition import Composition
from newsletter.editions.summaries import Summary
from newsletter.errors import NotFound
from newsletter.ledger import cancellation, queue
from newsletter.logs import events
from newsletter.models import Edition, EditionState
from newsletter.publication import Publication
from newsletter.rendering.compile import Rendered
from newsletter.subscribers import preferences

#: The priority of digests: after letters and corrections.
_PRIORITY = 2


def freeze(
    engine: Engine,
    cadence: Cadence,
    *,
    now: datetime,
    publication: Publication,
    force: bool = False,
    actor: str | None = None,
) -> Summary:
    """Make the edition of the newest due period, or return the existing one.

    It is one transaction, under the lock that is also held when articles get their `seen_at`:

    1. The coverage ends at the instant of the lock.
    2. A guarded insert creates the edition once, however many processes try.
    3. Readers whose pause has ended become active.
    4. The watermarks of earlier editions are settled.
    5. Readers are counted by the start of their coverage; starts with the same articles form one
       variant.
    6. Without any variant, the edition is skipped with a reason, and watermarks do not change.
    7. Earlier deliveries to the same readers are superseded; each variant is compiled once and
       queued in one statement.

    With `force`, a skipped edition is made again. If a person makes it, `actor`, it is recorded in
    the audit log. Raises Conflict for a restored backup.
    """
    with restore_guard.sending(engine) as session:
        made, is_new = _freeze(session, cadence, now=now, publication=publication, force=force)
        if is_new and actor is not None:
            subjects = {f"edition:{made.edition}": made.reason or f"{made.audience:,} readers"}
            audit.record(session, "editions.send", subjects, actor=actor, at=now, after=made.state)
        return made


def preview(
    engine: Engine, cadence: Cadence, *, now: datetime, publication: Publication
) -> Rendered:
    """Compile the digest that a new reader would get now.

    If there are no articles since the last edition, those of the last period are used; raises
    NotFound if there are none either.
    """
    with sessions.reading(engine) as session:
        start = periods.coverage_start(session, cadence, end=now, publication=publication)
        period = cadences.newest_due(cadence, now, publication.send_times)
        chosen = Composition.of(session, cadence, period, publication, pinned_after=start, end=now)
        batch = composition.batch(session, start, readers=1, composition=chosen)
        if not batch.articles:
            start = now - cadence.length
            batch = composition.batch(session, start, readers=1, composition=chosen)
        if not batch.articles:
            raise NotFound(
                "There are no new articles to preview.",
                hint="Run `newsletter feeds fetch`, or add one by `newsletter articles add`.",
            )
        (variant,) = assemble.variants([batch], min_articles=1)
        waiting = store.waiting_note(session, cadence)
        return composition.compiled(
            session,
            variant,
            chosen,
            MailRenderer(publication),
            note=waiting.text if waiting else "",
            public_id=tokens.new_public_id(),
            are_links_direct=True,
        ).rendered


def _freeze(
    session: Session, cadence: Cadence, *, now: datetime, publication: Publication, force: bool
) -> tuple[Summary, bool]:
    """Make the edition, unless it exists; return it, and whether it was made by this call."""
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
        return summaries.of(session, edition), False
    _fill(session, edition, publication)
    summary = summaries.of(session, edition)
    sessions.after_commit(session, partial(_log, summary))
    return summary, True


def _log(made: Summary) -> None:
    if made.state == EditionState.SKIPPED:
        events.EDITION_SKIPPED(edition=made.edition, message=made.reason)
    else:
        events.EDITION_FROZEN(edition=made.edition, audience=made.audience, variants=made.variants)


def _fill(session: Session, edition: Edition, publication: Publication) -> None:
    """Settle earlier editions, select readers and articles, and queue; or skip the edition."""
    # The lock's instant may be slightly ahead of the clock, so it is used only as end of coverage.
    cadence, now, end = Cadence(edition.cadence), edition.created_at, edition.coverage_end
    start = edition.coverage_start
    preferences.resume_due(session, now)
    chosen = Audience(
        cadence=cadence,
        coverage_start=start,
        window_start=assemble.window_start(cadence, end=end, catch_up=publication.catch_up),
        earlier=_settle(session, edition, now=now),
    )
    audience.remember(session, chosen)
    shared = Composition.of(
        session, cadence, edition.period, publication, pinned_after=start, end=end
    )
    found = composition.contents(
        session,
        shared,
        audience.count_by_start(session, chosen),
        count_active=lambda: audience.count_active(session, cadence),
    )
    if found.why_skipped is None:
        _queue(session, edition, chosen, found.variants, shared)
    else:
        store.skip(session, edition, reason=found.why_skipped, now=now)


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
    shared: Composition,
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
    renderer = MailRenderer(shared.publication)
    note = store.take_note(session, edition)
    readers = 0
    for variant in variants:
        mailing_id = _compile(session, edition, variant, renderer, shared=shared, note=note)
        readers += queue.enqueue(
            session,
            mailing_id=mailing_id,
            recipients=audience.recipients(chosen, variant.starts),
            priority=_PRIORITY,
            now=now,
        )
    if shared.publication.count_clicks:
        clicks.begin(session, edition)
    store.write_order(session, shared.cadence, (), now=now)
    audience.begin(session, chosen)
    store.set_audience(session, edition, readers)


def _compile(
    session: Session,
    edition: Edition,
    variant: Variant,
    renderer: MailRenderer,
    *,
    shared: Composition,
    note: str,
) -> int:
    public_id = tokens.new_public_id()
    mail = composition.compiled(session, variant, shared, renderer, note=note, public_id=public_id)
    mailing_id = mailings.add_digest(
        session,
        edition,
        mail.rendered,
        public_id=public_id,
        frozen=shared.publication.frozen,
        now=edition.created_at,
    )
    mailings.add_articles(session, mailing_id, articles=variant.articles, related=mail.related)
    return mailing_id
