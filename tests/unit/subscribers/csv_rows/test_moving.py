"""The tables in docs/moving.md are those of the code."""

from __future__ import annotations

from pathlib import Path

from newsletter.subscribers.csv_rows.states import NO, WORDS, YES, Meaning, Standing
from newsletter.subscribers.csv_rows.tools import TOOLS, Tool

PAGE = Path(__file__).parents[4] / "docs" / "moving.md"
BECOMES = {
    Standing.SILENT: "no state",
    Standing.ACTIVE: "active",
    Standing.PAUSED: "paused",
    Standing.PENDING: "pending",
    Standing.UNSUBSCRIBED: "unsubscribed",
    Standing.BLOCKED: "suppressed (imported)",
    Standing.BOUNCED: "suppressed (bounce)",
    Standing.COMPLAINED: "suppressed (complaint)",
}


def test_the_table_of_tools_is_that_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert [row for row in rows_of_tools() if row not in page] == []
    assert page.count("\n| ") == len(rows_of_tools()) + len(rows_of_words()) + 2


def test_the_table_of_words_is_that_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert [row for row in rows_of_words() if row not in page] == []


def rows_of_tools() -> list[str]:
    rows = []
    for tool in TOOLS:
        known = ", ".join(f"`{part.replace('|', '` or `')}`" for part in tool.signature)
        states = "; ".join(_columns(tool)) or "none"
        every = f"; every row is at least {BECOMES[tool.every]}" if tool.every else ""
        rows.append(f"| {tool.name} | {known} | {states}{every} |")
    return rows


def rows_of_words() -> list[str]:
    return [
        f"| {BECOMES[standing]} | {', '.join(w for w, s in WORDS.items() if s is standing)} |"
        for standing in Standing
        if standing is not Standing.SILENT
    ]


def _columns(tool: Tool) -> list[str]:
    alike: dict[str, list[str]] = {}
    for name, meaning in tool.states.items():
        alike.setdefault(_cells(meaning), []).append(f"`{name}`")
    return [f"{', '.join(names)}: {said}" for said, names in alike.items()]


def _cells(meaning: Meaning) -> str:
    said: dict[Standing, list[str]] = {}
    for word, standing in meaning.words.items():
        if word not in YES | NO and WORDS.get(word) is not standing:
            said.setdefault(standing, []).append(f"`{word}`")
    for word, listed in (("yes", YES), ("no", NO)):
        if listed <= meaning.words.keys():
            said.setdefault(meaning.words[word], []).append(word)
    if meaning.dated is not None and meaning.other is None:
        said.setdefault(meaning.dated, []).append("a date")
    if meaning.other is not None:
        said.setdefault(meaning.other, []).append("anything else")
    if meaning.empty:
        said.setdefault(meaning.empty, []).append("empty")
    parts = [f"{', '.join(words)}: {BECOMES[standing]}" for standing, words in said.items()]
    if any(WORDS.get(word) for word in meaning.words):
        parts.append("words" if meaning.other is None else "stricter words")
    return " / ".join(parts)
