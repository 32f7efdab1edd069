"""The mails of flufl.bounce's own tests, fetched when the test runs and never kept."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
from pathlib import Path

import damage
import pytest

from newsletter.feedback import bounce
from newsletter.feedback.reports import Report, Verdict

# These name no recipient; flufl.bounce composes addresses from what it knows of that university.
GUESSED = {"yale_01.txt"}

# Judged by hand, from the words of the mails: a server said that there is no such address, or the
# reporting system itself.
DEAD = {
    "dsn_12", "dsn_13", "dsn_14", "dsn_15", "dsn_18", "exim_01", "groupwise_01", "groupwise_02",
    "llnl_01", "microsoft_01", "microsoft_02", "microsoft_04", "postfix_01", "qmail_03",
    "simple_04", "simple_05", "simple_06", "simple_11", "simple_12", "simple_13", "simple_15",
    "simple_19", "simple_23", "simple_25", "simple_26", "simple_27", "simple_32", "simple_34",
    "simple_37", "simple_39", "smtp32_07", "yahoo_10", "yahoo_11", "yahoo_13",
}  # fmt: skip
FULL = {
    "bounce_01", "dsn_01", "dsn_04", "hotpop_01", "newmailru_01", "postfix_04", "qmail_02",
    "qmail_06", "qmail_07", "simple_01", "simple_07", "simple_09", "simple_14", "simple_38",
    "simple_45", "yahoo_02", "yahoo_04",
}  # fmt: skip
DELAYED = {
    "dsn_05", "dsn_06", "dsn_07", "dsn_08", "dsn_17", "simple_03", "simple_21", "simple_22",
    "simple_28", "simple_35", "simple_40",
}  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of its tests, by name."""
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
        return {
            Path(member.name).name: stream.read()
            for member in archive
            if "/tests/" in member.name and (stream := archive.extractfile(member))
        }


@pytest.fixture(scope="module")
def reports(sources: dict[str, bytes]) -> dict[str, tuple[Report, ...]]:
    """What each mail comes to, by its file."""
    mails = {name: octets for name, octets in sources.items() if name.endswith(".txt")}
    assert len(mails) == 117
    return {name: bounce.read(octets).reports for name, octets in mails.items()}


def expected(detectors: bytes) -> dict[str, set[str]]:
    """Return the recipients that flufl.bounce's table of detectors expects, by file."""
    table = next(
        node.value
        for node in ast.parse(detectors).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DETECTORS"
    )
    found: dict[str, set[str]] = {}
    for _, name, addresses, _ in ast.literal_eval(table):
        found.setdefault(name, set()).update(one.decode().lower() for one in addresses)
    return found


def test_every_failed_recipient_is_found(
    sources: dict[str, bytes], reports: dict[str, tuple[Report, ...]]
) -> None:
    missed = {
        name: wanted - {one.recipient.lower() for one in reports[name]}
        for name, wanted in expected(sources["test_detectors.py"]).items()
    }

    assert {name for name, addresses in missed.items() if addresses} <= GUESSED


@pytest.mark.parametrize(
    ("verdict", "names"),
    [(Verdict.DEAD, DEAD), (Verdict.FULL, FULL), (Verdict.DELAYED, DELAYED)],
)
def test_a_mail_comes_to_what_its_words_say(
    verdict: Verdict, names: set[str], reports: dict[str, tuple[Report, ...]]
) -> None:
    found = {
        name.removesuffix(".txt")
        for name, some in reports.items()
        if verdict in {one.verdict for one in some}
    }

    assert found == names


@pytest.mark.parametrize("many", [1_000, pytest.param(100_000, marks=pytest.mark.torture)])
def test_a_damaged_mail_comes_to_something_of_its_own(many: int, sources: dict[str, bytes]) -> None:
    mails = [octets for name, octets in sorted(sources.items()) if name.endswith(".txt")]

    for mail in damage.damaged(mails, many, seed=6):
        damage.check(mail)
