"""What the pages name exists: links, pictures, commands, settings and make targets."""

from __future__ import annotations

import re
import shlex
import struct
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from fences import blocks

from newsletter.cli.app import program
from newsletter.settings import Settings
from newsletter.suppression import RULES

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Written by `make docs`, which has its own check.
GENERATED = {"settings.md", "cli.md", "templates.md"}
LARGEST_PICTURE = 200_000
#: What pages may announce although this version does not have it.
ANNOUNCED: set[str] = set()
#: The error for a wrong command line; its module depends on the version of typer.
Refusal: Any = next(one for one in typer.BadParameter.__mro__ if one.__name__ == "ClickException")


def prose(text: str) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    return [" ".join(one.split()) for one in re.findall(r"`([^`]+)`", prose(text))]


def shell_lines(text: str) -> list[str]:
    lines = "\n".join(b.text for b in blocks(text) if b.language in {"sh", "ini", ""})
    return lines.replace("\\\n", " ").splitlines()


def quoted_commands(text: str) -> Iterator[list[str]]:
    """Yield the words after `newsletter` of every command that a page quotes."""
    for line in [*spans(text), *shell_lines(text)]:
        # A column of a table of cron, a change of folder or an environment may stand before it.
        found = re.match(r"(?:\$ |.*[ /=])?newsletter(?= [a-z-]|$)(.*)", line)
        starts = line.startswith(
            ("newsletter ", "$ newsletter ", "ExecStart=", "*/", "NEWSLETTER_", "runuser ")
        )
        if found and starts:
            yield shlex.split(re.split(r" [|>#&]| 2>", found[1])[0])


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def links(text: str) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", prose(text))
    found += re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", prose(text))
    return [one for one in found if not re.match(r"[a-z]+:", one)]


def per_page(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


@per_page(PAGES)
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@per_page(PAGES)
def test_every_command_on_a_page_is_one_that_the_program_has(page: Path) -> None:
    for words in quoted_commands(page.read_text("utf-8")):
        if words and words[0] in ANNOUNCED:
            continue
        assert complaint(words) is None, f"{page.name}: newsletter {shlex.join(words)}"


@pytest.mark.parametrize("command", sorted(ANNOUNCED))
def test_what_is_announced_as_missing_is_missing(command: str) -> None:
    assert complaint([command]) is not None, "it is here: mend the pages that say it is not"


@pytest.mark.parametrize(
    "line",
    [
        "fly",
        "subscribers fly",
        "subscribers import readers.csv --fast",
        "send fortnightly",
        "send weekly monthly",
        "--quick status",
    ],
)
def test_a_command_that_does_not_exist_would_be_found(line: str) -> None:
    assert complaint(shlex.split(line)) is not None


@per_page(PAGES)
def test_every_make_target_on_a_page_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    text = page.read_text("utf-8")
    for line in [*spans(text), *shell_lines(text)]:
        named = re.match(r"(?:\$ )?make(?: [A-Z]+=\S+)* ([a-z-]+)", line)
        if named:
            assert re.search(rf"^{named[1]}:", makefile, re.MULTILINE), f"{page.name}: {line}"


@per_page(PAGES)
def test_every_setting_on_a_page_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    named = {name.lower() for name in re.findall(r"NEWSLETTER_([A-Z][A-Z_]*[A-Z])", text)}
    for block in blocks(text):
        if block.language == "toml":
            named |= set(tomllib.loads(block.text))
    assert named <= set(Settings.model_fields), f"{page.name}: {named - set(Settings.model_fields)}"


@per_page(PAGES)
def test_every_file_and_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = spans(page.read_text("utf-8"))
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for one in named:
        if re.fullmatch(r"(newsletter|templates|migrations|tests|docs)/[\w./-]*", one):
            assert (ROOT / one).exists(), f"{page.name} names {one}"
        if re.fullmatch(r"test_\w+", one):
            assert re.search(rf"^def {one}\(", tests, re.MULTILINE), f"{page.name} names {one}"


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = {
        path.stem
        for path in (ROOT / "newsletter").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert [room for room in rooms if room[0] != "_" and f"`{room}`" not in text] == []


def test_the_page_of_dependencies_has_each_of_them_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[\[<>=~!; ]", one)[0] for one in needed}
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert set(re.findall(r"^- `([^`]+)`", page, re.MULTILINE)) == names


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"docs/{page.name}" in links(README.read_text("utf-8"))


@per_page([page for page in PAGES if page.name not in GENERATED])
def test_a_line_has_one_sentence(page: Path) -> None:
    text = re.sub(r"`[^`]*`", "`code`", prose(page.read_text("utf-8")))
    for line in text.splitlines():
        assert not re.search(r"[a-z`)][.?:]? ?(?<=[.?]) [A-Z`]", line), f"{page.name}: {line}"


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda picture: picture.name
)
def test_a_picture_is_small_and_shown_somewhere(picture: Path) -> None:
    content = picture.read_bytes()
    assert content.startswith((b"\x89PNG", b"<svg"))
    assert min(struct.unpack(">II", content[16:24])) >= 320
    assert len(content) < LARGEST_PICTURE
    assert any(f"images/{picture.name}" in page.read_text("utf-8") for page in PAGES)


def complaint(words: list[str]) -> str | None:
    """Return what the program would object to in these words, without running anything."""
    command: Any = _program()
    while True:
        context: Any = typer.Context(command)
        try:
            given, rest, _ = command.make_parser(context).parse_args(list(words))
            for parameter in command.params:
                _try(parameter, given.get(parameter.name), context)
        except Refusal as exc:
            return str(exc)
        children = getattr(command, "commands", None)
        if children is None or not rest:
            return f"too many words: {rest}" if rest else None
        if rest[0] not in children:
            return f"no command {rest[0]}"
        command, words = children[rest[0]], rest[1:]


@cache
def _program() -> Any:
    return program()


def _try(parameter: click.Parameter, value: object, context: click.Context) -> None:
    """Convert a value; a word in capitals stands for any, and a file may be missing."""
    if not isinstance(value, str) or value.isupper():
        return
    try:
        parameter.process_value(context, value)
    except Refusal as exc:
        if "does not exist" not in str(exc):
            raise


def test_the_causes_of_suppression_are_the_ones_of_the_code() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition("## Suppressed addresses")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z-]+) \| (.+) \| (yes|no) \| (the .+) \|$", section, re.MULTILINE)
    lifted = {
        True: ("yes", "the reader, by confirming; or the operator"),
        False: ("no", "the operator"),
    }
    assert rows == [
        (cause.value, rule.meaning, *lifted[rule.is_liftable]) for cause, rule in RULES.items()
    ]
