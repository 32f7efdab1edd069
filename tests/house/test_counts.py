"""Who may change what is counted, by the syntax tree of the program: see `newsletter.tally`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "newsletter"
#: Columns by which rows are counted.
COUNTED = {"Delivery": {"state"}, "Subscriber": {"status", "cadence"}}
#: Who inserts, or sets a column of a row of the ORM, and counts it.
WRITERS = {"ledger/queue.py", "subscribers/store.py", "ledger/statements.py", "tally.py"}
#: Rows that are inserted with what they count.
INSERTS = {
    "Delivery": {"ledger/queue.py"},
    "Subscriber": {"subscribers/store.py"},
    "Suppression": {"suppression.py"},
}


def uncounted(source: str) -> Iterator[str]:
    """Yield what changes a counted column, or deletes readers, without counting them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if ast.unparse(target) in {"subscriber.status", "subscriber.cadence"}:
                    yield ast.unparse(node)
        if not (isinstance(node, ast.Call)):
            continue
        called = ast.unparse(node.func)
        if called.endswith(".values"):
            given = {one.arg for one in node.keywords}
            given |= set(re.findall(r"['\"](\w+)['\"]:", " ".join(map(ast.unparse, node.args))))
            for table, columns in COUNTED.items():
                if f"update({table})" in called and (given & columns or node.args):
                    yield ast.unparse(node)
        if called == "delete" and ast.unparse(node.args[0]) in {"Subscriber", "_subscribers"}:
            yield ast.unparse(node)
    yield from re.findall(r"UPDATE (?:delivery|subscriber) SET[^\"]*\b(?:state|status) =", source)


def inserts(source: str) -> Iterator[str]:
    """Yield the tables of which rows are inserted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            named = {ast.unparse(one) for one in node.args}
            if called in {"insert", "insert_into", "insert_missing"}:
                yield from named & INSERTS.keys()
            if called in INSERTS:
                yield called


def modules() -> dict[str, str]:
    return {
        path.relative_to(PROGRAM).as_posix(): path.read_text("utf-8")
        for path in sorted(PROGRAM.rglob("*.py"))
    }


def test_nothing_else_changes_what_is_counted() -> None:
    found = {path: list(uncounted(source)) for path, source in modules().items()}
    assert {path: texts for path, texts in found.items() if texts and path not in WRITERS} == {}


def test_nothing_else_inserts_what_is_counted() -> None:
    found = {(table, path) for path, source in modules().items() for table in set(inserts(source))}
    assert found == {(table, path) for table, paths in INSERTS.items() for path in paths}


@pytest.mark.parametrize(
    "source",
    [
        "subscriber.status = Status.ACTIVE",
        "session.execute(update(Delivery).where(chosen).values(state=State.SKIPPED))",
        "session.execute(update(Subscriber).values({'cadence': 'daily'}))",
        "session.execute(delete(Subscriber).where(chosen))",
        "text('UPDATE delivery SET reply = 1, state = 2')",
    ],
)
def test_a_change_that_is_not_counted_would_be_found(source: str) -> None:
    assert list(uncounted(source))
