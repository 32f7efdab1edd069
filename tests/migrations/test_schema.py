"""The migrations create the schema of the models, on both engines."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel, select

import newsletter.models
from newsletter.db import engine as engines
from newsletter.db import schema, session
from newsletter.errors import Conflict, DatabaseUnavailable, InvalidInput, SchemaOutOfDate

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
#: Columns of every mailing since the first version, without its bodies.
MAILING = {
    "public_id": "mailing000000001",
    "kind": "digest",
    "subject": "News",
    "fields": "[]",
    "created_at": NOON,
}


def test_migrations_and_models_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, SQLModel.metadata) == []


def test_the_files_of_the_migrations_are_named_by_their_versions() -> None:
    script = ScriptDirectory.from_config(schema._config())

    assert [one.revision for one in script.walk_revisions()] == schema._known()[::-1]


def test_an_upgrade_run_again_finds_nothing_to_do(engine: Engine) -> None:
    assert schema.upgrade(engine) == (schema.newest(), schema.newest())


def test_every_migration_goes_back_and_forth(engine: Engine) -> None:
    _go_back_to(engine, "base")
    assert schema.current(engine) is None
    assert schema.upgrade(engine) == (None, schema.newest())


def test_what_was_frozen_before_slots_were_keeps_its_domain_and_language(engine: Engine) -> None:
    """Its rows may still be sent again, with the same Message-ID."""
    _go_back_to(engine, "0002")
    _insert(
        engine,
        "mailing",
        **MAILING,
        body=b"From: =?utf-8?q?M=C3=ADa?= <news@mia.example>\r\nTo: \r\n\r\nHello\r\n",
        html='<!doctype html>\n<html lang="de-AT" dir="ltr"><p>Hello</p></html>',
    )

    schema.upgrade(engine, timezone="Asia/Tokyo")

    with session.reading(engine) as opened:
        (mailing,) = opened.exec(select(newsletter.models.Mailing)).all()
    assert (mailing.domain, mailing.timezone, mailing.language) == (
        "mia.example",
        "Asia/Tokyo",
        "de-AT",
    )


def test_of_a_mailing_that_was_there_before_nothing_has_been_pruned(engine: Engine) -> None:
    _go_back_to(engine, "0004")
    _insert(
        engine,
        "mailing",
        **MAILING,
        body=b"Hello",
        domain="mia.example",
        timezone="UTC",
        language="en",
        signing_key="",
        html="<p>Hello</p>",
    )

    schema.upgrade(engine)

    with session.reading(engine) as opened:
        (mailing,) = opened.exec(select(newsletter.models.Mailing)).all()
    assert (
        mailing.pruned_accepted,
        mailing.pruned_refused,
        mailing.pruned_skipped,
        mailing.pruned_cancelled,
    ) == (0, 0, 0, 0)


def test_articles_of_mailings_that_were_there_before_are_called_as_they_are_now(
    engine: Engine,
) -> None:
    _go_back_to(engine, "0006")
    _insert(
        engine,
        "mailing",
        **MAILING,
        id=1,
        body=b"Hello",
        domain="mia.example",
        timezone="UTC",
        language="en",
        signing_key="",
        html="<p>Hello</p>",
    )
    _insert(
        engine,
        "article",
        id=1,
        link="https://mia.example/1",
        title="A title",
        standfirst="",
        categories="[]",
        minutes=1,
        content_hash="x",
        created_at=NOON,
        updated_at=NOON,
    )
    placed = {"mailing_id": 1, "article_id": 1, "position": 1, "role": "lead", "content_hash": "x"}
    _insert(engine, "mailing_article", **placed)

    schema.upgrade(engine)

    with session.reading(engine) as opened:
        (found,) = opened.exec(select(newsletter.models.MailingArticle)).all()
        (mailing,) = opened.exec(select(newsletter.models.Mailing)).all()
    assert (found.title, found.link) == ("A title", "https://mia.example/1")
    assert mailing.corrects_id is None


def test_why_an_address_was_suppressed_becomes_a_cause(engine: Engine) -> None:
    _go_back_to(engine, "0011")
    rows = [
        ("a", "550 5.1.1 no such user", "mail server", "dead"),
        ("b", "3 mails in a row: 552 5.2.2 full", "mail server", "full"),
        ("c", "imported as blocked", "import readers.csv", "imported"),
        (None, "forgotten", "", "erased"),
        ("d", "asked by phone", "command line", "operator"),
        ("e", "forgotten", "command line", "operator"),
    ]
    for number, (address, reason, source, _) in enumerate(rows):
        _insert(
            engine,
            "suppression",
            address=address,
            address_hash=str(number),
            reason=reason,
            source=source,
            created_at=NOON,
        )

    schema.upgrade(engine)

    with engine.connect() as connection:
        found = connection.execute(text("SELECT cause FROM suppression ORDER BY id")).scalars()
        assert list(found) == [cause for *_, cause in rows]


def _go_back_to(engine: Engine, version: str) -> None:
    with engine.connect() as connection, connection.begin():
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, version)


def _insert(engine: Engine, table: str, **row: object) -> None:
    columns = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)


def test_an_empty_database_names_the_command_that_mends_it(database_url: str) -> None:
    empty = engines.open(database_url)
    with pytest.raises(SchemaOutOfDate) as caught:
        schema.check(empty)
    empty.dispose()
    assert "newsletter database upgrade" in str(caught.value.hint)


def test_a_database_of_another_version_is_refused(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaOutOfDate, match="schema 9999"):
        schema.check(engine)


def test_a_folder_that_does_not_exist_is_said_in_words(tmp_path: Path) -> None:
    lost = engines.open(f"sqlite:///{tmp_path}/nowhere/newsletter.db")
    with pytest.raises(DatabaseUnavailable, match="could not be used: unable to open"):
        schema.check(lost)
    lost.dispose()


def test_the_freeze_lock_gives_later_instants_even_if_the_clock_steps_back(engine: Engine) -> None:
    given = []
    for now in (NOON, NOON - timedelta(hours=1), NOON, NOON + timedelta(seconds=1)):
        with session.writing(engine) as opened:
            given.append(session.freeze_lock(opened, now))
    assert given == sorted(set(given))
    assert given[-1] == NOON + timedelta(seconds=1)


def test_a_transaction_that_fails_leaves_nothing(engine: Engine) -> None:
    def fail() -> None:
        with session.writing(engine) as opened:
            session.freeze_lock(opened, NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    with session.reading(engine) as opened:
        found = opened.exec(select(newsletter.models.FreezeLock)).one()
    assert found.latest_instant < NOON


def test_sqlite_is_configured_for_durability(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 60_000,
    }


def test_a_backup_is_made_wherever_the_database_is(migrated_sqlite: Path, tmp_path: Path) -> None:
    folder = tmp_path / "news #1?"
    folder.mkdir()
    shutil.copyfile(migrated_sqlite, folder / "newsletter.db")
    opened = engines.open(f"sqlite:///{folder}/newsletter.db".replace("?", "%3F"))

    schema.backup(opened, tmp_path / "copy.db")
    opened.dispose()

    assert (tmp_path / "copy.db").stat().st_size > 0


def test_a_backup_is_its_owners_alone(sqlite_engine: Engine, tmp_path: Path) -> None:
    schema.backup(sqlite_engine, tmp_path / "copy.db")

    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_backup_is_a_whole_database_and_overwrites_nothing(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    with session.writing(sqlite_engine) as opened:
        session.freeze_lock(opened, NOON)
    schema.backup(sqlite_engine, target)

    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT count(*) FROM freeze_lock").fetchone() == (1,)
    with pytest.raises(Conflict):
        schema.backup(sqlite_engine, target)


def test_a_backup_that_fails_leaves_no_half_of_a_database(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(sqlite3.Connection):
        def backup(self, *_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    genuine = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: genuine(*a, **k, factory=Full))

    with pytest.raises(DatabaseUnavailable, match="disk is full"):
        schema.backup(sqlite_engine, tmp_path / "copy.db")

    assert list(tmp_path.glob("copy*")) == []


def test_a_backup_of_postgresql_names_pg_dump() -> None:
    elsewhere = engines.open("postgresql://127.0.0.1/none")
    with pytest.raises(InvalidInput, match="own tool"):
        schema.backup(elsewhere, Path("x"))


def test_an_error_of_the_database_names_no_address(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(SQLAlchemyError) as caught:
        connection.execute(text("SELECT nothing WHERE 'x' = :address"), {"address": "a@b.example"})

    assert "a@b.example" not in str(caught.value)
