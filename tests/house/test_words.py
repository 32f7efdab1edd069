"""The field's standard terms, as docs/glossary.md has them: names by the syntax tree, and prose."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "newsletter").rglob("*.py"))

#: Names that were this project's own, and the terms that an engineer would search for.
REPLACED = {
    "Hand": "Prefetch",
    "hand": "prefetch",
    "lay_back": "requeue",
    "lay_down": "release",
    "Line": "Connection",
    "roster": "registry",
    "Presence": "Registration",
    "presence": "registration",
    "alive": "liveness_lock",
    "faults": "dead_addresses",
    "hot": "statements",
    "witness": "restore_guard",
    "Mark": "SendSerial",
    "Brakes": "Pauses",
    "brakes": "pauses",
    "Stamp": "SlotValues",
    "stamp": "slot_values",
    "Leave": "RatePermit",
    "Turn": "SendSlot",
    "Instants": "send_times",
    "instants": "send_times",
    "lane": "blocked_domain",
    "lanes": "blocked_domains",
    "Lane": "BlockedDomain",
    "Spending": "RateWindow",
    "Act": "Reaction",
    "doubt": "mark_open_unknown",
    "gate": "signup_limits",
    "proof": "proof_of_work",
    "outlook": "next_digest",
    "Front": "WebContext",
    "front": "web",
    "Stationery": "Publication",
    "stationery": "publication",
    "Press": "MailRenderer",
    "fleet": "subprocesses",
    "Candidate": "LeaderLock",
    "sheet": "csv_rows",
    "calendar": "cadences",
    "Tally": "SendTally, ImportTally, ...",
    "Rules": "RetryRules, SuppressionRules, ...",
    "rows_of": "select_columns",
}
#: Modules whose names were replaced, by room.
MODULES = {
    "cli.sheets",
    "db.statements",
    "db.witness",
    "editions.fleet",
    "ledger.faults",
    "ledger.hot",
    "ledger.roster",
    "subscribers.outlook",
    "web.gate",
    "web.proof",
}
#: Names of others: of the standard library and of the keys that scripts read.
OF_OTHERS = {"newsletter/cadences.py": {"calendar"}, "newsletter/articles/parse.py": {"calendar"}}
RIDDLES = (
    "the dead are found",
    "the hand",
    "comes in leases",
    "who gets it, makes it",
    "may want them",
    "is done without",
    "works at once, works twice",
    "at once, works twice",
    "of the brakes",
    "a hand full",
    "whoever does nothing",
    "takes leave",
    "leave to send",
    "that domain's lane",
)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every name that a module defines, imports or is called by, with its line."""
    yield 1, path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias():
                yield node.lineno, (node.asname or node.name).rpartition(".")[2]
            case _:
                pass


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_is_a_standard_term(path: Path) -> None:
    kept = OF_OTHERS.get(str(path.relative_to(ROOT)), set())

    found = [
        f"line {line}: {name}, say {REPLACED[bare]}"
        for line, name in names(path)
        if (bare := name.strip("_")) in REPLACED and bare not in kept
    ]

    assert found == []


def test_no_module_that_was_renamed_comes_back() -> None:
    modules = {
        ".".join(path.relative_to(ROOT / "newsletter").with_suffix("").parts) for path in SOURCES
    }

    assert modules & MODULES == set()


def test_no_table_and_no_column_has_a_name_that_was_replaced() -> None:
    from sqlmodel import SQLModel

    import newsletter.models  # noqa: F401

    tables = SQLModel.metadata.tables.values()
    found = {table.name for table in tables} | {c.name for table in tables for c in table.columns}

    assert not found & {*REPLACED, "publication", "spending"}


def prose(text: str) -> str:
    """Return a text as one line, without the marks of comments at the beginning of its lines."""
    return " ".join(re.sub(r"^\s*#:? ?", "", line).strip() for line in text.splitlines())


def test_prose_has_no_riddles() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "newsletter", "docs", "README.md"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    texts = [ROOT / name for name in listed if name.endswith((".py", ".md"))]
    assert texts or not (ROOT / ".git").exists()

    found = [
        f"{path.relative_to(ROOT)}: {riddle}"
        for path in texts
        for riddle in RIDDLES
        if re.search(rf"\b{riddle}\b", prose(path.read_text("utf-8")), re.IGNORECASE)
    ]

    assert found == []
