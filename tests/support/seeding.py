"""Fills an empty database with a publication that has run for two years.

    python seeding.py --readers 1000000 --editions 100 DATABASE_URL

Readers came evenly over the time, one in ten of them by one import, and some paused, left, or were
suppressed. The newest edition of each cadence has its deliveries, the older ones are pruned; the
newest of all is still open. All by SQL, about a statement for each table, on both engines; what is
counted is counted at the end.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

import counts
import ledgers
from sqlalchemy import Engine, insert, text
from sqlmodel import Session

from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.models import (
    Announcement,
    Article,
    Audit,
    Edition,
    EditionState,
    Feed,
    Mailing,
    MailingArticle,
)

#: The age of the publication.
AGE = timedelta(days=730)
#: Articles for each edition, and how many of them a digest has.
_ARTICLES, _SHOWN = 10, 8
#: Readers of each cadence in a hundred.
_SHARES = {Cadence.DAILY: 25, Cadence.WEEKLY: 60, Cadence.MONTHLY: 15}
_DOMAINS = ("gmail.example", "yahoo.example", "web.example", "orange.example", "clinic.example")

_SUBSCRIBERS = """
    INSERT INTO subscriber (public_id, address, cadence, status, generation, watermark,
        subscribed_at, paused_until, language, timezone, created_at, updated_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count),
    dated AS (
        SELECT n, CASE WHEN n % 10 = 0 THEN {imported} ELSE CAST(n AS BIGINT) * {age} / :count END
            AS came
        FROM numbers
    ), lived AS (
        SELECT n, came, came + ({age} - came) * (n % 89 + 5) / 100 AS went, CASE
            WHEN n % 50 = 1 AND came > {age} - 2500000 THEN 'pending'
            WHEN n % 50 < 3 THEN 'unsubscribed'
            WHEN n % 50 = 3 THEN 'suppressed'
            WHEN n % 50 = 4 THEN 'paused'
            ELSE 'active' END AS status
        FROM dated
    )
    SELECT 'reader' || (1000000000 + n), 'reader' || n || '@' || {domain}, {cadence}, status, 1,
        NULL, CASE WHEN status = 'pending' THEN NULL ELSE {came} END,
        CASE WHEN status = 'paused' THEN {later} END, NULL, NULL,
        {came}, CASE WHEN status IN ('active', 'pending') THEN {came} ELSE {went} END
    FROM lived ORDER BY n
"""
_CONSENT = (
    "INSERT INTO consent (subscriber_id, at, action, cadence, status, generation, wording, source)"
    " SELECT id, {at}, '{action}', cadence, {status}, 1, {wording}, {source}"
    " FROM subscriber WHERE {chosen} ORDER BY id"
)
_WORDING = "'Yes, send me the digest.'"
#: Time, action, status, wording, source and condition of each consent.
_CONSENTS = (
    ("created_at", "asked", "'pending'", _WORDING, "'box on https://miasfeed.example'",
     "id % 10 BETWEEN 1 AND 7"),
    ("created_at", "confirmed", "'active'", _WORDING, "'confirm link'",
     "id % 10 BETWEEN 1 AND 7 AND status <> 'pending'"),
    ("created_at", "added", "'active'", "'Vouched for.'", "'command line'", "id % 10 > 7"),
    ("created_at", "imported", "'active'", "'Confirmed elsewhere.'", "'import readers.csv'",
     "id % 10 = 0"),
    ("updated_at", "unsubscribed", "status", "''",
     ("CASE id % 4 WHEN 0 THEN 'unsubscribe link' WHEN 1 THEN 'one-click unsubscribe'"
     " WHEN 2 THEN 'unsubscribe mail' ELSE 'command line' END"),
     "status = 'unsubscribed'"),
    ("updated_at", "suppressed", "status", "'550 5.1.1 no such user'", "'mail server'",
     "status = 'suppressed'"),
    ("updated_at", "paused", "status", "''", "'preferences page'", "status = 'paused'"),
)  # fmt: skip
_SUPPRESSIONS = """
    INSERT INTO suppression (address, address_hash, cause, reason, source, created_at)
    SELECT address, 'hash' || id, CASE WHEN id % 7 = 0 THEN 'complaint' ELSE 'dead' END,
        '550 5.1.1 no such user', 'mail server', updated_at
    FROM subscriber WHERE status = 'suppressed' ORDER BY id
"""
_DELIVERIES = """
    INSERT INTO delivery (mailing_id, address, reference, generation, since_at, state, priority,
        due_at, attempts, state_at, code, enhanced, reply, created_at)
    SELECT :mailing, address, public_id, 1, subscribed_at, CASE
            WHEN :is_open = 1 AND id % 10 = 8 THEN 'queued'
            WHEN :is_open = 1 AND id % 1000 = 9 THEN 'deferred'
            WHEN id % 100000 = 7 THEN 'unknown'
            WHEN id % 100 = 6 THEN 'refused'
            ELSE 'accepted' END,
        2, {at}, 1, {at}, 250, '2.0.0', 'Ok: queued', {at}
    FROM subscriber WHERE cadence = :cadence AND status = 'active' AND created_at < {at}
    ORDER BY id
"""
_ATTEMPTS = """
    INSERT INTO attempt (delivery_id, number, at, outcome, phase, code, enhanced, reply)
    SELECT id, 1, state_at, state, 'rcpt', 450, '4.2.2', 'mailbox full'
    FROM delivery WHERE state IN ('deferred', 'refused', 'unknown') ORDER BY id
"""
_REPORTS = """
    INSERT INTO report (delivery_id, mailing_id, source, kind, verdict, recipient, code, enhanced,
        reply, is_void, at)
    SELECT id, mailing_id, 'mail', CASE WHEN id % 5 = 0 THEN 'complaint' ELSE 'bounce' END,
        CASE WHEN id % 5 = 0 THEN 'complaint' ELSE 'dead' END, address, 550, '5.1.1',
        'no such user', {false}, state_at
    FROM delivery WHERE state = 'accepted' AND id % 400 = 0 ORDER BY id
"""


def seed(engine: Engine, *, readers: int, editions: int, now: datetime) -> None:
    """Fill a database that has just been made."""
    with sessions.writing(engine) as session:
        _readers(session, readers, now)
        published = _publish(session, readers, editions, now)
        for cadence, (mailing, at, is_open) in published.items():
            session.execute(
                text(_DELIVERIES.format(at=_instant(engine, at))),
                {"mailing": mailing, "cadence": cadence.value, "is_open": int(is_open)},
            )
        false = "0" if is_sqlite(engine) else "false"
        for statement in (_ATTEMPTS, _REPORTS.format(false=false)):
            session.execute(text(statement))
        for (mailing, _, _), cadence in zip(published.values(), published, strict=True):
            session.execute(
                text(
                    "UPDATE edition SET audience ="
                    " (SELECT count(*) FROM delivery WHERE mailing_id = :mailing)"
                    " WHERE id = (SELECT edition_id FROM mailing WHERE id = :mailing)"
                    " AND cadence = :cadence"
                ),
                {"mailing": mailing, "cadence": cadence.value},
            )
        draft = {"subject": "We move", "text": "Soon.", "audience": "all"}
        session.add(Announcement(**draft, created_at=now, updated_at=now))
        counts.recount(session)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def _readers(session: Session, count: int, now: datetime) -> None:
    age = int(AGE.total_seconds())
    daily, weekly, _ = itertools.accumulate(_SHARES.values())
    domains = " ".join(f"WHEN {n} THEN '{name}'" for n, name in enumerate(_DOMAINS))
    begun = now - AGE
    written = {
        "age": age,
        "imported": age // 3,
        "domain": f"CASE n % {len(_DOMAINS)} {domains} END",
        "cadence": f"CASE WHEN n * 37 % 100 < {daily} THEN 'daily'"
        f" WHEN n * 37 % 100 < {weekly} THEN 'weekly' ELSE 'monthly' END",
        "came": _after(session, begun, "came"),
        "went": _after(session, begun, "went"),
        "later": _instant(session, now + timedelta(30)),
    }
    session.execute(text(_SUBSCRIBERS.format(**written)), {"count": count})
    columns = ("at", "action", "status", "wording", "source", "chosen")
    for one in _CONSENTS:
        statement = _CONSENT.format(**dict(zip(columns, one, strict=True)))
        session.execute(text(statement.replace(":", "\\:")))
    session.execute(text(_SUPPRESSIONS))


def _publish(
    session: Session, readers: int, editions: int, now: datetime
) -> dict[Cadence, tuple[int, datetime, bool]]:
    """Add feeds, articles and editions; return the newest mailing of each cadence.

    With it come the instant of its freeze, and whether its edition is open.
    """
    added = {"added_at": now - AGE, "fetched_at": now, "succeeded_at": now, "items": 20}
    feeds = [
        {"url": f"https://miasfeed.example/{name}.xml", "title": name.capitalize(), **added}
        for name in ("news", "hearts", "sleep")
    ]
    session.execute(insert(Feed), feeds)
    issues = list(itertools.islice(due(now), editions))
    session.execute(insert(Article), [_article(n, editions, now) for n in range(len(issues) * 10)])
    session.execute(insert(Edition), [_edition(*one, issues, readers, now) for one in issues])
    session.execute(
        insert(Mailing), [_mailing(n, *one, issues, readers) for n, one in enumerate(issues)]
    )
    session.execute(
        insert(MailingArticle),
        [_placed(n, place) for n in range(len(issues)) for place in range(_SHOWN)],
    )
    session.execute(insert(Audit), [_audited(n, now) for n in range(200)])
    return {
        cadence: (n + 1, at, at == issues[0][1])
        for n, (cadence, at) in reversed([*enumerate(issues)])
    }


def due(now: datetime) -> Iterator[tuple[Cadence, datetime]]:
    """Yield editions, newest first: at 06:00, daily ones for half of the time between others."""
    day = now.replace(hour=6, minute=0, second=0, microsecond=0)
    if day > now:
        day -= timedelta(1)
    while True:
        yield Cadence.DAILY, day
        if day.weekday() == 0:
            yield Cadence.WEEKLY, day
        if day.day == 1:
            yield Cadence.MONTHLY, day
        day -= timedelta(1)


def _edition(
    cadence: Cadence,
    at: datetime,
    due: list[tuple[Cadence, datetime]],
    readers: int,
    now: datetime,
) -> dict[str, object]:
    is_open = (cadence, at) == due[0]
    return {
        "cadence": cadence.value,
        "period": date(at.year, at.month, at.day),
        "state": (EditionState.OPEN if is_open else EditionState.FINISHED).value,
        "coverage_start": at - cadence.length,
        "coverage_end": at,
        "audience": _audience(cadence, at, readers, now),
        "created_at": at,
        "finished_at": None if is_open else at + timedelta(hours=1),
        "settled_at": None if is_open else at + timedelta(hours=2),
    }


def _audience(cadence: Cadence, at: datetime, readers: int, now: datetime) -> int:
    share = 1 - (now - at) / AGE
    return int(readers * 0.9 * _SHARES[cadence] / 100 * share)


def _mailing(
    number: int,
    cadence: Cadence,
    at: datetime,
    due: list[tuple[Cadence, datetime]],
    readers: int,
) -> dict[str, object]:
    body, fields = ledgers.compiled(size=20_000).dump()
    is_newest = cadence not in {earlier for earlier, _ in due[:number]}
    audience = 0 if is_newest else _audience(cadence, at, readers, due[0][1])
    refused = audience // 100
    return {
        "public_id": f"mailing{number:09}",
        "kind": "digest",
        "edition_id": number + 1,
        "subject": f"The {cadence} digest of {at:%d %B}",
        "body": body,
        "fields": fields,
        "domain": ledgers.DOMAIN,
        "timezone": "Europe/Berlin",
        "language": "en",
        "signing_key": "",
        "html": "<!doctype html><html lang=en><title>News</title><p>News</p></html>",
        "created_at": at,
        "pruned_accepted": audience - refused,
        "pruned_refused": refused,
        "pruned_bounced": refused // 3,
        "pruned_complained": refused // 40,
    }


def _article(number: int, editions: int, now: datetime) -> dict[str, object]:
    """Return an article, newest first; of the newest, some wait for an editor."""
    seen_at = now - timedelta(hours=2) - AGE * number / (editions * _ARTICLES)
    waits = {3: "quarantined_at", 5: "held_at", 7: "quarantined_at"}.get(number)
    return {
        "feed_id": number % 3 + 1,
        "guid": f"article-{number}",
        "link": f"https://miasfeed.example/articles/{number}",
        "title": f"What trial number {number} has found about hearts, sleep and walking",
        "standfirst": "Older adults who walked more slept better, a trial in twelve clinics found.",
        "source": "Mia's Feed",
        "categories": [("Hearts", "Sleep", "Walking")[number % 3]],
        "minutes": number % 7 + 1,
        "published_at": seen_at,
        "seen_at": None if waits else seen_at,
        "quarantined_at": seen_at if waits == "quarantined_at" else None,
        "quarantine_reason": "flood" if waits == "quarantined_at" else None,
        "held_at": seen_at if waits == "held_at" else None,
        "content_hash": f"{number:064}",
        "created_at": seen_at,
        "updated_at": seen_at,
    }


def _placed(number: int, place: int) -> dict[str, object]:
    article = number * _ARTICLES + place + (0 if number else 10)
    return {
        "mailing_id": number + 1,
        "article_id": article % (10 * max(number, 2)) + 1,
        "position": place,
        "role": "story" if place else "lead",
        "title": f"What trial number {article} has found about hearts, sleep and walking",
        "link": f"https://miasfeed.example/articles/{article}",
        "content_hash": f"{article:064}",
    }


def _audited(number: int, now: datetime) -> dict[str, object]:
    return {
        "at": now - timedelta(hours=7 * (200 - number)),
        "actor": "desk:mia",
        "action": "articles.hold",
        "subject": f"article:{number + 1}",
        "detail": f"What trial number {number} has found",
    }


def _instant(where: Engine | Session, at: datetime) -> str:
    return _after(where, at, "0")


def _after(where: Engine | Session, begun: datetime, seconds: str) -> str:
    """Return SQL of the instant so many seconds later, as the models store it.

    Colons are those of times, and no parameters.
    """
    engine = where.get_bind() if isinstance(where, Session) else where
    if engine.dialect.name == "sqlite":
        start = f"{begun:%Y-%m-%d %H\\:%M\\:%S}"
        return f"strftime('%Y-%m-%d %H\\:%M\\:%S.000000', '{start}', ({seconds}) || ' seconds')"
    start = f"{begun:%Y-%m-%d %H\\:%M\\:%S}+00"
    return f"(CAST('{start}' AS timestamptz) + ({seconds}) * interval '1 second')"


def main() -> None:
    """Make the database and fill it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", metavar="DATABASE_URL")
    parser.add_argument("--readers", type=int, default=300)
    parser.add_argument("--editions", type=int, default=100)
    asked = parser.parse_args()
    begun = time.monotonic()
    engine = engines.open(asked.url)
    schema.upgrade(engine)
    seed(engine, readers=asked.readers, editions=asked.editions, now=utc_now())
    engine.dispose()
    print(f"{asked.readers:,} readers in {time.monotonic() - begun:.0f} s.")


if __name__ == "__main__":
    main()
