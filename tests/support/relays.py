"""A real Postfix for one test, on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from journey import until

POSTFIX = shutil.which("postfix") or shutil.which("postfix", path="/usr/sbin")


@contextmanager
def postfix(doors: Mapping[int, str], *, parameters: str) -> Iterator[Path]:
    """Run a Postfix that listens on ports of 127.0.0.1, each with options; yield its log.

    Its master runs as a child of this process, and its own children end with it.
    """
    if POSTFIX is None or os.getuid() != 0:
        pytest.skip("a Postfix of one's own needs Postfix (Debian: postfix), and root to start it")
    # Not below pytest's own folder, which Postfix's user cannot read.
    folder = Path(tempfile.mkdtemp(prefix="newsletter-postfix-"))
    try:
        with _running(POSTFIX, folder, doors, parameters):
            yield folder / "log"
    finally:
        # Errors are ignored, because Postfix's child processes may end a moment later.
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(
    postfix: str, folder: Path, doors: Mapping[int, str], parameters: str
) -> Iterator[None]:
    config, data, log = folder / "etc", folder / "data", folder / "log"
    for each in (folder, config, data, folder / "queue"):
        each.mkdir(exist_ok=True)
        each.chmod(0o755)
    shutil.chown(data, "postfix")
    log.touch()
    (config / "main.cf").write_text(_main_cf(folder) + parameters)
    (config / "master.cf").write_text(_master_cf(doors))
    # `check` also creates the folders of the queue.
    subprocess.run([postfix, "-c", config, "check"], check=True, capture_output=True)
    daemons = subprocess.check_output(
        [str(Path(postfix).with_name("postconf")), "-h", "-c", config, "daemon_directory"],
        text=True,
    )
    master = Path(daemons.strip(), "master")
    running = subprocess.Popen([master, "-s", "-c", config], stderr=subprocess.DEVNULL)
    try:
        until(lambda: "daemon started" in log.read_text() or running.poll() is not None)
        assert running.poll() is None, log.read_text()
        yield
    finally:
        running.terminate()
        running.wait(timeout=10)


def _main_cf(folder: Path) -> str:
    return f"""\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
# Refuses unauthorised pipelining; what we send is allowed by RFC 2920.
smtpd_data_restrictions = reject_unauth_pipelining
in_flow_delay = 0
"""


def _master_cf(doors: Mapping[int, str]) -> str:
    inside = "rewrite=trivial-rewrite smtp error retry=error"
    agents = [name.partition("=") for name in f"{inside} discard".split()]
    return "\n".join(
        (
            *(
                f"127.0.0.1:{port} inet n - n - - smtpd" + (f"\n  -o {option}" if option else "")
                for port, option in doors.items()
            ),
            "cleanup unix n - n - 0 cleanup",
            # Each second: a mail that it passed over, as it was in delivery, stays in `incoming`.
            "qmgr unix n - n 1 1 qmgr",
            "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache",
            "proxymap unix - - n - - proxymap",
            "local unix - n n - - local",
            "virtual unix - n n - - virtual",
            "showq unix n - n - - showq",
            "postlog unix-dgram n - n - 1 postlogd",
            *(f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer", "trace")),
            *(f"{name} unix - - n - - {command or name}" for name, _, command in agents),
            "",
        )
    )
