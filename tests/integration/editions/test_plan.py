"""A plan says what the freeze then does, to the reader and to the byte, and changes nothing."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import histories
import pytest
from examples import examples
from histories import History
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import Engine, inspect, text
from sqlmodel import col, select

from newsletter import suppression, tokens
from newsletter.cadences import Cadence
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import compose, lifecycle, plan, plan_audience, publish, store
from newsletter.editions.plan import EditionPlan
from newsletter.ledger import books
from newsletter.ledger.reasons import Reason
from newsletter.models import Cause, Delivery, MailingArticle, State
from newsletter.sender.forecast import Capacity
from newsletter.sender.limits import Limits
from newsletter.settings import Settings
from newsletter.smtp.outcome import Kind
from newsletter.subscribers import signup, suppress
from newsletter.subscribers.consent import Origin
from newsletter.suppression import Grounds

if TYPE_CHECKING:
    from tests.integration.editions.conftest import World

CAPACITY = Capacity(Limits(), connections=4)
GROUNDS = Grounds(Cause.BOUNCE, "A test.", "a test")
#: What a plan and a freeze would draw at random: equal for both, and new for each edition.
DRAWN = itertools.count(1)


@contextmanager
def drawn_from(first: int) -> Iterator[None]:
    """Have public ids of mailings, markers and boundaries be consecutive numbers."""
    numbers = itertools.count(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "new_public_id", lambda: f"{next(numbers):016}")
        patch.setattr(compose.secrets, "token_hex", lambda _: f"{next(numbers):032x}")
        yield


def dump(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        rows = {name: connection.execute(text(f'SELECT * FROM "{name}"')) for name in names}
        return {name: sorted(map(tuple, found), key=repr) for name, found in rows.items()}


def planned(world: World, cadence: str = "weekly") -> EditionPlan:
    return plan.current(
        world.engine,
        Cadence(cadence),
        now=world.now,
        publication=world.publication,
        capacity=CAPACITY,
    )


def upcoming(world: World, *, at: datetime | None = None) -> EditionPlan:
    (found,) = plan.upcoming(
        world.engine,
        [Cadence.WEEKLY],
        now=world.now,
        at=at,
        publication=world.publication,
        capacity=CAPACITY,
    )
    return found


def expected(world: World, found: EditionPlan) -> dict[str, int | str]:
    """Return for each reader of the cadence the place of their mail, or why they get none."""
    assert found.audience is not None
    places = {start: place for place, one in enumerate(found.mailings) for start in one.starts}
    query = plan_audience.with_reasons(found.audience, found.audience.readers.c.public_id)
    with sessions.reading(world.engine) as session:
        return {
            row.public_id: row.reason or places.get(row.start, Reason.NOTHING_NEW)
            for row in session.execute(query)
        }


def freeze_as_planned(world: World, cadence: Cadence) -> EditionPlan:
    """Plan the current edition, see that it changed nothing, and make it: the two must agree."""
    first = next(DRAWN) * 1_000
    before = dump(world.engine)
    with drawn_from(first):
        found = planned(world, cadence)
    wanted = {} if found.is_made else expected(world, found)
    assert dump(world.engine) == before
    times = world.settings.send_times
    lifecycle.expire(world.engine, now=world.now, times=times)
    with drawn_from(first):
        frozen = publish.freeze(
            world.engine, cadence, now=world.now, publication=world.publication, force=True
        )
    assert found.summary.edition == frozen.edition
    if found.is_made:
        # `expire` may have ended the last of its rows.
        assert found.summary.audience == frozen.audience
        return found
    assert found.summary == frozen
    assert sum(found.domains.values()) == frozen.audience == sum(m.readers for m in found.mailings)
    _agree(world, found, wanted)
    return found


def _agree(world: World, found: EditionPlan, wanted: dict[str, int | str]) -> None:
    mailings = world.mailings(found.summary.edition)
    assert len(mailings) == len(found.mailings)
    reached: dict[str, int | str] = {}
    with sessions.reading(world.engine) as session:
        for place, (mailing, mail) in enumerate(zip(mailings, found.mailings, strict=True)):
            message = mail.rendered.message
            stored = (mailing.subject, mailing.body, mailing.fields, mailing.html)
            assert (message.subject, *message.dump(), mail.rendered.page) == stored
            assert mail.octets == len(mailing.body)
            articles = session.exec(
                select(MailingArticle)
                .where(MailingArticle.mailing_id == mailing.id)
                .order_by(col(MailingArticle.position))
            )
            placed = [(a.article_id, a.position, a.role, a.title, a.link) for a in articles]
            assert placed == [
                (a.article_id, a.position, a.role, a.title, a.link) for a in mail.articles
            ]
            references = session.exec(
                select(Delivery.reference).where(Delivery.mailing_id == mailing.id)
            ).all()
            assert len(references) == mail.readers
            reached |= dict.fromkeys(references, place)
    got = {reference: place for reference, place in wanted.items() if isinstance(place, int)}
    assert got == reached
    without = sum(one.readers for one in found.without)
    assert without == len(wanted) - len(got)


def test_plan_and_freeze_agree_where_clicks_are_counted(make_world: Callable[..., World]) -> None:
    world = make_world(count_clicks=True)
    world.readers(2)
    world.articles(3)

    found = freeze_as_planned(world, Cadence.WEEKLY)

    assert "/read/weekly-2026-06-01." in found.mailings[0].rendered.text


class PlannedHistory(History):
    """A history in which every edition is planned first."""

    def freeze(self, cadence: Cadence) -> None:
        freeze_as_planned(self.world, cadence)

    def check(self) -> None:
        """Nothing: `test_watermark` checks what arrives."""

    def suppress(self, number: int, cause: Cause, *, is_late: bool) -> None:
        """Suppress a reader; where a sender did it, their own row says so later."""
        address = self.addresses[number % len(self.addresses)]
        room = suppression if is_late else suppress
        with sessions.writing(self.world.engine) as session:
            room.suppress(
                session,
                address,
                grounds=Grounds(cause, "A test.", "a test"),
                now=self.world.now,
                keyring=self.world.settings.keyring(),
            )

    def release(self, number: int) -> None:
        with sessions.writing(self.world.engine) as session:
            suppress.release(
                session,
                self.addresses[number % len(self.addresses)],
                origin=Origin("a test"),
                now=self.world.now,
                keyring=self.world.settings.keyring(),
            )

    def ask(self, cadence: Cadence) -> None:
        """Sign somebody up who never confirms."""
        with sessions.writing(self.world.engine) as session:
            signup.ask(
                session,
                f"pending{next(DRAWN)}@example.net",
                cadence=cadence,
                origin=Origin("a test"),
                publication=self.world.publication,
                now=self.world.now,
            )

    def quarantine(self, number: int) -> None:
        """Have an article wait for approval."""
        with sessions.writing(self.world.engine) as session:
            session.execute(
                text(
                    "UPDATE article SET seen_at = NULL, quarantined_at = created_at WHERE id = "
                    "(SELECT max(id) FROM article) AND id NOT IN "
                    "(SELECT article_id FROM mailing_article)"
                )
            )


steps = st.one_of(
    *[histories.steps] * 4,
    st.tuples(st.just("freeze"), histories.cadences),
    st.one_of(
        st.tuples(
            st.just("suppress"), histories.whom, st.sampled_from(list(Cause)), st.booleans()
        ).map(lambda step: (*step[:3], {"is_late": step[3]})),
        st.tuples(st.just("release"), histories.whom),
        st.tuples(st.just("ask"), histories.cadences),
        st.tuples(st.just("quarantine"), histories.whom),
    ),
)
#: min_articles, catch_up_days, catch_up_articles.
rules = st.sampled_from([(1, 40, 500), (2, 40, 500), (1, 3, 500), (1, 40, 2), (2, 10, 3)])


@contextmanager
def empty(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    """Yield a migrated database without rows."""
    if kind == "sqlite":
        for old in folder.glob("history.db*"):
            old.unlink()
        copy = folder / "history.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), copy)
        opened = engines.open(f"sqlite:///{copy}")
        yield opened
        opened.dispose()
        return
    with request.getfixturevalue("migrated_postgresql").database() as url:
        opened = engines.open(url)
        yield opened
        opened.dispose()


@pytest.mark.parametrize("policy", ["hold", "resend"])
@examples(
    5,
    many=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(steps, min_size=10, max_size=30), rule=rules)
def test_a_plan_and_the_edition_that_is_then_made_agree_to_the_reader_and_to_the_byte(  # noqa: PLR0917 - Hypothesis and fixtures
    history: list[tuple[Any, ...]],
    rule: tuple[int, int, int],
    policy: str,
    database_kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    settings: Callable[..., Settings],
    open_world: Callable[..., World],
) -> None:
    templates = tmp_path / "templates"
    if not templates.exists():
        histories.quick_templates(tmp_path)
    least, days, most = rule
    chosen = settings(
        templates=templates, min_articles=least, catch_up_days=days, catch_up_articles=most
    )
    with empty(database_kind, request, tmp_path) as engine:
        played = PlannedHistory(open_world(engine, chosen), policy)
        for name, *arguments in history:
            keywords = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            played.do(name, *arguments, **keywords)
        for cadence in Cadence:
            played.freeze(cadence)


def reasons(found: EditionPlan) -> dict[str, int]:
    return {one.reason.value: one.readers for one in found.without}


def test_a_pause_that_is_over_by_then_keeps_nobody_from_it(world: World) -> None:
    back, away = world.readers(2)
    world.article()
    world.send()
    world.pause_reader(back, days=5)
    world.pause_reader(away, days=30)
    world.tick(days=7)
    world.article()

    found = freeze_as_planned(world, Cadence.WEEKLY)

    assert found.summary.audience == 1
    assert reasons(found) == {"paused": 1}
    assert world.status(back) == "active"


def test_a_reader_to_whom_an_earlier_edition_may_be_leaving_has_no_part(world: World) -> None:
    world.readers(2)
    world.article()
    world.freeze()
    world.take(limit=1)
    world.tick(days=7)
    world.article()

    found = freeze_as_planned(world, Cadence.WEEKLY)

    assert found.summary.audience == 1
    assert reasons(found) == {"under way": 1}


def test_what_may_have_arrived_and_waits_to_be_sent_again_keeps_its_reader_from_it(
    world: World,
) -> None:
    (reader,) = world.readers(1, "daily")
    world.article()
    world.freeze("daily")
    world.deliver({reader: Kind.UNKNOWN}, policy="resend")
    world.move(reader, "weekly")
    world.tick(hours=1)
    world.article()

    found = freeze_as_planned(world, Cadence.WEEKLY)

    assert found.summary.audience == 0
    assert reasons(found) == {"under way": 1}


def test_a_reader_with_a_mail_beside_and_an_open_one_has_no_part(world: World) -> None:
    """The operator tries one again that their watermark has passed; a later one is open, too."""
    reader, _ = world.readers(2, "daily")
    world.article()
    world.freeze("daily")
    world.deliver({reader: Kind.UNKNOWN})
    lifecycle.finish(world.engine, now=world.now)
    world.tick(hours=2)
    world.article()
    world.move(reader, "weekly")
    world.freeze("weekly")
    with sessions.writing(world.engine) as session:
        books.retry_now(session, state=State.UNKNOWN, now=world.now)
        store.reopen(session)
    world.move(reader, "monthly")
    world.tick(hours=2)
    world.article()

    found = freeze_as_planned(world, Cadence.MONTHLY)

    assert found.summary.audience == 0
    assert reasons(found) == {"under way": 1}


def test_a_reader_who_came_back_is_planned_from_what_they_had(world: World) -> None:
    other = world.reader("weekly")
    world.article()
    world.send("weekly")
    reader = world.reader("daily", "back@example.org")
    world.tick(days=6)
    had = world.article()
    world.send("daily")
    world.tick(hours=1)
    freeze_as_planned(world, Cadence.DAILY)
    world.tick(hours=23)
    freeze_as_planned(world, Cadence.DAILY)
    world.leave(reader)
    world.reader("weekly", "back@example.org")
    new = world.article()

    found = freeze_as_planned(world, Cadence.WEEKLY)

    assert found.summary.variants == 2
    assert world.mails(reader) == [[had]]
    assert sorted([a.article_id for a in one.articles] for one in found.mailings) == [
        [new],
        [new, had],
    ]
    assert world.status(other) == "active"


def test_what_is_open_counts_as_sent_before_an_edition_that_is_made_later(world: World) -> None:
    world.readers(2)
    old = world.article()
    world.freeze()
    new = world.article()

    found = upcoming(world)

    assert found.summary.edition == "weekly-2026-06-08"
    assert found.sent_before == 2
    (mail,) = found.mailings
    assert (mail.readers, [one.article_id for one in mail.articles]) == (2, [new])
    assert old != new


def test_a_plan_of_a_later_day_is_for_the_time_at_which_the_edition_is_due(world: World) -> None:
    """A pause that ends later on that day still keeps its reader from the edition."""
    monday = world.now
    away, _ = world.readers(2)
    world.article()
    world.send()
    world.pause_reader(away, days=7.2)
    world.article()
    world.tick(minutes=1)
    day = world.now + timedelta(days=7, hours=16)

    found = upcoming(world, at=day)

    assert found.at == found.due_at == monday + timedelta(days=7)
    assert found.summary.audience == 1
    assert reasons(found) == {"paused": 1}
    assert (found.summary, found.without) == (upcoming(world).summary, upcoming(world).without)


def test_a_period_that_was_missed_is_planned_for_no_later_day(world: World) -> None:
    world.readers(1)
    world.article()
    world.tick(days=2)

    found = upcoming(world, at=world.now + timedelta(days=1))

    assert found.summary.edition == "weekly-2026-06-08"
    assert found.due_before == []


def test_a_plan_with_force_gives_up_nothing_that_is_stale(world: World) -> None:
    """What may have arrived of a stale edition is on its way still, and keeps its reader out."""
    once, again = world.readers(2, "daily")
    world.article()
    world.freeze("daily")
    world.deliver({once: Kind.UNKNOWN, again: Kind.DEFERRED}, policy="resend")
    world.tick(days=2)
    world.article()
    audiences = {
        force: plan.current(
            world.engine,
            Cadence.DAILY,
            now=world.now,
            publication=world.publication,
            capacity=CAPACITY,
            force=force,
        ).summary.audience
        for force in (False, True)
    }

    frozen = world.freeze("daily")

    assert audiences == {False: 2, True: 1}
    assert frozen.audience == 1


def due(world: World) -> list[EditionPlan]:
    return plan.due(world.engine, now=world.now, publication=world.publication, capacity=CAPACITY)


def test_a_plan_of_cron_has_the_editions_that_it_continues_after_those_that_are_due(
    world: World,
) -> None:
    reader, _ = world.readers(2)
    world.article()
    world.freeze()
    world.deliver({reader: Kind.DEFERRED}, limit=2)

    *made, open_ = due(world)

    assert [one.summary.edition for one in made] == ["daily-2026-06-01", "monthly-2026-06-01"]
    assert (open_.is_made, open_.summary.accepted, open_.summary.deferred) == (True, 1, 1)
    world.tick(days=15)
    assert not [one for one in due(world) if one.is_made], "a stale one is given up"
