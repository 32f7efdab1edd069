"""The metrics: what the database holds, in a form that Prometheus reads, and without a scan."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import ledgers
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser
from sqlalchemy import Engine, event, text

from newsletter import tally
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.db.engine import is_sqlite
from newsletter.doctor import kept
from newsletter.doctor.findings import Checks, Finding, Level
from newsletter.ledger import registry
from newsletter.metrics import catalog, exposition
from newsletter.models import (
    Edition,
    EditionState,
    Feed,
    Kind,
    SchedulerRun,
    State,
    Status,
)
from newsletter.models.suppression import Cause
from newsletter.publication import Publication
from newsletter.sender import limits
from newsletter.sender.limits import Limits
from newsletter.settings import Settings
from newsletter.tally import Name

_OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
NOW = datetime.now(UTC)

#: A value by its labels, as a set of pairs.
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


@pytest.fixture
def publication(settings: Callable[..., Settings]) -> Publication:
    return Publication.of(settings(timezone="UTC"))


def samples(engine: Engine, publication: Publication, rules: Limits | None = None) -> Samples:
    """Scrape, and read it as Prometheus would."""
    octets, _ = exposition.scrape(engine, publication, rules or Limits())
    found: Samples = {}
    for family in parser.text_string_to_metric_families(octets.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name][frozenset(labels.items())]


def test_every_metric_is_exposed_with_its_labels_and_nothing_else(
    engine: Engine, publication: Publication
) -> None:
    lived(engine)

    octets, kind = exposition.scrape(engine, publication, Limits())

    assert kind.startswith("text/plain; version=")
    families = {one.name: one for one in parser.text_string_to_metric_families(octets.decode())}
    assert list(families) == [one.name.removesuffix("_total") for one in catalog.ALL]
    for metric in catalog.ALL:
        family = families[metric.name.removesuffix("_total")]
        assert family.documentation == metric.help
        assert family.type == ("counter" if metric.is_counter else "gauge")
        assert family.samples, metric.name
        for sample in family.samples:
            assert sample.name == metric.name
            assert set(sample.labels) == set(metric.labels)


def test_openmetrics_is_spoken_to_who_asks_for_it(engine: Engine, publication: Publication) -> None:
    lived(engine)

    octets, kind = exposition.scrape(engine, publication, Limits(), accept=_OPEN_METRICS)

    assert kind.startswith("application/openmetrics-text")
    found = [*open_parser.text_string_to_metric_families(octets.decode())]
    assert len(found) == len(catalog.ALL)


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=new",
        "text/plain; version=1.x; escaping=dots",
        'application/openmetrics-text; version="1.0.0"',
        ";;=,\xff",
    ],
)
def test_what_is_no_version_of_a_format_gets_the_plain_one(
    sqlite_engine: Engine, publication: Publication, accept: str
) -> None:
    octets, kind = exposition.scrape(sqlite_engine, publication, Limits(), accept=accept)

    assert kind.startswith("text/plain; version=0.0.4")
    assert [*parser.text_string_to_metric_families(octets.decode())]


def test_nothing_is_overdue_while_all_mail_waits_for_a_rate_limit(
    engine: Engine, publication: Publication
) -> None:
    lived(engine)
    rules = Limits(per_day=10)
    assert value(samples(engine, publication, rules), "newsletter_oldest_due_seconds") > 3_500

    with sessions.writing(engine) as session:
        while limits.reserve(session, rules, wanted=10, now=NOW).messages:
            pass

    assert value(samples(engine, publication, rules), "newsletter_oldest_due_seconds") == 0


def test_an_empty_newsletter_has_every_series_whose_labels_are_known(
    engine: Engine, publication: Publication
) -> None:
    found = samples(engine, publication)

    assert len(found["newsletter_deliveries"]) == len(Kind) * len(State)
    assert len(found["newsletter_subscribers"]) == len(Status) * len(Cadence)
    assert len(found["newsletter_suppressions_total"]) == len(Cause)
    assert value(found, "newsletter_oldest_due_seconds") == 0
    assert value(found, "newsletter_cron_last_success_timestamp_seconds") == 0
    assert {one for metric in found.values() for one in metric.values()} == {0}


def lived(engine: Engine) -> None:
    """Give a database one of everything that metrics tell."""
    ledgers.fill(engine, 3, now=NOW - timedelta(hours=1))
    with sessions.writing(engine) as session:
        for name, cadence in (("ann", "daily"), ("bob", "weekly"), ("cy", "weekly")):
            session.execute(text(_READER), _reader(name, cadence))
            tally.add_readers(session, {tally.reader(cadence, "active"): 1}, now=NOW)
        tally.add(session, Name.REPLY, {"rcpt refused suppress": 2})
        tally.add(session, Name.SUPPRESSION, {"dead": 2})
        tally.add(session, Name.REPORT, {"mail bounce": 4, "ses complaint": 1})
        tally.add(session, Name.UNPLACED, {"ses": 1})
        session.add(
            SchedulerRun(
                command="cron", host="h", pid=1, began_at=NOW, ended_at=NOW, succeeded_at=NOW
            )
        )
        session.add(
            Feed(
                url="https://user:hunter2@news.example/feed?key=hunter3",
                added_at=NOW,
                succeeded_at=NOW - timedelta(hours=2),
            )
        )
        session.add(Feed(url="https://news.example/feed?key=hunter4", added_at=NOW))
        session.add(
            Edition(
                cadence="weekly",
                period=NOW.date(),
                state=EditionState.FINISHED,
                coverage_start=NOW,
                coverage_end=NOW,
                created_at=NOW,
                finished_at=NOW,
            )
        )
        finding = Finding(id="spf.one", level=Level.ERROR, sentence="Two.", hint="One.")
        kept.keep(session, {next(iter(Checks)): [finding]}, now=NOW)
        registry.sign_in(session, name="gone", now=NOW - timedelta(hours=1))


_READER = """
    INSERT INTO subscriber (public_id, address, cadence, status, generation, created_at, updated_at)
    VALUES (:name, :address, :cadence, 'active', 1, :now, :now)
"""


def _reader(name: str, cadence: str) -> dict[str, Any]:
    now = f"{NOW:%Y-%m-%d %H:%M:%S.%f}"
    return {"name": name, "address": f"{name}@readers.example", "cadence": cadence, "now": now}


def test_the_values_are_what_the_database_holds(engine: Engine, publication: Publication) -> None:
    lived(engine)

    found = samples(engine, publication)

    assert value(found, "newsletter_deliveries", kind="digest", state="queued") == 3
    assert 3_500 < value(found, "newsletter_oldest_due_seconds") < 90_000
    assert value(found, "newsletter_subscribers", status="active", cadence="weekly") == 2
    replied = {"phase": "rcpt", "kind": "refused", "reaction": "suppress"}
    assert value(found, "newsletter_replies_total", **replied) == 2
    assert value(found, "newsletter_suppressions_total", reason="dead") == 2
    assert value(found, "newsletter_reports_total", source="mail", kind="bounce") == 4
    assert value(found, "newsletter_reports_unplaced_total", source="ses") == 1
    assert value(found, "newsletter_workers", state="lost") == 1
    assert value(found, "newsletter_workers", state="running") == 0
    assert value(found, "newsletter_finding", id="spf.one", level="error") == 1
    at = pytest.approx(NOW.timestamp())
    assert value(found, "newsletter_cron_last_success_timestamp_seconds") == at
    finished = "newsletter_edition_finished_timestamp_seconds"
    assert value(found, finished, cadence="weekly") == at
    assert value(found, finished, cadence="daily") == 0


def test_no_address_and_no_secret_of_a_feed_is_exposed(
    engine: Engine, publication: Publication
) -> None:
    lived(engine)

    octets, _ = exposition.scrape(engine, publication, Limits())

    assert b"hunter" not in octets
    assert b"readers.example" not in octets
    # Two feeds that look the same then: the one that was never read counts.
    found = samples(engine, publication)["newsletter_feed_last_success_timestamp_seconds"]
    assert found == {frozenset({("feed", "https://news.example/feed?…")}): 0}


def test_an_edition_that_was_due_and_not_made_grows_overdue(
    engine: Engine, publication: Publication
) -> None:
    lived(engine)
    with sessions.writing(engine) as session:
        session.execute(text("UPDATE freeze_lock SET created_at = '2020-01-01 00:00:00'"))

    found = samples(engine, publication)

    assert 0 < value(found, "newsletter_edition_overdue_seconds", cadence="daily") <= 86_400
    assert value(found, "newsletter_edition_overdue_seconds", cadence="monthly") == 0


@contextmanager
def statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that run within the block, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_scrape_scans_no_table_that_grows(engine: Engine, publication: Publication) -> None:
    lived(engine)
    with statements(engine) as ran:
        exposition.scrape(engine, publication, Limits())

    assert is_sqlite(engine)
    steps = []
    with engine.connect() as connection:
        for statement, parameters in ran:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps += [(row[3], statement) for row in plan]
    scans = [one for one in steps if re.match(r"SCAN (delivery|subscriber|report|attempt)", one[0])]
    assert steps
    assert scans == []


@pytest.mark.parametrize("metric", catalog.ALL, ids=lambda metric: metric.name)
def test_names_and_helps_follow_the_rules_of_prometheus(metric: catalog.Metric) -> None:
    """Those of `promtool check metrics`, and a sentence of plain English."""
    assert re.fullmatch(r"newsletter(_[a-z]+)+", metric.name)
    assert not re.search(r"_(count|sum|bucket|info)$|_(ms|minutes|hours|bytes_total)", metric.name)
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    assert not {"le", "quantile", "job", "instance"} & set(metric.labels)
    assert re.fullmatch(r"[A-Z].+\.", metric.help)


def test_promtool_finds_nothing(engine: Engine, publication: Publication) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool of Prometheus is not installed")
    lived(engine)
    octets, _ = exposition.scrape(engine, publication, Limits())

    ran = subprocess.run(
        [promtool, "check", "metrics"], input=octets, capture_output=True, check=False
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
