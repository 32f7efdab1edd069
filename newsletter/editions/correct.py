"""Corrects an article by a notice to the readers for whom an edition with it was accepted.

Each of them gets the notice once, except readers who have unsubscribed, paused, been suppressed or
been erased since. The notice is a mailing of its own, which has no part in the edition's books and
watermarks, and is sent by way of the ledger before digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Engine
from sqlmodel import Session

from newsletter import audit
from newsletter.articles import link
from newsletter.articles import store as articles
from newsletter.cadences import Cadence
from newsletter.db import restore_guard
from newsletter.db import session as sessions
from newsletter.editions import audience, mailings, store, subprocesses
from newsletter.editions.compose import MailRenderer
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.ledger import books, queue
from newsletter.ledger.registry import Trouble
from newsletter.logs import events
from newsletter.models import Article, Edition, MailingArticle, Role, State, Status
from newsletter.publication import Publication
from newsletter.rendering.content import CorrectionContent, one_line
from newsletter.rendering.message import CompiledMessage
from newsletter.sender.plan import Plan
from newsletter.subscribers import preferences

#: Maximum characters of a notice, so that no mailbox clips its footer.
LONGEST = 5_000
_LONGEST_SUBJECT = 200
#: The priority of corrections: after letters, and before digests.
_PRIORITY = 1


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The article to correct and the text; equal notices are the same correction."""

    #: The name of the edition.
    edition: str
    #: The article's number or link.
    article: str
    paragraphs: tuple[str, ...]
    #: The subject; None for that of the template.
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """A queued correction: its message, its deliveries by state, and the readers left out."""

    mailing_id: int
    edition: str
    article: MailingArticle
    #: The frozen message.
    message: CompiledMessage
    #: The number of deliveries by state, which sum to the readers of the correction.
    books: dict[State, int]
    #: Readers who had the article and do not get the correction, by reason.
    unsubscribed: int
    paused: int
    suppressed: int
    forgotten: int
    #: Readers who had the article, but are not known any more because their deliveries were pruned.
    pruned: int
    #: Readers for whom it is unknown whether the edition has arrived.
    uncertain: int
    #: Readers to whom the edition, with the mistake, is still to be sent.
    coming: int

    @property
    def readers(self) -> int:
        """The number of readers who get the correction."""
        return sum(self.books.values())

    @property
    def left_out(self) -> int:
        """The number of known readers who had the article, but cannot be mailed now."""
        return self.unsubscribed + self.paused + self.suppressed + self.forgotten

    @property
    def waiting(self) -> int:
        """The number of readers to whom the correction is still to be sent."""
        return books.left(self.books)


class _Rehearsed(Exception):
    """Raised to roll back a rehearsal; carries its result."""

    def __init__(self, correction: Correction) -> None:
        super().__init__()
        self.correction = correction


def notice(edition: str, article: str, text: str, *, subject: str | None = None) -> Notice:
    """Parse an operator's text into paragraphs, at blank lines; raises InvalidInput."""
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
    actor: str,
    publication: Publication,
    plan: Callable[[], Plan],
    on_queued: Callable[[Correction], None] = lambda _: None,
    on_settled: Callable[[int], None] = lambda _: None,
    on_trouble: Trouble | None = None,
) -> Correction:
    """Queue a correction, unless it is queued already, and send its due deliveries.

    Idempotent: a second run continues, and adds readers for whom the edition was accepted since.
    `on_settled` is called with the number of readers for whom this run has a reply.
    """
    queued = enqueue(engine, notice, now=now, actor=actor, publication=publication)
    on_queued(queued)
    subprocesses.deliver_mailing(
        engine, plan(), queued.mailing_id, on_settled=on_settled, on_trouble=on_trouble
    )
    with sessions.reading(engine) as session:
        edition = store.by_slug(session, notice.edition)
        return _correction(session, edition, queued.article, queued.mailing_id)


def enqueue(
    engine: Engine, notice: Notice, *, now: datetime, actor: str, publication: Publication
) -> Correction:
    """Queue a correction in the ledger for all readers without a delivery of it; send nothing."""
    # Refused for a restored backup, whose queued deliveries may have been sent already.
    with restore_guard.sending(engine) as session:
        queued = _queue(session, notice, now=now, publication=publication)
        if queued.waiting:
            logged = partial(
                events.EDITION_CORRECTED, edition=notice.edition, audience=queued.waiting
            )
            sessions.after_commit(session, logged)
            subjects = {f"edition:{notice.edition}": f"article {queued.article.article_id}"}
            said = "\n\n".join(notice.paragraphs)
            audit.record(session, "editions.correct", subjects, actor=actor, at=now, after=said)
        return queued


def rehearse(
    engine: Engine, notice: Notice, *, now: datetime, publication: Publication
) -> Correction:
    """Return the result that `enqueue` would have, and roll it back."""
    try:
        with sessions.writing(engine) as session:
            correction = _queue(session, notice, now=now, publication=publication)
            raise _Rehearsed(correction)  # noqa: TRY301 - the transaction itself has to see it
    except _Rehearsed as done:
        return done.correction


def _queue(
    session: Session, notice: Notice, *, now: datetime, publication: Publication
) -> Correction:
    # The lock serialises equal corrections, so that only one is queued, and no reader unsubscribes
    # or pauses between the selection of readers and the insertion of their rows.
    sessions.freeze_lock(session, now)
    preferences.resume_due(session, now)
    edition = store.by_slug(session, notice.edition)
    if edition.is_announcement:
        raise InvalidInput(
            f"{edition.name} is an announcement, and has no articles.",
            hint=f"`newsletter announce FILE --to {edition.name}` writes to those who got it.",
        )
    article = _find(session, edition, notice.article)
    mailing_id = _mailing(session, edition, article, notice, now=now, publication=publication)
    queue.enqueue(
        session,
        mailing_id=mailing_id,
        recipients=audience.corrected(
            mailings.holding(edition, article.article_id), correction=mailing_id
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
    publication: Publication,
) -> int:
    """Return the mailing of a correction, compiled now if its text is new.

    It is found by the operator's text and not by the compiled message, so that no second mail is
    made after a template or a setting has changed.
    """
    said = (str(edition.id), str(article.article_id), notice.subject, *notice.paragraphs)
    key = hashlib.sha256(f"correction {json.dumps(said)}".encode()).hexdigest()
    if (found := mailings.keyed(session, key)) is not None:
        return found
    content = CorrectionContent(
        title=article.title,
        url=article.link,
        period_on=edition.period,
        paragraphs=notice.paragraphs,
        subject=notice.subject,
    )
    renderer = MailRenderer(publication)
    rendered = renderer.correction(content, cadence=Cadence(edition.cadence))
    return mailings.add_correction(
        session, edition, rendered, key=key, frozen=publication.frozen, now=now
    )


def _find(session: Session, edition: Edition, text: str) -> MailingArticle:
    """Return an article as the readers of an edition got it; raises NotFound."""
    placed = mailings.placements(session, edition)
    ids = _placed_ids(placed, {text, link.canonical(text)})
    # The operator may have copied the link from a browser, with a fragment at its end.
    ids = ids or _placed_ids(placed, {link.page(link.canonical(text) or "")})
    # The link may be a later one of the article, or belong to an article outside the edition.
    ids = ids or _article_ids(session, text)
    found = [one for one in placed if one.article_id in ids]
    shown = {one.article_id: one for one in reversed(found) if one.role != Role.RELATED}
    slug = edition.name
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
    holding = mailings.holding(edition, article.article_id)
    states = books.count_states(session, holding)
    standing = audience.standings(session, holding)
    mailing = books.mailing(session, mailing_id)
    return Correction(
        mailing_id=mailing_id,
        edition=edition.name,
        article=article,
        message=CompiledMessage.load(mailing.subject, mailing.body, mailing.fields),
        books=dict(books.count_states(session, mailings.among([mailing_id]))),
        # Pending readers have unsubscribed, and signed up again without a confirmation yet.
        unsubscribed=standing[Status.UNSUBSCRIBED] + standing[Status.PENDING],
        paused=standing[Status.PAUSED],
        suppressed=standing[Status.SUPPRESSED],
        forgotten=standing["forgotten"],
        pruned=mailings.pruned_accepted(session, holding),
        uncertain=states.get(State.UNKNOWN, 0),
        coming=books.left(states),
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
