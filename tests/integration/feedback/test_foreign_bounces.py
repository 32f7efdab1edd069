"""The mails of flufl.bounce's own tests, fetched when the test runs and never kept."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from newsletter.feedback import bounce

# These name no recipient; flufl.bounce composes addresses from what it knows of that university.
GUESSED = {"yale_01.txt"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flufl")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0"),
            *("--no-binary", ":all:", "--dest", folder, "flufl.bounce==6.0.0"),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    found = [*folder.glob("*.tar.gz")]
    if done.returncode or not found:
        pytest.skip("flufl.bounce 6.0.0 cannot be fetched: no registry is reached")
    with tarfile.open(found[0]) as archive:
        archive.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests


def expected(tests: Path) -> dict[str, set[str]]:
    """Return the recipients that flufl.bounce's table of detectors expects, by file."""
    table = next(
        node.value
        for node in ast.parse((tests / "test_detectors.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DETECTORS"
    )
    found: dict[str, set[str]] = {}
    for _, name, addresses, _ in ast.literal_eval(table):
        found.setdefault(name, set()).update(one.decode().lower() for one in addresses)
    return found


def test_every_failed_recipient_is_found(sources: Path) -> None:
    wanted = expected(sources)
    missed = {}

    mails = sorted((sources / "data").glob("*.txt"))
    for mail in mails:
        found = {one.recipient.lower() for one in bounce.read(mail.read_bytes()).reports}
        missed[mail.name] = wanted.get(mail.name, set()) - found

    assert len(mails) == 117
    assert {name for name, addresses in missed.items() if addresses} <= GUESSED


def test_nobody_is_dead_of_whom_no_server_said_so(sources: Path) -> None:
    for mail in (sources / "data").glob("*.txt"):
        for one in bounce.read(mail.read_bytes()).reports:
            is_said = (one.status or "").startswith("5.1.") or one.status == "5.4.4"
            assert one.verdict is not bounce.Verdict.DEAD or is_said
