"""Random histories of a publication: readers, articles, editors, editions, and outcomes of mail.

Readers join, move, pause, leave and come back; articles come in; editions of every cadence are
frozen, half sent, paused, cancelled and given up; mail is accepted, refused, deferred or uncertain;
what was uncertain is reconciled or sent again, and workers die with mail in their hands. Editors
hold, release, reject, pin, reword and reorder articles, skip editions, write notes and announce.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claimants
from hypothesis import strategies as st
from sqlmodel import col, select

from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.editions import (
    announce,
    arranging,
    editor,
    lifecycle,
    mailings,
    store,
    summaries,
)
from newsletter.errors import Conflict
from newsletter.ledger import books, listing, reconcile
from newsletter.models import Article, ArticleState, Edition, Mailing, State
from newsletter.smtp.outcome import Kind

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

#: Large enough that no digest of these histories is cut.
CATCH_UP = timedelta(days=40)

cadences = st.sampled_from(list(Cadence))
whom = st.integers(0, 5)
#: The index of an article, counted from the newest.
which = st.integers(0, 3)
#: The outcomes of mails in sequence; most are accepted.
fates = st.lists(st.sampled_from([*[Kind.ACCEPTED] * 3, *Kind]), min_size=1, max_size=5)
#: Hours between two rounds, enough for the next period of some cadence to begin.
pauses = st.sampled_from([24, 24, 24, 48, 24 * 7, 24 * 7, 24 * 31, 24 * 50])

rounds = st.tuples(st.just("round"), pauses, st.integers(0, 3), cadences, fates, st.integers(0, 8))
groups = (
    rounds,
    rounds,
    st.one_of(
        st.tuples(st.just("tick"), st.integers(1, 30)),
        st.tuples(st.just("freeze"), cadences),
        st.tuples(st.just("deliver"), fates, st.integers(1, 6)),
        st.tuples(st.just("take"), st.integers(1, 3)),
        st.tuples(st.just("land"), fates),
        st.tuples(st.just("die")),
    ),
    st.one_of(
        st.tuples(st.just("join"), cadences),
        st.tuples(st.just("move"), whom, cadences),
        st.tuples(st.just("pause"), whom, st.sampled_from([None, 1, 10, 50])),
        st.tuples(st.just("resume"), whom),
        st.tuples(st.just("leave_and_return"), whom, st.integers(0, 48), cadences),
        st.tuples(st.just("leave"), whom),
    ),
    st.one_of(
        st.tuples(st.just("brake"), st.sampled_from(["pause", "resume", "cancel"])),
        st.tuples(st.just("expire")),
        st.tuples(st.just("finish")),
        st.tuples(st.just("reconcile"), whom),
        st.tuples(
            st.just("retry"), st.lists(st.sampled_from([Kind.ACCEPTED, Kind.UNKNOWN]), min_size=1)
        ),
    ),
    st.one_of(
        st.tuples(st.just("edit"), st.sampled_from(["hold", "release", "reject", "pin"]), which),
        st.tuples(st.just("skip"), cadences),
        st.tuples(st.just("unskip"), cadences),
        st.tuples(st.just("note"), cadences),
        st.tuples(st.just("word"), which, st.sampled_from(["Other words", ""])),
        st.tuples(st.just("arrange"), cadences, st.permutations(range(4)), st.integers(0, 4)),
        st.tuples(st.just("shift"), cadences, which, st.integers(1, 6)),
        st.tuples(st.just("announce"), st.sampled_from(["all", *Cadence, "newest"])),
    ),
)
# Chosen in two steps: hypothesis would flatten nested alternatives and make all equally likely.
steps = st.sampled_from(groups).flatmap(lambda group: group)


class History:
    """A publication with random events, and a model of the articles due to each reader."""

    def __init__(self, world: World, policy: Any) -> None:
        self.world = world
        self.policy = policy
        self.readers: list[str] = []
        self.addresses: list[str] = []
        #: When each reader's consents began.
        self.begun: dict[str, list[datetime]] = {}
        self.held: list[Any] = []
        self.notes: list[str] = []
        self.announced = count(1)
        for cadence in (*Cadence, Cadence.DAILY):
            self.join(cadence)

    def do(self, name: str, *arguments: Any, **keywords: Any) -> None:
        with suppress(Conflict):  # a reader who has left cannot pause, and so on
            getattr(self, name)(*arguments, **keywords)
        self.check()

    def round(
        self, hours: int, number: int, cadence: Cadence, kinds: Sequence[Kind], limit: int
    ) -> None:
        """Advance the clock, store articles, and send an edition to some of its readers."""
        self.world.tick(hours=hours)
        self.world.articles(number)
        self.freeze(cadence)
        if limit:
            self.deliver(kinds, limit)

    def tick(self, hours: int) -> None:
        self.world.tick(hours=hours)

    def freeze(self, cadence: Cadence) -> None:
        self.world.freeze(cadence)

    def deliver(self, kinds: Sequence[Kind], limit: int) -> None:
        self.record(self.world.take(limit=limit), kinds)

    def take(self, limit: int) -> None:
        self.held += self.world.take(limit=limit)

    def land(self, kinds: Sequence[Kind]) -> None:
        held, self.held = self.held, []
        self.record(held, kinds)

    def die(self) -> None:
        self.held = []
        claimants.take_over(self.world.engine, 1, policy=self.policy, now=self.world.now)

    def record(self, claims: Sequence[Any], kinds: Sequence[Kind]) -> None:
        for number, claim in enumerate(claims):
            kind = kinds[number % len(kinds)]
            self.world.record([claim], {claim.reference: kind}, policy=self.policy)

    def join(self, cadence: Cadence) -> None:
        if len(self.readers) < 6:
            address = f"reader{len(self.readers)}@example.org"
            self.readers.append(self.world.reader(cadence, address))
            self.addresses.append(address)
            self.begun[self.readers[-1]] = [self.world.now]

    def move(self, number: int, cadence: Cadence) -> None:
        self.world.move(self.reader(number), cadence)

    def pause(self, number: int, days: int | None) -> None:
        self.world.pause_reader(self.reader(number), days=days)

    def resume(self, number: int) -> None:
        self.world.resume_reader(self.reader(number))

    def leave(self, number: int) -> None:
        self.world.leave(self.reader(number))

    def leave_and_return(self, number: int, hours: int, cadence: Cadence) -> None:
        reference = self.reader(number)
        self.world.leave(reference)
        self.world.tick(hours=hours)
        self.world.reader(cadence, self.addresses[self.readers.index(reference)])
        self.begun[reference].append(self.world.now)

    def reader(self, number: int) -> str:
        return self.readers[number % len(self.readers)]

    def brake(self, act: str) -> None:
        with sessions.reading(self.world.engine) as session:
            found = summaries.recent(session, limit=20)
        for one in [one for one in found if one.cadence in set(Cadence)][:1]:
            if act == "cancel":
                lifecycle.cancel(
                    self.world.engine,
                    one.edition,
                    now=self.world.now,
                    reason="A test.",
                    actor="cli:mia",
                )
            else:
                getattr(lifecycle, act)(
                    self.world.engine, one.edition, now=self.world.now, actor="cli:mia"
                )

    def expire(self) -> None:
        times = self.world.settings.send_times
        lifecycle.expire(self.world.engine, now=self.world.now, times=times)

    def finish(self) -> None:
        lifecycle.finish(self.world.engine, now=self.world.now)

    def reconcile(self, number: int) -> None:
        """Reconcile all unknown deliveries of a reader as accepted."""
        with sessions.reading(self.world.engine) as session:
            reference = self.reader(number)
            found = listing.deliveries(session, state=State.UNKNOWN, reference=reference)
            named = "".join(f"{row['message_id']}\n" for row in found)
        log = io.BytesIO(named.encode())
        tally = reconcile.run(self.world.engine, log, now=self.world.now, actor="test")
        assert tally.accepted == tally.lines
        self.world.check_books()

    def retry(self, kinds: Sequence[Kind]) -> None:
        """Retry unknown deliveries; none is refused, so all of them arrive."""
        with sessions.writing(self.world.engine) as session:
            excluded = mailings.withheld()
            books.retry_now(session, state=State.UNKNOWN, excluded=excluded, now=self.world.now)
            store.reopen(session)
        for number, claim in enumerate(self.world.take()):
            kind = kinds[number % len(kinds)]
            self.world.record([claim], {claim.reference: kind}, policy="hold")

    def edit(self, act: str, number: int) -> None:
        """Apply an editor's action to one of the newest articles."""
        if newest := self.newest():
            self.world.edit(act, newest[number % len(newest)])

    def word(self, number: int, words: str) -> None:
        """Write other words for one of the newest articles; without any, reset them."""
        if not (newest := self.newest()):
            return
        article, how = newest[number % len(newest)], {"now": self.world.now, "actor": "cli:mia"}
        if words:
            arranging.edit(self.world.engine, article, title=words, standfirst="", **how)
        else:
            arranging.reset(self.world.engine, article, **how)

    def arrange(self, cadence: Cadence, places: Sequence[int], number: int) -> None:
        """Order some of the newest articles."""
        newest = self.newest()
        ids = [newest[place] for place in places[:number] if place < len(newest)]
        arranging.order(self.world.engine, cadence, ids, **self.editing())

    def shift(self, cadence: Cadence, number: int, to: int) -> None:
        """Move one of the newest articles to a place."""
        if newest := self.newest():
            article = newest[number % len(newest)]
            arranging.move(self.world.engine, cadence, article, to=to, **self.editing())

    def newest(self) -> list[int]:
        with sessions.reading(self.world.engine) as session:
            found = session.exec(select(Article.id).order_by(col(Article.id).desc()).limit(4))
            return [one for one in found if one is not None]

    def skip(self, cadence: Cadence) -> None:
        editor.skip(self.world.engine, cadence, **self.editing())

    def unskip(self, cadence: Cadence) -> None:
        editor.unskip(self.world.engine, cadence, **self.editing())

    def note(self, cadence: Cadence) -> None:
        self.notes.append(f"Note {len(self.notes)}.")
        editor.write_note(
            self.world.engine, cadence, self.notes[-1], now=self.world.now, actor="cli:mia"
        )

    def announce(self, audience: str) -> None:
        """Announce something to all, a cadence, or those who got the newest edition."""
        if audience == "newest":
            with sessions.reading(self.world.engine) as session:
                found = summaries.recent(session, limit=1)
            audience = found[0].edition if found else "all"
        number = next(self.announced)
        said = announce.parse(f"{number}", subject="News", audience=audience)
        announce.freeze(
            self.world.engine,
            said,
            now=self.world.now,
            publication=self.world.publication,
            actor="cli:mia",
        )
        self.world.check_books()

    def editing(self) -> dict[str, Any]:
        return {"now": self.world.now, "actor": "cli:mia", "publication": self.world.publication}

    def check(self) -> None:
        """Compare the articles that arrived with those that were stored and may be sent."""
        with sessions.reading(self.world.engine) as session:
            articles = session.exec(select(Article)).all()
            editions = {one.id: one for one in session.exec(select(Edition))}
            found = session.exec(select(Mailing)).all()
        for reference in self.readers:
            self.check_reader(reference, articles, editions)
        for note in self.notes:
            having = {one.edition_id for one in found if note in one.html}
            assert len(having) <= 1, "a note came twice"
            assert all(note in one.html for one in found if one.edition_id in having), (
                "a variant lacks the note"
            )

    def check_reader(
        self, reference: str, came: Sequence[Article], editions: dict[Any, Edition]
    ) -> None:
        mails = self.world.arrived(reference)
        everything = [article for _, articles in mails for article in articles]
        assert len(everything) == len(set(everything)), "an article came twice"
        # Articles of a cancelled edition may be rejected later; held ones were in no edition.
        rejected = {one.id for one in came if one.state is ArticleState.REJECTED}
        assert not {one.id for one in came if one.state is ArticleState.HELD} & set(everything)
        previous = None
        for edition_id, articles in mails:
            edition = editions[edition_id]
            start, is_exact = self.start(reference, previous, edition)
            owed = {
                one.id
                for one in came
                if one.seen_at and start < one.seen_at <= edition.coverage_end
            }
            assert owed <= set(articles), "an article was missed"
            assert not is_exact or owed == set(articles) - rejected
            previous = edition.coverage_end

    def start(
        self, reference: str, previous: datetime | None, edition: Edition
    ) -> tuple[datetime, bool]:
        """Return a reader's coverage start, and whether the edition must have no other articles."""
        bounds = [edition.coverage_end - CATCH_UP]
        anew = [
            instant
            for instant in self.begun[reference]
            if instant <= edition.coverage_end and (previous is None or instant > previous)
        ]
        if previous is not None:
            bounds.append(previous)
        if anew:
            bounds += [max(anew), edition.coverage_start]
        return max(bounds), not anew


def quick_templates(folder: Path) -> Path:
    """Write templates of a digest that are quickly rendered; return their folder."""
    digest = folder / "templates" / "email" / "digest"
    digest.mkdir(parents=True)
    (digest / "subject.txt").write_text("{{ digest.lead.title }}")
    (digest / "body.txt").write_text("{{ links.unsubscribe }}")
    (digest / "body.html").write_text(
        "<html><body>{{ content.note }} {{ links.unsubscribe }}</body></html>"
    )
    announcement = folder / "templates" / "email" / "announcement"
    announcement.mkdir()
    (announcement / "body.txt").write_text("{{ links.unsubscribe }}")
    (announcement / "body.html").write_text("<html><body>{{ links.unsubscribe }}</body></html>")
    return folder / "templates"
