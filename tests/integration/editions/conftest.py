"""A publication with a simulated clock and simulated outcomes of its mail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import claimants
import ledgers
import pytest
import terminal
from sqlalchemy import Engine, event, update
from sqlmodel import Session, col, select
from terminal import Run

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import editor, lifecycle, mailings, publish, store, summaries
from newsletter.editions.summaries import Summary
from newsletter.ledger import holding, retry
from newsletter.ledger.queue import Claim, Verdict
from newsletter.models import (
    Article,
    Attempt,
    Delivery,
    Edition,
    FreezeLock,
    Kind,
    Mailing,
    MailingArticle,
    Role,
    State,
    Subscriber,
)
from newsletter.publication import Publication
from newsletter.settings import Settings
from newsletter.smtp import outcome
from newsletter.smtp.outcome import Outcome, Phase
from newsletter.subscribers import locking, preferences, signup, unsubscribe
from newsletter.subscribers import store as readers
from newsletter.subscribers.consent import Origin

ORIGIN = Origin("a test")
WORKER = 1
#: A Monday and a first of the month, when all three cadences are due at 07:00.
MONDAY = datetime(2026, 6, 1, 7, tzinfo=UTC)


class World:
    """One publication at the simulated time `now`; each step checks that the books balance."""

    def __init__(self, engine: Engine, settings: Settings, now: datetime = MONDAY) -> None:
        self.engine = engine
        self.settings = settings
        self.now = now
        self._names = count(1)
        with sessions.writing(engine) as session:
            session.execute(update(FreezeLock).values(created_at=now - timedelta(days=900)))

    @property
    def publication(self) -> Publication:
        return Publication.of(self.settings)

    def tick(self, **units: float) -> None:
        self.now += timedelta(**units)

    def article(self, *, categories: Sequence[str] = ("Medicine",), title: str = "") -> int:
        """Store an article now."""
        name = next(self._names)
        with sessions.writing(self.engine) as session:
            seen_at = sessions.freeze_lock(session, self.now)
            article = Article(
                link=f"https://miasfeed.example/{name}",
                title=title or f"Article {name}",
                standfirst=f"What article {name} says.",
                categories=list(categories),
                minutes=2,
                published_at=seen_at,
                seen_at=seen_at,
                content_hash=f"{name:064d}",
                created_at=seen_at,
                updated_at=seen_at,
            )
            session.add(article)
            session.flush()
            assert article.id is not None
            return article.id

    def articles(self, number: int) -> list[int]:
        return [self.article() for _ in range(number)]

    def edit(self, act: str, article: int) -> None:
        """Hold, release, reject or pin an article now."""
        if act == "pin":
            editor.pin(
                self.engine, article, now=self.now, actor="cli:mia", publication=self.publication
            )
        else:
            getattr(editor, act)(self.engine, [article], now=self.now, actor="cli:mia")

    def reader(self, cadence: str = "weekly", address: str = "") -> str:
        """Subscribe a reader now; return the reference."""
        address = address or f"reader{next(self._names)}@example.org"
        with sessions.writing(self.engine) as session:
            subscriber, _ = signup.add(
                session,
                address,
                cadence=Cadence(cadence),
                origin=ORIGIN,
                now=self.now,
                keyring=self.settings.keyring(),
                again=True,
            )
            return subscriber.public_id

    def readers(self, number: int, cadence: str = "weekly") -> list[str]:
        return [self.reader(cadence) for _ in range(number)]

    def move(self, reference: str, cadence: str) -> None:
        with self.subscriber(reference) as (session, subscriber):
            preferences.change_cadence(
                session, subscriber, Cadence(cadence), origin=ORIGIN, now=self.now
            )

    def pause_reader(self, reference: str, *, days: float | None = None) -> None:
        until = self.now + timedelta(days=days) if days else None
        with self.subscriber(reference) as (session, subscriber):
            preferences.pause(session, subscriber, until=until, origin=ORIGIN, now=self.now)

    def resume_reader(self, reference: str) -> None:
        with self.subscriber(reference) as (session, subscriber):
            preferences.resume(session, subscriber, origin=ORIGIN, now=self.now)

    def leave(self, reference: str) -> None:
        with sessions.writing(self.engine) as session:
            unsubscribe.unsubscribe(
                session, reference, generation=None, origin=ORIGIN, now=self.now
            )

    @contextmanager
    def subscriber(self, reference: str) -> Iterator[tuple[Session, Subscriber]]:
        with sessions.writing(self.engine) as session:
            found = locking.locked_subscriber(
                session, readers.with_public_id(reference), ends=False
            )
            assert found is not None
            yield session, found

    def status(self, reference: str) -> str:
        with sessions.reading(self.engine) as session:
            return session.exec(
                select(Subscriber.status).where(Subscriber.public_id == reference)
            ).one()

    def watermark(self, reference: str) -> datetime | None:
        with sessions.reading(self.engine) as session:
            return session.exec(
                select(Subscriber.watermark).where(Subscriber.public_id == reference)
            ).one()

    def freeze(self, cadence: str = "weekly", *, force: bool = False) -> Summary:
        frozen = publish.freeze(
            self.engine, Cadence(cadence), now=self.now, publication=self.publication, force=force
        )
        self.check_books()
        return frozen

    def send(
        self,
        cadence: str = "weekly",
        outcomes: Mapping[str, outcome.Kind] | None = None,
    ) -> Summary:
        """Freeze and deliver an edition; all accept except those with another outcome."""
        frozen = self.freeze(cadence)
        self.deliver(outcomes)
        lifecycle.finish(self.engine, now=self.now)
        self.check_books()
        return self.summary(frozen.edition)

    def deliver(
        self,
        outcomes: Mapping[str, outcome.Kind] | None = None,
        *,
        limit: int = 10_000,
        policy: retry.Policy = "hold",
    ) -> None:
        claims = self.take(limit=limit)
        self.record(claims, outcomes, policy=policy)

    def take(self, *, limit: int = 10_000) -> list[Claim]:
        """Claim what is due and mark it in flight, as a worker does."""
        claims = claimants.claim(
            self.engine, WORKER, limit=limit, now=self.now, excluded=mailings.withheld()
        )
        return self.mark(claims)

    def mark(self, claims: Sequence[Claim]) -> list[Claim]:
        ids = [claim.id for claim in claims]
        marked = claimants.mark(self.engine, ids, WORKER, now=self.now)
        self.check_books()
        return [claim for claim in claims if claim.id in marked]

    def record(
        self,
        claims: Sequence[Claim],
        outcomes: Mapping[str, outcome.Kind] | None = None,
        *,
        policy: retry.Policy = "hold",
        worker: int = WORKER,
    ) -> None:
        verdicts = []
        for claim in claims:
            kind = (outcomes or {}).get(claim.reference, outcome.Kind.ACCEPTED)
            result = Outcome(kind, Phase.BODY, text="a test")
            decision = retry.decide(
                result,
                attempts=claim.attempts,
                rules=retry.RetryRules(policy, ledgers.WAITS),
                give_up_at=claim.give_up_at,
                now=self.now,
                rng=random.Random(1),
            )
            verdicts.append(Verdict(claim.id, claim.address, result, decision))
        claimants.record(self.engine, verdicts, worker, now=self.now)
        self.check_books()

    def summary(self, slug: str) -> Summary:
        with sessions.reading(self.engine) as session:
            return summaries.of(session, store.by_slug(session, slug))

    def states(self, slug: str) -> dict[str, str]:
        """Return the state of every reader's delivery of an edition."""
        with sessions.reading(self.engine) as session:
            return dict(
                session.exec(
                    select(Delivery.reference, holding.state())
                    .join(Mailing, col(Mailing.id) == Delivery.mailing_id)
                    .where(Mailing.edition_id == store.by_slug(session, slug).id)
                ).all()
            )

    def mails(self, reference: str) -> list[list[int]]:
        """Return the articles of each mail that was accepted for a reader or is unknown."""
        return [articles for _, articles in self.arrived(reference)]

    def arrived(self, reference: str) -> list[tuple[int, list[int]]]:
        """Return edition and articles of each accepted or unknown digest of a reader."""
        with sessions.reading(self.engine) as session:
            arrived = session.exec(
                select(Mailing.edition_id, Mailing.id)
                .join(Delivery, col(Mailing.id) == Delivery.mailing_id)
                .join(Edition, col(Edition.id) == Mailing.edition_id)
                .where(
                    Delivery.reference == reference,
                    Mailing.kind == Kind.DIGEST,
                    _may_have_arrived(),
                )
                .order_by(col(Edition.coverage_end))
            ).all()
            return [(edition, contents(session, mailing)) for edition, mailing in arrived]

    def mailings(self, slug: str) -> list[Mailing]:
        with sessions.reading(self.engine) as session:
            edition = store.by_slug(session, slug)
            return list(
                session.exec(
                    select(Mailing).where(Mailing.edition_id == edition.id).order_by(Mailing.id)
                )
            )

    def check_books(self) -> None:
        """Check that the states of each edition sum to its audience."""
        with sessions.reading(self.engine) as session:
            for summary in summaries.recent(session, limit=1_000):
                counts = (
                    summary.accepted, summary.refused, summary.deferred, summary.unknown,
                    summary.cancelled, summary.skipped, summary.queued, summary.claimed,
                    summary.in_flight,
                )  # fmt: skip
                assert sum(counts) == summary.audience, summary
                assert not (summary.state == "finished" and summary.is_open), summary


def contents(session: Session, mailing_id: int, *roles: Role) -> list[int]:
    """Return the articles of a mailing in their order: its stories, or those of other roles."""
    wanted = roles or (Role.LEAD, Role.STORY)
    return list(
        session.exec(
            select(MailingArticle.article_id)
            .where(MailingArticle.mailing_id == mailing_id, col(MailingArticle.role).in_(wanted))
            .order_by(col(MailingArticle.position))
        )
    )


def _may_have_arrived() -> Any:
    uncertain = select(Attempt.delivery_id).where(Attempt.outcome == State.UNKNOWN)
    # A refusal of the second copy applies to the first one, which had the same bytes.
    return col(Delivery.state).in_((State.ACCEPTED, State.UNKNOWN)) | (
        (col(Delivery.state) != State.REFUSED) & col(Delivery.id).in_(uncertain)
    )


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that are executed."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the world's database, where that is SQLite."""
    return terminal.at(tmp_path, monkeypatch, capsys)


@pytest.fixture
def counting() -> Callable[[Engine], Any]:
    """`with counting(engine) as statements:` collects what is executed."""
    return counted


@pytest.fixture
def world(engine: Engine, settings: Callable[..., Settings]) -> World:
    """A publication on each engine in turn, on a Monday at 07:00."""
    return World(engine, settings())


@pytest.fixture
def make_world(sqlite_engine: Engine, settings: Callable[..., Settings]) -> Callable[..., World]:
    """Make a publication with some settings changed, on SQLite."""

    def make(**changes: Any) -> World:
        return World(sqlite_engine, settings(**changes))

    return make


@pytest.fixture(scope="session")
def open_world() -> Callable[[Engine, Settings], World]:
    """Make a publication in a database that a test has opened itself."""
    return World


@pytest.fixture
def mailing_articles() -> Callable[..., list[int]]:
    """The articles of a mailing, by role."""
    return contents
