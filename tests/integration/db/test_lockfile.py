"""Lock files show whether a process of this machine is running, without false negatives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import holders
import pytest
from sqlalchemy import Engine

from newsletter import paths
from newsletter.db import engine as engines
from newsletter.db import lockfile

#: An unprivileged user (nobody).
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

#: A process that locks a file, prints a line, and runs until it is ended.
HOLDER = """
import sys
from newsletter.db import engine, lockfile

descriptor = lockfile.take(engine.open(sys.argv[1]), sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


def holding(
    url: str, name: str, **environment: object
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run a process with an environment of its own that holds a lock."""
    return holders.holding(HOLDER, url, name, says="held", **environment)


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a state folder for this test, not created yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "newsletter"


def test_a_lock_is_held_by_one_until_its_end_and_then_free(engine: Engine) -> None:
    assert lockfile.is_held(engine, "one") is None
    with holding(url_of(engine), "one") as process:
        assert lockfile.is_held(engine, "one") is True
        assert lockfile.is_held(engine, "another") is None
        with pytest.raises(BlockingIOError):
            lockfile.take(engine, "one")
        process.kill()
        process.wait(timeout=60)

    assert lockfile.is_held(engine, "one") is False
    lockfile.remove(engine, "one")
    assert lockfile.is_held(engine, "one") is None


def test_a_session_and_cron_find_the_same_lock_whatever_their_environment(
    engine: Engine, tmp_path: Path
) -> None:
    for name in ("runtime", "temporary"):
        (tmp_path / name).mkdir(mode=0o700)
    with holding(
        url_of(engine), "one", XDG_RUNTIME_DIR=tmp_path / "runtime", TMPDIR=tmp_path / "temporary"
    ):
        assert lockfile.is_held(engine, "one") is True


def test_a_process_with_another_state_folder_is_unknown_and_never_ended(
    engine: Engine, tmp_path: Path
) -> None:
    with holding(url_of(engine), "one", XDG_STATE_HOME=tmp_path / "elsewhere"):
        expected = True if engine.dialect.name == "sqlite" else None
        assert lockfile.is_held(engine, "one") is expected


def test_a_free_lock_of_another_machine_or_boot_is_not_conclusive(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.close(lockfile.take(engine, "one"))
    assert lockfile.is_held(engine, "one") is False

    monkeypatch.setattr(lockfile, "_machine", lambda: b"another")
    assert lockfile.is_held(engine, "one") is None
    with holding(url_of(engine), "one"):
        assert lockfile.is_held(engine, "one") is True


@pytest.mark.usefixtures("sqlite_engine")
def test_every_spelling_of_a_databases_path_is_the_same_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    spelled = [
        engines.open(f"sqlite:///{path}")
        for path in ("newsletter.db", "./newsletter.db", tmp_path / "link" / "newsletter.db")
    ]
    descriptor = lockfile.take(spelled[0], "one")

    assert [lockfile.is_held(one, "one") for one in spelled] == [True] * 3
    os.close(descriptor)


def test_lock_files_of_a_sqlite_database_have_its_mode(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    for mode in (0o600, 0o660):
        (tmp_path / "newsletter.db").chmod(mode)
        os.close(lockfile.take(sqlite_engine, "one"))
        assert (tmp_path / "newsletter.db-one.lock").stat().st_mode & 0o777 == mode


@as_root
def test_what_root_locks_belongs_to_the_databases_owner(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    os.chown(tmp_path / "newsletter.db", NOBODY, NOBODY)

    os.close(lockfile.take(sqlite_engine, "one"))

    found = (tmp_path / "newsletter.db-one.lock").stat()
    assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)


@as_root
def test_a_lock_file_of_another_user_does_not_prevent_locking(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    planted = tmp_path / "newsletter.db-fetch.lock"
    planted.touch()
    planted.chmod(0o666)
    os.chown(planted, NOBODY, NOBODY)

    with pytest.raises(PermissionError, match="belongs to another user"):
        lockfile.take(sqlite_engine, "fetch")


def test_a_link_in_the_place_of_a_lock_file_is_not_followed(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "newsletter.db-one.lock").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError, match=str(tmp_path)):
        lockfile.take(sqlite_engine, "one")
    assert lockfile.is_held(sqlite_engine, "one") is None
    assert (tmp_path / "precious").read_text() == "precious"


# The state folder, where those of PostgreSQL lie


def open_to_others(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def of_another(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chown(folder, NOBODY, NOBODY)


def link_of_another(folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(folder.parent, target_is_directory=True)
    os.chown(folder, NOBODY, NOBODY, follow_symlinks=False)


def link_to_anothers(folder: Path) -> None:
    of_another(folder.parent / "theirs")
    folder.symlink_to(folder.parent / "theirs", target_is_directory=True)


def file(folder: Path) -> None:
    folder.parent.mkdir()
    folder.touch()


def below_a_file(folder: Path) -> None:
    folder.parent.touch()


@pytest.mark.parametrize(
    "spoil",
    [
        open_to_others,
        pytest.param(of_another, marks=as_root),
        pytest.param(link_of_another, marks=as_root),
        pytest.param(link_to_anothers, marks=as_root),
        file,
        below_a_file,
    ],
)
def test_a_state_folder_that_is_not_this_users_alone_is_not_used(
    state: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(state)

    with pytest.raises(OSError, match=str(state.parent)):
        paths.state_folder()


def test_a_state_folder_may_be_this_users_own_link(state: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    state.parent.mkdir()
    state.symlink_to(tmp_path / "elsewhere", target_is_directory=True)

    assert paths.state_folder() == state


def test_a_user_without_a_home_has_no_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(OSError, match="has no home"):
        paths.state_folder()
