"""One closed list of reasons why a reader got nothing, by the syntax tree of the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from newsletter.ledger import reasons
from newsletter.ledger.reasons import NEVER_MADE, STORED, Reason
from newsletter.models import Delivery

PROGRAM = Path(__file__).parents[2] / "newsletter"
#: What ends rows for a reason, or changes the reason.
ENDINGS = {"cancel", "cancel_mailings", "skip_mailings", "close", "lift", "spare_in_flight"}
NAMED = {"reason", "reasons", "instead"}
#: The only files that give a delivery's row a reason.
WRITERS = {"ledger/cancellation.py", "ledger/erasure.py"}


def literals(source: str) -> Iterator[str]:
    """Yield the texts that a module gives as a reason to what ends deliveries."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        of = node.func.value.id if isinstance(getattr(node.func, "value", None), ast.Name) else ""  # type: ignore[attr-defined]
        if of == "cancellation" and called in ENDINGS:
            given = [*node.args, *(one.value for one in node.keywords if one.arg in NAMED)]
            yield from (
                inner.value
                for one in given
                for inner in ast.walk(one)
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
            )


def updates_reason(source: str) -> bool:
    """Return whether a module has an UPDATE of deliveries that sets a reason."""
    nodes = list(ast.walk(ast.parse(source)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    dicts = [node for node in nodes if isinstance(node, ast.Dict)]
    for each in dicts if "update_deliveries" in source else ():
        pairs = zip(each.keys, each.values, strict=True)
        given = {key.value: value for key, value in pairs if isinstance(key, ast.Constant)}
        if {"state", "reason"} <= given.keys() and ast.unparse(given["reason"]) != "None":
            return True
    return any(
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "values"
        and any(one.arg == "reason" for one in node.keywords)
        and "update(Delivery)" in ast.unparse(node.func)
        for node in calls
    )


@pytest.mark.parametrize(
    "source",
    [
        "cancellation.cancel(session, references=ids, reason='bored', now=now)",
        "cancellation.close(session, state, 'bored', now, chosen)",
        "cancellation.lift(session, references=ids, reasons=('bored',))",
    ],
)
def test_a_reason_given_as_text_would_be_found(source: str) -> None:
    assert list(literals(source)) == ["bored"]


def test_every_reason_that_ends_a_delivery_is_of_the_closed_list() -> None:
    found = {path: list(literals(path.read_text())) for path in PROGRAM.rglob("*.py")}
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_only_the_ledger_gives_rows_a_reason() -> None:
    found = {
        path.relative_to(PROGRAM).as_posix()
        for path in PROGRAM.rglob("*.py")
        if updates_reason(path.read_text())
    }
    assert found == WRITERS


def test_statements_of_the_ledger_only_take_a_reason_away() -> None:
    source = (PROGRAM / "ledger/statements.py").read_text()
    assert set(re.findall(r"\breason = (\S+?),?\s", source)) == {"NULL"}


def test_every_reason_has_a_place_and_a_clause_of_its_own() -> None:
    assert set(Reason) == STORED | NEVER_MADE
    clauses = [reason.meaning for reason in Reason]
    assert len(set(clauses)) == len(clauses)
    assert all(re.fullmatch(r"[a-z][^.]+", clause) for clause in clauses)


def test_every_stored_reason_fits_its_column() -> None:
    length = Delivery.__table__.c.reason.type.length  # type: ignore[attr-defined]
    assert max(len(reason) for reason in STORED) <= length


def test_a_reason_of_another_version_is_shown_as_it_stands() -> None:
    assert reasons.meaning("paused") == "the reader had paused"
    assert reasons.meaning("eaten by a dog") == "eaten by a dog"


def test_the_operators_page_has_the_same_list() -> None:
    page = (PROGRAM.parent / "docs/operations.md").read_text()
    rows = page.partition("| reason | means |\n|---|---|\n| superseded")[2].partition("\n\n")[0]
    written = dict(re.findall(r"\| ([a-z ]+?) \| (.+?) \|", f"| superseded{rows}"))
    assert written == {str(reason): reason.meaning for reason in Reason}
