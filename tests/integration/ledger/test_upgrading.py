"""An upgrade is refused while a process is running, and ignores crashed ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from journey import until
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import OperationalError

from newsletter.clock import utc_now
from newsletter.db import schema
from newsletter.db import session as sessions
from newsletter.errors import DatabaseUnavailable, SchemaOutOfDate
from newsletter.ledger import registration, registry, upgrading
from newsletter.ledger.upgrading import StillInUse
from newsletter.models import ProcessKind, Worker
from newsletter.sender import domain_limits
from newsletter.sender.limits import Limits
from newsletter.settings.values import DomainLimit


def go_back_to(engine: Engine, version: str) -> None:
    with engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, version)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a state folder without lock files of other tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def outdated(engine: Engine) -> Engine:
    """A database of the previous schema version."""
    go_back_to(engine, "-1")
    return engine


def add(engine: Engine, name: str, *, lease: timedelta, pid: int = 4242, **more: object) -> None:
    """Register a process as the oldest version did, or with more columns."""
    now = utc_now()
    values = {
        "id": pid,
        "name": name,
        "host": "mia",
        "pid": pid,
        "started_at": now - timedelta(hours=1),
        "lease_until": now + lease,
        **more,
    }
    names = ", ".join(values)
    slots = ", ".join(f":{one}" for one in values)
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"INSERT INTO worker ({names}) VALUES ({slots})"), values)


@pytest.mark.parametrize("version", ["0001", "0006", "0011"])
def test_a_worker_of_any_older_version_keeps_the_database_as_it_is(
    engine: Engine, version: str
) -> None:
    go_back_to(engine, version)
    add(engine, "one", lease=timedelta(minutes=2))

    with pytest.raises(StillInUse, match=r"worker 4242 on mia \(an earlier version, since") as no:
        upgrading.upgrade(engine, timezone="UTC")

    assert schema.current(engine) == version
    assert "if it has died, until" in no.value.message
    assert "`newsletter worker`" in (no.value.hint or "")
    assert "--wait" in (no.value.hint or "")


def test_a_process_with_an_expired_lease_does_not_block_an_upgrade(outdated: Engine) -> None:
    add(outdated, "one", lease=timedelta(seconds=-1))

    assert upgrading.upgrade(outdated, timezone="UTC")[1] == schema.newest()


def test_a_killed_process_of_this_machine_does_not_block_an_upgrade(
    outdated: Engine,
) -> None:
    add(outdated, "one", lease=timedelta(minutes=3))
    with registry.liveness_lock(outdated, "one"):
        pass

    assert upgrading.upgrade(outdated, timezone="UTC")[1] == schema.newest()


def test_a_suspended_process_of_this_machine_blocks_past_its_lease(
    outdated: Engine,
) -> None:
    add(outdated, "one", lease=timedelta(hours=-1))
    with registry.liveness_lock(outdated, "one"), pytest.raises(StillInUse) as no:
        upgrading.upgrade(outdated, timezone="UTC")

    assert "if it has died" not in no.value.message


def test_without_an_upgrade_no_process_has_to_stop(engine: Engine) -> None:
    add(engine, "one", lease=timedelta(minutes=3))

    assert upgrading.upgrade(engine, timezone="UTC") == (schema.newest(), schema.newest())


def test_a_web_server_with_its_worker_is_named_once(engine: Engine) -> None:
    for number, kind in enumerate(("worker", "web", "worker")):
        add(engine, kind + str(number), lease=timedelta(minutes=3), id=number, kind=kind)
    add(engine, "other", lease=timedelta(minutes=3), pid=7, kind="desk", version="2.0")
    with engine.connect() as connection:
        found = upgrading._running(connection, utc_now())

    assert [(one.kind, one.pid, one.version) for one in found] == [
        ("web", 4242, None),
        ("desk", 7, "2.0"),
    ]
    assert "web process 4242 on mia" in str(StillInUse(found))
    assert "each desk" in (StillInUse(found).hint or "")


def test_of_many_processes_a_few_are_named(outdated: Engine) -> None:
    for number in range(30):
        add(outdated, f"w{number}", lease=timedelta(minutes=3), pid=1000 + number)

    with pytest.raises(StillInUse, match=", 25 more"):
        upgrading.upgrade(outdated, timezone="UTC")


# Registration of web processes


def processes(engine: Engine) -> list[tuple[str, int]]:
    with sessions.reading(engine) as session:
        return [tuple(row) for row in session.execute(select(Worker.kind, Worker.pid))]


@contextmanager
def registered(engine: Engine, on_outdated: Callable[[], object] = lambda: None) -> Iterator[None]:
    with registration.registered(engine, ProcessKind.WEB, on_outdated=on_outdated):
        yield


def test_a_web_process_is_registered_until_it_ends(engine: Engine) -> None:
    with registered(engine):
        assert processes(engine) == [("web", os.getpid())]
        with sessions.reading(engine) as session:
            (name,) = session.execute(select(Worker.name)).scalars()
        assert registry.is_seen(engine, name) is True

    assert processes(engine) == []
    assert registry.is_seen(engine, name) is None


def test_a_web_process_whose_row_was_deleted_registers_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RENEWAL", timedelta(milliseconds=20))
    with registered(engine):
        with sessions.writing(engine) as session:
            session.execute(text("DELETE FROM worker"))
        until(lambda: processes(engine) == [("web", os.getpid())])
    assert processes(engine) == []


def test_an_outage_of_the_database_does_not_end_a_web_process(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RENEWAL", timedelta(milliseconds=20))
    renew, asked = registry.renew, threading.Semaphore(0)
    is_away = True

    def away(*arguments: object, **named: object) -> bool:
        asked.release()
        if is_away:
            raise OperationalError("", {}, Exception("connection refused"))
        return renew(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(registry, "renew", away)
    with registered(engine):
        assert all(asked.acquire(timeout=60) for _ in range(3))
        outlive = utc_now() - timedelta(hours=1)
        with sessions.writing(engine) as session:
            session.execute(update(Worker).values(lease_until=outlive))
        is_away = False
        until(lambda: lease(engine) > utc_now())


def lease(engine: Engine) -> datetime:
    with sessions.reading(engine) as session:
        return session.execute(select(Worker.lease_until)).scalar_one()


def test_after_an_outage_at_its_end_a_process_is_known_to_have_ended(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(registry, "sign_out", away)
    with registered(engine):
        pass

    assert len(processes(engine)) == 1
    go_back_to(engine, "-1")
    assert upgrading.upgrade(engine, timezone="UTC")[1] == schema.newest()


def test_a_web_process_under_which_the_database_was_upgraded_ends_with_a_clear_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "RENEWAL", timedelta(milliseconds=20))
    told = threading.Event()

    def live_through_an_upgrade() -> None:
        with registered(engine, told.set):
            with engine.connect() as connection, connection.begin():
                connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
            assert told.wait(60)

    with pytest.raises(SchemaOutOfDate, match="was brought to schema 9999 while") as caught:
        live_through_an_upgrade()

    assert "Start it again" in (caught.value.hint or "")


def test_a_registration_during_an_upgrade_blocks_it_or_finds_the_new_schema(
    engine: Engine,
) -> None:
    """A process is not registered between its schema check and its first row."""
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(SchemaOutOfDate), registered(engine):
        pass

    assert processes(engine) == []


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_no_process_registers_between_the_check_of_an_upgrade_and_its_commit(
    outdated: Engine,
) -> None:
    def sign_in() -> None:
        with sessions.writing(outdated) as session:
            session.execute(text("SET LOCAL lock_timeout = '200ms'"))
            session.execute(
                text(
                    "INSERT INTO worker (id, name, host, pid, started_at, lease_until)"
                    " VALUES (1, 'one', 'mia', 1, now(), now())"
                )
            )

    def guard(connection: object) -> None:
        upgrading._require_unused(connection)  # type: ignore[arg-type]
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            sign_in()

    assert schema.upgrade(outdated, guard=guard)[1] == schema.newest()
    sign_in()
    with sessions.reading(outdated) as session:
        assert session.execute(select(func.count()).select_from(Worker)).scalar_one() == 1


def test_a_web_process_has_no_share_of_what_workers_share(engine: Engine) -> None:
    rules = Limits(domains={"example.org": DomainLimit(connections=2)})
    now = utc_now()
    with registered(engine), sessions.writing(engine) as session:
        registration = registry.sign_in(session, name="sender", now=now)
        found = domain_limits.allowances(
            session, ["example.org"], rules, holding={}, worker_id=registration.id, now=now
        )

    assert found["example.org"].share == 2
