"""Three weeks of a publication, lived through in some seconds for `newsletter demo --desk`.

Only the clock is simulated. Articles arrive, readers sign up and leave, editions are made when they
are due and leave by real SMTP; a mail catcher takes them, and refuses the addresses of those who
are gone.
"""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter import cadences, clock
from newsletter.cadences import Cadence
from newsletter.cli import context, demo_feed, output, sample

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.sender.shutdown import Shutdown

#: How far back the history begins, and the time between two articles.
_SINCE = timedelta(days=21)
_APART = timedelta(hours=35)
_FIRST = ("ada", "grace", "rosalind", "barbara", "marie", "lise", "florence", "virginia", "irene")
_LAST = ("birch", "ash", "rowan", "alder", "hazel", "willow", "maple", "juniper", "elm", "linden")
_DOMAINS = ("readers.example", "mail.example", "post.example")
#: The share of sign-ups that are confirmed.
_CONFIRMED = 0.85
#: Addresses that begin so have no mailbox any more.
_GONE = "gone."
_CADENCES = (Cadence.DAILY, Cadence.WEEKLY, Cadence.WEEKLY, Cadence.WEEKLY, Cadence.MONTHLY)


def refusal(address: str) -> str | None:
    """Return what the mail catcher says of those who are gone."""
    return "550 5.1.1 No such mailbox here" if address.startswith(_GONE) else None


def live_through(engine: Engine, here: context.Context, file: Path, shutdown: Shutdown) -> None:
    """Live through the time until now, or until a stop is requested; `file` becomes the feed."""
    from newsletter.articles import ingest
    from newsletter.articles.limits import Limits

    today, limits = clock.utc_now(), Limits.of(here.settings)
    began = today - _SINCE
    _write(file, here, began, today)
    ingest.add_feed(engine, str(file), limits, began)
    chance = random.Random(1)  # noqa: S311 - the same history each time
    coming = _readers(chance, began, today)
    known: list[str] = []
    with output.progress() as progress:
        task = progress.add_task("Three weeks", total=_SINCE.days)
        for at, cadence in _agenda(here, began, today):
            if shutdown.is_wanted:
                return
            known += _sign_up(engine, here, coming, chance, until=at)
            _write(file, here, at, today)
            ingest.fetch_all(engine, limits, at)
            _publish(engine, here, cadence, at)
            if known and chance.random() < 0.4:
                address = chance.choice(known)
                _leave(engine, address, at + timedelta(hours=2), chance)
            progress.update(task, completed=(at - began).days)
        _sign_up(engine, here, coming, chance, until=today)
        _write(file, here, today, today)
        ingest.fetch_all(engine, limits, today)


def _write(file: Path, here: context.Context, until: datetime, today: datetime) -> None:
    """Write the feed with the articles that have appeared until an instant."""
    samples = sample.articles()
    last = today - timedelta(hours=1)
    dated = [(one, last - _APART * place) for place, one in enumerate(reversed(samples))]
    out = [(one, at) for one, at in reversed(dated) if at <= until]
    file.write_text(demo_feed.rss(out, here.settings), encoding="utf-8")


def _agenda(
    here: context.Context, began: datetime, today: datetime
) -> list[tuple[datetime, Cadence]]:
    """Return when each edition is due."""
    times = here.settings.send_times
    found = []
    for cadence in Cadence:
        at = began
        while (period := cadences.next_due(cadence, at, times)) is not None:
            at = cadences.due_at(cadence, period, times)
            if at > today:
                break
            found.append((at, cadence))
    return sorted(found)


def _readers(
    chance: random.Random, began: datetime, today: datetime
) -> list[tuple[datetime, str, Cadence]]:
    names = [f"{first}.{last}" for first, last in product(_FIRST, _LAST)]
    names += [f"{_GONE}{first}" for first in _FIRST[:3]]
    chance.shuffle(names)
    span = (today - began).total_seconds()
    # The first third was there from the beginning.
    since = sorted(max(0.0, chance.uniform(-0.5, 1.0)) * span for _ in names)
    return [
        (
            began + timedelta(seconds=seconds),
            f"{name}@{chance.choice(_DOMAINS)}",
            chance.choice(_CADENCES),
        )
        for seconds, name in zip(since, names, strict=True)
    ]


def _sign_up(
    engine: Engine,
    here: context.Context,
    coming: list[tuple[datetime, str, Cadence]],
    chance: random.Random,
    *,
    until: datetime,
) -> list[str]:
    """Let readers sign up who come until an instant; return those who have confirmed."""
    from newsletter.db import session as sessions
    from newsletter.subscribers import signup, store
    from newsletter.subscribers.consent import Origin
    from newsletter.tokens import Bearer

    publication, origin, confirmed = here.publication, Origin("box on miasfeed.example"), []
    with sessions.writing(engine) as session:
        while coming and coming[0][0] <= until:
            at, address, cadence = coming.pop(0)
            signup.ask(
                session, address, cadence=cadence, origin=origin, publication=publication, now=at
            )
            reader = store.find(session, address)
            if reader is None or chance.random() > _CONFIRMED:
                continue
            signup.confirm(
                session,
                Bearer(reader.public_id, reader.generation, None),
                origin=origin,
                latest=None,
                publication=publication,
                now=at + timedelta(minutes=chance.randint(1, 90)),
            )
            confirmed.append(address)
    return confirmed


def _publish(engine: Engine, here: context.Context, cadence: Cadence, at: datetime) -> None:
    """Make an edition and send it, by a clock that begins at `at`."""
    from newsletter.editions import lifecycle, publish
    from newsletter.sender import worker

    begun = time.monotonic()

    def then() -> datetime:
        return at + timedelta(seconds=time.monotonic() - begun)

    publish.freeze(engine, cadence, now=at, publication=here.publication)
    worker.run(engine, here.plan(), clock=then)
    lifecycle.finish(engine, now=then())


def _leave(engine: Engine, address: str, at: datetime, chance: random.Random) -> None:
    """Let a reader unsubscribe or pause."""
    from newsletter.db import session as sessions
    from newsletter.models import Status
    from newsletter.subscribers import preferences, store, unsubscribe
    from newsletter.subscribers.consent import ONE_CLICK, Origin
    from newsletter.subscribers.locking import locked_subscriber

    origin = Origin(chance.choice(("unsubscribe link", ONE_CLICK)))
    with sessions.writing(engine) as session:
        reader = locked_subscriber(session, store.with_address(address), ends=True)
        assert reader is not None
        if reader.status != Status.ACTIVE:
            return
        if chance.random() < 0.3:
            preferences.pause(session, reader, until=None, origin=origin, now=at)
        else:
            unsubscribe.unsubscribe(
                session, reader.public_id, generation=None, origin=origin, now=at
            )
