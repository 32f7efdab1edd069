"""Building blocks of journeys: the command, servers with mailboxes, and a chosen time of day."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import commands
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from commands import Done, Running
from sqlalchemy import Engine, update

from newsletter.cli import catcher
from newsletter.cli.catcher import ClosingController
from newsletter.clock import utc_now
from newsletter.db import session as sessions
from newsletter.models import FreezeLock

SECRET = "0123456789abcdef0123456789abcdef-for-tests"
_HERE = Path(__file__).parent


def tool(name: str) -> str | None:
    """Return the path of one of Postfix's programs in any of Debian's folders; None without it."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


SINK = tool("smtp-sink")


@dataclass
class Crowd:
    """One command that runs many times at once."""

    running: Running

    def stop(self) -> None:
        """Send SIGTERM to each process."""
        self.running.terminate()

    def end(self) -> tuple[list[int], str]:
        """Wait for all processes; return their exit codes and output."""
        out, err = self.running.communicate(timeout=280)
        codes: list[int] = json.loads(out)
        return codes, err


@dataclass
class Newsletter:
    """The command, in a folder of its own, with the settings of one publication."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *words: object, exit_code: int = 0, stdin: str | None = None) -> str:
        """Run one command to its end and return what it printed."""
        done = self._run(*words, stdin=stdin)
        assert done.code == exit_code, f"{words}: {done.code}\n{done.out}\n{done.err}"
        return done.out + done.err if exit_code else done.out

    def json(self, *words: object, exit_code: int = 0) -> dict[str, Any]:
        """Run one command with --json and return the object."""
        done = self._run(*words, "--json")
        assert done.code == exit_code, f"{words}: {done.code}\n{done.out}\n{done.err}"
        found: dict[str, Any] = json.loads(done.out)
        return found

    def _run(self, *words: object, stdin: str | None = None) -> Done:
        return commands.run([*map(str, words)], folder=self.folder, env=self.env, stdin=stdin)

    def start(self, *words: object, is_group: bool = False) -> Running:
        """Start one command; with `is_group`, in a process group of its own as in a terminal."""
        return Running([*map(str, words)], folder=self.folder, env=self.env, is_group=is_group)

    @contextmanager
    def crowd(self, times: int, *words: object) -> Iterator[Crowd]:
        """Start one command several times at the same instant; all end with the block."""
        argv = [*map(str, (times, *words))]
        running = Running(argv, folder=self.folder, env=self.env, script=_HERE / "crowd.py")
        try:
            assert running.stdout.readline() == "begun\n", running.communicate()
            yield Crowd(running)
        finally:
            if running.poll() is None:
                running.terminate()
                running.communicate(timeout=60)

    def add(self, **cadences: str) -> None:
        """Add readers, given as name=cadence."""
        for name, cadence in cadences.items():
            self.run("subscribers", "add", f"{name}@readers.example", "--cadence", cadence)


def make(folder: Path, database_url: str) -> Newsletter:
    return Newsletter(
        folder,
        {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NEWSLETTER_DATABASE_URL": database_url,
            "NEWSLETTER_SECRET_KEYS": SECRET,
            "NEWSLETTER_NAME": "Mia's Feed",
            "NEWSLETTER_SENDER": "Mia's Feed <digest@miasfeed.example>",
            "NEWSLETTER_POSTAL_ADDRESS": "Mia's Feed, 12 Harbour Street, Portsmouth",
            "NEWSLETTER_BASE_URL": "https://news.miasfeed.example",
            "NEWSLETTER_SITE_URL": "https://miasfeed.example",
        },
    )


@dataclass
class Mailbox:
    """The messages that a server received."""

    folder: Path

    def messages(self) -> list[EmailMessage]:
        """Return all mails."""
        found = []
        for path in sorted(self.folder.iterdir()):
            if path.suffix != ".html":
                message = message_from_bytes(_stripped(path.read_bytes()), policy=policy.default)
                assert isinstance(message, EmailMessage)
                found.append(message)
        return found

    def to(self, name: str) -> list[EmailMessage]:
        """Return the mails of one reader, in order of arrival."""
        return [m for m in self.messages() if m["To"] == f"{name}@readers.example"]


def stories(message: EmailMessage | list[EmailMessage]) -> list[str]:
    """Return the articles of one digest by the last word of their links, from A to Z."""
    if isinstance(message, list):
        (message,) = message
    body = message.get_body(("plain",))
    assert body is not None
    return sorted(set(re.findall(r"https://miasfeed\.example/(\w+)", body.get_content())))


def path(message: EmailMessage, where: str) -> str:
    """Return the path of the link in a mail whose path begins with `where`."""
    body = message.get_body(("plain",))
    assert body is not None
    found = re.search(rf"https?://\S+/{where}/\S+", body.get_content())
    assert found
    return urlsplit(found[0]).path


def at_noon(newsletter: Newsletter) -> None:
    """Set a time zone in which it is about noon, so that no test runs into another day."""
    offset = datetime.now(UTC).hour - 12
    # POSIX's sign: Etc/GMT+5 is five hours behind UTC.
    newsletter.env["NEWSLETTER_TIMEZONE"] = f"Etc/GMT{offset:+d}" if offset else "Etc/GMT"


def due_an_hour_ago(newsletter: Newsletter, engine: Engine, *, weekly_in: timedelta) -> None:
    """Set the send times so that the daily edition is due and the monthly one is not."""
    at_noon(newsletter)
    today = datetime.now(ZoneInfo(newsletter.env["NEWSLETTER_TIMEZONE"]))
    newsletter.env |= {
        "NEWSLETTER_DAILY_AT": "11:00",
        "NEWSLETTER_WEEKLY_ON": f"{today + weekly_in:%A}".lower(),
        "NEWSLETTER_WEEKLY_AT": "11:00",
        "NEWSLETTER_MONTHLY_ON": str(min((today + timedelta(days=10)).day, 28)),
        "NEWSLETTER_CRON_TOLERANCE_HOURS": "6",
    }
    with sessions.writing(engine) as session:
        began = utc_now().replace(year=2020)
        session.execute(update(FreezeLock).values(created_at=began))


@contextmanager
def refusing(folder: Path, *strangers: str) -> Iterator[tuple[int, Mailbox]]:
    """Run a catcher that replies 550 5.7.1 for `strangers`."""

    def refusal(address: str) -> str | None:
        return "550 5.7.1 Not this one" if address in strangers else None

    with catcher.running(folder, refusal=refusal) as running:
        yield running.port, Mailbox(folder)


@contextmanager
def submission(
    folder: Path, authority: trustme.CA, *, is_implicit: bool
) -> Iterator[tuple[int, Mailbox]]:
    """Run a catcher that accepts mail only over TLS, with the user mia and her password."""
    folder.mkdir()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def check(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        is_her = (data.login, data.password) == (b"mia", b"open sesame")
        return AuthResult(success=is_her, handled=False)

    controller = ClosingController(
        catcher.Catcher(folder),
        hostname="127.0.0.1",
        port=free_port(),
        ssl_context=context if is_implicit else None,
        tls_context=None if is_implicit else context,
        require_starttls=not is_implicit,
        auth_required=True,
        # aiosmtpd considers only STARTTLS safe for a login, and not implicit TLS.
        auth_require_tls=not is_implicit,
        authenticator=check,
    )
    controller.start()
    try:
        yield controller.port, Mailbox(folder)
    finally:
        controller.stop()


@contextmanager
def sink(folder: Path) -> Iterator[tuple[int, Mailbox]]:
    """Run Postfix's smtp-sink on a free port, keeping each message as a file."""
    folder.mkdir()
    with sinking("-d", f"{folder}/%M.") as port:
        yield port, Mailbox(folder)


@contextmanager
def sinking(*options: str) -> Iterator[int]:
    """Run Postfix's smtp-sink with these options on a free port, and yield the port."""
    if SINK is None:
        pytest.skip("smtp-sink is not here (Debian: postfix)")
    port = free_port()
    as_user = ["-u", "root"] if os.getuid() == 0 else []
    running = subprocess.Popen(
        [SINK, *as_user, *options, f"127.0.0.1:{port}", "200"], stderr=subprocess.PIPE
    )
    try:
        wait_for(port)
        yield port
    finally:
        running.terminate()
        running.communicate(timeout=10)


def _stripped(data: bytes) -> bytes:
    """Remove the lines that smtp-sink writes before a message."""
    while data.startswith((b"X-Client", b"X-Helo", b"X-Mail", b"X-Rcpt", b"Received")):
        data = data.partition(b"\n")[2]
        while data.startswith((b" ", b"\t")):
            data = data.partition(b"\n")[2]
    return data


def wait_for(port: int) -> None:
    """Wait until a server listens on a port."""
    for _ in range(1_200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(newsletter: Newsletter) -> Iterator[tuple[str, Running]]:
    """Run `newsletter serve` and yield its URL; end it by SIGTERM, and check its exit code and log.

    The log must not contain tokens of links.
    """
    port = free_port()
    site = newsletter.env["NEWSLETTER_BASE_URL"] = f"http://127.0.0.1:{port}"
    # `--force`, as the links lead to this machine, so that a browser can follow them.
    running = newsletter.start("serve", "--port", port, "--force")
    try:
        until(lambda: is_ready(site))
        yield site, running
    finally:
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "Traceback" not in err
    assert "/confirm/" not in out + err
    assert "/unsubscribe/" not in out + err
    assert "/hooks/" not in out + err


def until(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition is true, which another process causes."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def is_ready(site: str) -> bool:
    """Return whether `newsletter serve` responds at a URL and is ready."""
    try:
        with urllib.request.urlopen(f"{site}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False
