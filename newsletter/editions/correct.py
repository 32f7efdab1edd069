"""Corrects an article: a notice to the readers for whom an edition with it was accepted.

Each active reader gets it once; those who have unsubscribed, paused, or been suppressed or erased
since do not. The notice is a mailing of its own, outside the edition's books and watermarks, and is
sent before digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import cadences
from newsletter.articles import link
from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import audience, store, subprocesses
from newsletter.editions.compose import MailRenderer
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.ledger import queue
from newsletter.ledger.registry import Trouble
from newsletter.models import Article, Edition, MailingArticle, Role, State, Status
from newsletter.rendering.content import CorrectionContent, one_line
from newsletter.rendering.message import CompiledMessage
from newsletter.settings import Settings
from newsletter.subscribers import preferences

#: Most characters of a text, so that no mailbox cuts off the footer.
LONGEST = 5_000
_LONGEST_SUBJECT = 200
#: After letters, before digests.
_PRIORITY = 1


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The text of a correction and its article; equal notices are the same correction."""

    #: The edition's slug.
    edition: str
    #: The article's number or link.
    article: str
    paragraphs: tuple[str, ...]
    #: None for the subject of the template.
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """An enqueued correction: its message, its books, and the readers who do not get it."""

    mailing_id: int
    edition: str
    article: MailingArticle
    #: As frozen.
    message: CompiledMessage
    #: Deliveries by state; they sum to its readers.
    books: dict[State, int]
    #: Readers who had the article and do not get the notice, by reason.
    unsubscribed: int
    paused: int
    suppressed: int
    forgotten: int
    #: Readers who had it and cannot be identified: their deliveries were pruned.
    pruned: int
    #: Readers who may have had it: their delivery is unknown.
    uncertain: int
    #: Readers whose delivery of the edition, with the mistake, is still open.
    coming: int

    @property
    def readers(self) -> int:
        """Number of readers who get it."""
        return sum(self.books.values())

    @property
    def left_out(self) -> int:
        """Number of readers who had the article and must not be mailed now."""
        return self.unsubscribed + self.paused + self.suppressed + self.forgotten

    @property
    def waiting(self) -> int:
        """Number of open deliveries."""
        return sum(self.books.get(state, 0) for state in queue.OPEN)


class _Rehearsed(Exception):
    """Carries the result out of a transaction that is rolled back."""

    def __init__(self, correction: Correction) -> None:
        super().__init__()
        self.correction = correction


def notice(edition: str, article: str, text: str, *, subject: str | None = None) -> Notice:
    """Parse an operator's text: paragraphs between blank lines; raises InvalidInput."""
    if len(text) > LONGEST:
        raise InvalidInput(
            f"The correction is too long: it may have {LONGEST:,} characters.",
            hint="Say it in fewer words, and link to the rest.",
        )
    paragraphs = tuple(filter(None, map(one_line, re.split(r"\n[ \t\r]*\n", text))))
    if not paragraphs:
        raise InvalidInput("The correction has no text.", hint="Say what was wrong and what holds.")
    if subject is not None and not 0 < len(subject.strip()) <= _LONGEST_SUBJECT:
        raise InvalidInput(
            f"A subject has 1 to {_LONGEST_SUBJECT} characters.",
            hint="Leave --subject out for one that names the article.",
        )
    return Notice(edition=edition, article=article, paragraphs=paragraphs, subject=subject)


def send(
    engine: Engine,
    notice: Notice,
    *,
    now: datetime,
    settings: Settings,
    on_queued: Callable[[Correction], None] = lambda _: None,
    on_settled: Callable[[int], None] = lambda _: None,
    on_trouble: Trouble | None = None,
) -> Correction:
    """Enqueue a correction, unless it is already, and send its due deliveries.

    Idempotent: run again, it adds the readers for whom the edition was accepted since, and nobody
    gets it twice. `on_settled` is called with the number of readers with an outcome of this run.
    """
    queued = enqueue(engine, notice, now=now, settings=settings)
    on_queued(queued)
    subprocesses.deliver_mailing(
        engine, settings, queued.mailing_id, on_settled=on_settled, on_trouble=on_trouble
    )
    with sessions.reading(engine) as session:
        edition = store.by_slug(session, notice.edition)
        return _correction(session, edition, queued.article, queued.mailing_id)


def enqueue(engine: Engine, notice: Notice, *, now: datetime, settings: Settings) -> Correction:
    """Enqueue a correction for all readers who do not have it yet, without sending."""
    with sessions.writing(engine) as session:
        # Open rows of a restored backup may have been sent, and must not be mixed with new ones.
        restore_guard.check(session, engine)
        return _queue(session, notice, now=now, settings=settings)


def rehearse(engine: Engine, notice: Notice, *, now: datetime, settings: Settings) -> Correction:
    """Return the result of `enqueue`, and roll it back."""
    try:
        with sessions.writing(engine) as session:
            correction = _queue(session, notice, now=now, settings=settings)
            raise _Rehearsed(correction)  # noqa: TRY301 - rolls the transaction back
    except _Rehearsed as done:
        return done.correction


def _queue(session: Session, notice: Notice, *, now: datetime, settings: Settings) -> Correction:
    # The freeze lock serialises corrections, and no consent ends between choosing and enqueuing.
    sessions.freeze_lock(session, now)
    preferences.resume_due(session, now)
    edition = store.by_slug(session, notice.edition)
    article = _find(session, edition, notice.article)
    mailing_id = _mailing(session, edition, article, notice, now=now, settings=settings)
    queue.enqueue(
        session,
        mailing_id=mailing_id,
        recipients=audience.corrected(
            store.holding(edition, article.article_id), correction=mailing_id
        ),
        priority=_PRIORITY,
        now=now,
    )
    correction = _correction(session, edition, article, mailing_id)
    if not correction.readers:
        raise _nobody(correction)
    return correction


def _mailing(
    session: Session,
    edition: Edition,
    article: MailingArticle,
    notice: Notice,
    *,
    now: datetime,
    settings: Settings,
) -> int:
    """Return the mailing of a correction, compiled now if there is none.

    Looked up by the operator's words, not by the compiled message: a changed template or setting
    must not cause a second mail.
    """
    words = (str(edition.id), str(article.article_id), notice.subject, *notice.paragraphs)
    key = hashlib.sha256(f"correction {json.dumps(words)}".encode()).hexdigest()
    if (found := store.keyed(session, key)) is not None:
        return found
    content = CorrectionContent(
        title=article.title,
        url=article.link,
        period_on=edition.period,
        paragraphs=notice.paragraphs,
        subject=notice.subject,
    )
    renderer = MailRenderer(settings)
    rendered = renderer.correction(content, cadence=Cadence(edition.cadence))
    return store.add_correction(
        session, edition, rendered, key=key, frozen=renderer.frozen, now=now
    )


def _find(session: Session, edition: Edition, text: str) -> MailingArticle:
    """Return an article of an edition as its readers got it; raises NotFound."""
    placed = store.placements(session, edition)
    ids = _placed_ids(placed, {text, link.canonical(text)})
    # A browser may have added a fragment.
    ids = ids or _placed_ids(placed, {link.page(link.canonical(text) or "")})
    # By the article's present link; it may also be in another edition, or in none.
    ids = ids or _article_ids(session, text)
    found = [one for one in placed if one.article_id in ids]
    shown = {one.article_id: one for one in reversed(found) if one.role != Role.RELATED}
    slug = _slug(edition)
    if len(shown) > 1:
        raise InvalidInput(
            f"Several articles of {slug} have that link: {', '.join(map(str, sorted(shown)))}.",
            hint="Name one of these numbers instead of the link.",
        )
    if shown:
        return next(iter(shown.values()))
    raise NotFound(
        f"The article {text} is in {slug} only as a related headline."
        if found
        else f"The article {text} was not in {slug}.",
        hint=f"`newsletter editions show {slug}` lists what was; correct the edition that had it.",
    )


def _placed_ids(placed: Sequence[MailingArticle], names: set[str | None]) -> set[int | None]:
    return {one.article_id for one in placed if names & {str(one.article_id), one.link}}


def _article_ids(session: Session, article: str) -> set[int | None]:
    hint = "`newsletter articles list` shows their numbers and `articles show` their links."
    found: list[Article] = []
    if article.isascii() and article.isdecimal() and len(article) < 19:
        found = [articles.article(session, int(article))]
    elif (address := link.canonical(article)) is not None:
        found = articles.find_articles(session, link=address)
        found = found or articles.find_articles(session, link=link.page(address))
    if not found:
        raise NotFound(f"There is no article {article}.", hint=hint)
    return {one.id for one in found}


def _correction(
    session: Session, edition: Edition, article: MailingArticle, mailing_id: int
) -> Correction:
    holding = store.holding(edition, article.article_id)
    states = queue.count_states(session, holding)
    standing = audience.standings(session, holding)
    mailing = queue.mailing(session, mailing_id)
    return Correction(
        mailing_id=mailing_id,
        edition=_slug(edition),
        article=article,
        message=CompiledMessage.load(mailing.subject, mailing.body, mailing.fields),
        books=dict(queue.count_states(session, store.mailings_among([mailing_id]))),
        # Pending readers had unsubscribed, and have not confirmed their new sign-up.
        unsubscribed=standing[Status.UNSUBSCRIBED] + standing[Status.PENDING],
        paused=standing[Status.PAUSED],
        suppressed=standing[Status.SUPPRESSED],
        forgotten=standing["forgotten"],
        pruned=store.pruned_accepted(session, holding),
        uncertain=states.get(State.UNKNOWN, 0),
        coming=sum(states.get(state, 0) for state in queue.OPEN),
    )


def _nobody(correction: Correction) -> Conflict:
    slug, left = correction.edition, correction.left_out
    if left:
        return Conflict(
            f"Nobody can be told: whoever had it of {slug} ({left:,}) has left, paused, been "
            "suppressed or forgotten since.",
            hint="`newsletter editions show` and `newsletter subscribers list` say more.",
        )
    if correction.pruned:
        return Conflict(
            f"Nobody can be told: who had {slug} was pruned, and is not known any more.",
            hint="Publish the correction as an article: `newsletter articles add`.",
        )
    if correction.coming:
        return Conflict(
            f"The article was accepted for nobody yet: {slug} is still on its way.",
            hint=f"`newsletter editions cancel {slug}` keeps it from its readers.",
        )
    return Conflict(
        f"The article was accepted for nobody in {slug}.",
        hint=f"`newsletter delivery list --edition {slug}` says what became of each mail.",
    )


def _slug(edition: Edition) -> str:
    return cadences.slug(Cadence(edition.cadence), edition.period)
