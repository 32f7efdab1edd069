"""One word for one thing: names that were replaced by the field's terms do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "newsletter").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Whole names, and the term that stands for each; docs/glossary.md has the terms.
REPLACED = {
    "Hand": "Prefetch",
    "lay_back": "requeue",
    "lay_down": "release",
    "Line": "Connection",
    "roster": "registry",
    "Presence": "Registration",
    "witness": "restore_guard",
    "Brakes": "Pauses",
    "Stamp": "SlotValues",
    "Leave": "RatePermit",
    "Instants": "SendSlots",
    "Spending": "RateWindow",
    "lane": "blocked_domain",
    "lanes": "blocked_domains",
    "Front": "WebContext",
    "Stationery": "Publication",
    "Press": "MailRenderer",
    "Candidate": "LeaderLock",
    "fleet": "subprocesses",
    "outlook": "next_digest",
    "sheet": "csv_rows",
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
PHRASES = [
    "the dead are found",
    "is done without",
    "may want them",
    "gets it, makes it",
    "at once, works twice",
    "of the brakes",
]


def names(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the module's own name, and each name that it defines, with its line."""
    yield path.stem, 1
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        line = getattr(node, "lineno", 1)
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, line
        elif isinstance(node, ast.arg):
            yield node.arg, line
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, line
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, line


def prose(text: str) -> str:
    """Return a text as one line, without the marks of comments at the beginning of its lines."""
    return " ".join(re.sub(r"^\s*#:? ?", "", line).strip() for line in text.splitlines())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_that_was_replaced_comes_back(path: Path) -> None:
    wrong = [
        f"line {line}: {name}, now {REPLACED[name]}"
        for name, line in names(path)
        if name in REPLACED
    ]
    assert wrong == []


def test_no_module_that_was_renamed_comes_back() -> None:
    modules = {
        ".".join(path.relative_to(ROOT / "newsletter").with_suffix("").parts) for path in SOURCES
    }
    assert modules & MODULES == set()


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_phrase_that_was_replaced_comes_back(path: Path) -> None:
    text = prose(path.read_text("utf-8"))
    assert [phrase for phrase in PHRASES if phrase in text] == []
