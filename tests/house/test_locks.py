"""One way to each lock whose order matters, by the syntax tree of the program."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "newsletter"

#: Who may call a function that locks.
ONLY_WAYS = {
    "hold_freeze": {"subscribers/locking.py"},
    "with_for_update": {
        "db/restore_guard.py",
        "db/session.py",
        "ledger/books.py",
        "ledger/erasure.py",
        "ledger/recovery.py",
        "ledger/registry.py",
        "ledger/reports.py",
        "sender/limits.py",
        "subscribers/locking.py",
        "suppression.py",
        "tally.py",
        "throttle.py",
    },
}


def calls(source: str) -> set[str]:
    """Return the names of all functions that a module calls."""
    found = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {
        func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in found
    }


def steps_of_guard(source: str) -> set[str]:
    """Return the steps of the restore guard that a module calls itself."""
    steps = {"check", "advance", "remember"}
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "restore_guard"
        and node.attr in steps
    }


def locks_subscribers(source: str) -> bool:
    """Return whether a chain of calls ends in FOR UPDATE and names the subscribers' model."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Attribute) and node.attr == "with_for_update"):
            continue
        if any(isinstance(one, ast.Name) and one.id == "Subscriber" for one in ast.walk(node)):
            return True
    return False


def modules() -> dict[str, str]:
    return {
        path.relative_to(PROGRAM).as_posix(): path.read_text("utf-8")
        for path in sorted(PROGRAM.rglob("*.py"))
    }


@pytest.mark.parametrize("name", ONLY_WAYS)
def test_nobody_else_takes_the_lock(name: str) -> None:
    assert {path for path, source in modules().items() if name in calls(source)} <= ONLY_WAYS[name]


def test_the_steps_of_the_restore_guard_are_taken_by_sending_alone() -> None:
    assert {path for path, source in modules().items() if steps_of_guard(source)} == set()
    assert steps_of_guard("restore_guard.check(session, engine)") == {"check"}


def test_only_one_module_locks_subscriber_rows() -> None:
    found = {path for path, source in modules().items() if locks_subscribers(source)}
    assert found == {"subscribers/locking.py"}


@pytest.mark.parametrize(
    "source",
    [
        "session.exec(select(Subscriber).where(a).with_for_update())",
        "query = select(col(Subscriber.id)).order_by(a).limit(1).with_for_update(skip_locked=True)",
    ],
)
def test_a_lock_of_subscriber_rows_is_found(source: str) -> None:
    assert locks_subscribers(source)
