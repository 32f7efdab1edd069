"""Promises of the project about itself: pages that match the code, a wheel that is whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import click
import pytest

from newsletter.cli.app import program
from newsletter.settings import Settings

ROOT = Path(__file__).parents[2]


def commands(command: click.Command, path: str = "newsletter") -> list[tuple[str, click.Command]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [(path, command)]
    return [found for name in children for found in commands(children[name], f"{path} {name}")]


@pytest.mark.parametrize(
    ("path", "command"),
    commands(program()),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_command_says_what_it_does_and_stands_in_the_docs(
    path: str, command: click.Command
) -> None:
    assert command.help
    assert f"\n## {path}\n" in (ROOT / "docs" / "cli.md").read_text("utf-8")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path} {parameter.name} has no help"


@pytest.mark.parametrize(
    ("path", "command"),
    commands(program()),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_help_breaks_a_line_where_the_source_does(path: str, command: click.Command) -> None:
    paragraphs = (command.help or "").split("\n\n")
    assert all("\n" not in paragraph for paragraph in paragraphs), path


def test_the_generated_pages_are_what_the_code_says() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described(name: str) -> None:
    assert Settings.model_fields[name].description


def test_constraints_are_exact_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", pin) for pin in pins)


def test_every_dependency_is_explained_and_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    explained = (ROOT / "docs" / "dependencies.md").read_text("utf-8").lower()
    pins = (ROOT / "constraints.txt").read_text("utf-8").lower()
    named = re.findall(r'^  "([a-z][a-z0-9.-]+)(?:\[\w+\])?>=', text, re.MULTILINE)
    assert len(named) > 20
    for name in named:
        assert f"`{name}`" in explained, f"docs/dependencies.md does not say why {name} is here"
        assert f"\n{name}==" in pins, f"constraints.txt does not pin {name}"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        # Command injection, and a late reply paired with another message.
        ("aiosmtplib", "5.1.2"),
        # STARTTLS response injection (CVE-2024-34083).
        ("aiosmtpd", "1.4.6"),
        # Chunked requests smuggled (CVE-2025-43859).
        ("h11", "0.16"),
        # Quadratic time over an address (CVE-2026-45409).
        ("idna", "3.15"),
        # Out of the sandbox (CVE-2025-27516).
        ("jinja2", "3.1.6"),
        # Forms without bounds.
        ("python-multipart", "0.0.31"),
        ("starlette", "1.3.1"),
    ],
)
def test_no_lower_bound_admits_a_version_known_to_be_vulnerable(name: str, safe: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (bound,) = [
        found[1]
        for one in project["dependencies"]
        if (found := re.match(rf"{re.escape(name)}>=([0-9.]+)$", one))
    ]
    assert _parts(bound) >= _parts(safe)


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_carries_templates_and_migrations(wheel: Path) -> None:
    for folder in ("templates", "migrations"):
        wanted = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if _ships(p)}
        assert wanted
        for path in wanted:
            assert (wheel / "newsletter" / "_bundled" / path).is_file(), path


def test_the_wheel_runs_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    def newsletter(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "newsletter", *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(wheel), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    newsletter("init")
    assert json.loads(newsletter("database", "status", "--json"))["up_to_date"]
    newsletter("demo")
    assert len(list((tmp_path / "demo").rglob("*.eml"))) >= 3


def _ships(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
@pytest.mark.xdist_group("one")
def test_what_a_group_of_tests_shares_is_made_by_one_process(
    request: pytest.FixtureRequest,
) -> None:
    assert request.node.nodeid.endswith("@one"), "pytest-xdist cannot group by this pytest's ids"
