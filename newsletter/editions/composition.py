"""Composes an edition: the articles and the mail of each variant.

Freezes, plans and previews share these functions, so that their results agree. No function changes
the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlmodel import Session

from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.editions import assemble, mailings, store
from newsletter.editions.assemble import Batch, Variant
from newsletter.editions.compose import MailRenderer
from newsletter.models import Article
from newsletter.publication import Publication
from newsletter.rendering.compile import Rendered
from newsletter.subscribers import next_digest


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Values shared by all variants of an edition."""

    publication: Publication
    cadence: Cadence
    period: date
    #: The end of the edition's coverage.
    end: datetime
    #: An article pinned after this instant, since the previous edition, is the lead.
    pinned_after: datetime
    #: The ids of the articles that come first, as an editor has ordered them.
    order: tuple[int, ...]
    #: Omitted categories, as spelled in articles.
    without: frozenset[str]
    #: The future periods of the cadence that will have no edition.
    skipped: frozenset[date]
    #: Whether the edition is the first of its cadence.
    is_first: bool

    @classmethod
    def of(
        cls,
        session: Session,
        cadence: Cadence,
        period: date,
        publication: Publication,
        *,
        pinned_after: datetime,
        end: datetime,
    ) -> Composition:
        """Read the values that all variants share."""
        return cls(
            publication=publication,
            cadence=cadence,
            period=period,
            end=end,
            pinned_after=pinned_after,
            order=store.waiting_order(session, cadence),
            without=articles.spellings(session, publication.skip_categories),
            skipped=next_digest.skipped_ahead(session, now=end)[cadence],
            is_first=store.is_first(session, cadence, end=end),
        )


@dataclass(frozen=True)
class Contents:
    """The variants of an edition, the largest first; or, if none, why the edition is skipped."""

    variants: list[Variant]
    why_skipped: str | None


@dataclass(frozen=True)
class Mail:
    """The mail of one variant, and the related articles below its lead."""

    rendered: Rendered
    related: list[Article]


def contents(
    session: Session,
    composition: Composition,
    readers: Mapping[datetime, int],
    *,
    count_active: Callable[[], int],
) -> Contents:
    """Choose the articles; `readers` has the number of readers for each coverage start.

    `count_active` returns the number of readers of the cadence; called only if nothing is sent.
    """
    batches = [
        batch(session, start, readers=count, composition=composition)
        for start, count in sorted(readers.items())
    ]
    least = composition.publication.min_articles
    if variants := assemble.variants(batches, min_articles=least):
        return Contents(variants, None)
    reason = assemble.why_skipped(
        composition.cadence, batches, readers=count_active(), min_articles=least
    )
    return Contents([], reason)


def batch(session: Session, start: datetime, *, readers: int, composition: Composition) -> Batch:
    """Return the articles that are new for readers with coverage from `start`, in mail order."""
    limit = composition.publication.catch_up_articles
    end, without = composition.end, composition.without
    found = articles.between(
        session,
        start=start,
        end=end,
        limit=limit,
        without=without,
        pinned_after=composition.pinned_after,
    )
    total = len(found)
    if total == limit:
        total = articles.count_between(session, start=start, end=end, without=without)
    chosen = assemble.in_order(
        found, pinned_after=composition.pinned_after, order=composition.order
    )
    return Batch(start=start, readers=readers, articles=tuple(chosen), total=total)


def compiled(
    session: Session,
    variant: Variant,
    composition: Composition,
    renderer: MailRenderer,
    *,
    note: str,
    public_id: str,
    are_links_direct: bool = False,
) -> Mail:
    """Compile the mail of a variant; `public_id` is that of its mailing.

    With `are_links_direct`, no link is counted, whatever the publication says.
    """
    related = _related(session, variant, composition)
    content = assemble.content(
        variant,
        cadence=composition.cadence,
        period=composition.period,
        end=composition.end,
        related=related,
        times=composition.publication.send_times,
        skipped=composition.skipped,
        is_first=composition.is_first,
        note=note,
    )
    is_counted = composition.publication.count_clicks and not are_links_direct
    linked = [*variant.articles, *related] if is_counted else []
    counted = [one.id for one in linked if one.id is not None]
    return Mail(renderer.digest(content, public_id=public_id, counted=counted), related)


def _related(session: Session, variant: Variant, composition: Composition) -> list[Article]:
    """Return earlier articles related to the lead that these readers did not get recently."""
    sent = mailings.sent_at(session, variant.starts)
    return articles.earlier_in_categories(
        session,
        categories=variant.lead.categories,
        before=variant.starts[0],
        exclude_ids=sent | {one.id for one in variant.articles if one.id is not None},
        limit=assemble.RELATED,
        without=composition.without,
    )
