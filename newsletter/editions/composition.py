"""What an edition consists of: the articles of each variant, and its mail.

The freeze, a plan and a preview take it from here, so that they cannot differ. Every function reads
only.
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
    #: Where its coverage ends.
    end: datetime
    #: An article leads that was pinned after this, since the edition before.
    pinned_after: datetime
    #: Categories that are left out, as articles spell them.
    without: frozenset[str]
    #: The periods of its cadence to come that will have no edition.
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
        """Read what all variants share."""
        return cls(
            publication=publication,
            cadence=cadence,
            period=period,
            end=end,
            pinned_after=pinned_after,
            without=articles.spellings(session, publication.skip_categories),
            skipped=next_digest.skipped_ahead(session, now=end)[cadence],
            is_first=store.is_first(session, cadence, end=end),
        )


@dataclass(frozen=True)
class Contents:
    """The variants of an edition, the largest first; without any, why it is skipped."""

    variants: list[Variant]
    why_skipped: str | None


@dataclass(frozen=True)
class Mail:
    """The mail of one variant, and the earlier articles under its lead."""

    rendered: Rendered
    related: list[Article]


def contents(
    session: Session,
    composition: Composition,
    readers: Mapping[datetime, int],
    *,
    count_active: Callable[[], int],
) -> Contents:
    """Choose the articles for `readers`, counted by where they begin.

    `count_active` returns how many readers the cadence has; called where nothing is sent.
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
    """Return what is new for readers who begin at `start`, in the order of the mail."""
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
    chosen = assemble.in_order(found, pinned_after=composition.pinned_after)
    return Batch(start=start, readers=readers, articles=tuple(chosen), total=total)


def compiled(
    session: Session,
    variant: Variant,
    composition: Composition,
    renderer: MailRenderer,
    *,
    note: str,
    public_id: str,
) -> Mail:
    """Compile the mail of a variant as the mailing of that public id."""
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
    return Mail(renderer.digest(content, public_id=public_id), related)


def _related(session: Session, variant: Variant, composition: Composition) -> list[Article]:
    """Return earlier articles on the lead's subject that these readers were not sent just now."""
    sent = mailings.sent_at(session, variant.starts)
    return articles.earlier_in_categories(
        session,
        categories=variant.lead.categories,
        before=variant.starts[0],
        exclude_ids=sent | {one.id for one in variant.articles if one.id is not None},
        limit=assemble.RELATED,
        without=composition.without,
    )
