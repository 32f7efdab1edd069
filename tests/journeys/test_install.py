"""The operator's first hour: docs/install.md, line by line, on this machine.

The blocks of the page are run as they stand, in their order. `Machine.places` is all that is
replaced: names of hosts, ports, folders of the system, the name of the account (so that nobody's
own is touched), and what needs a network or a systemd.
"""

from __future__ import annotations

import configparser
import json
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fences
import fronts
import pytest
import relays
from journey import Mailbox, free_port, path, until

# One Postfix at a time.
pytestmark = pytest.mark.xdist_group("postfix")

ROOT = Path(__file__).parents[2]
PAGE = fronts.PAGE.read_text("utf-8")
ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ANN, MIA = "ann@readers.example", "mia@miasfeed.example"
#: The headings whose lines are pasted, in the order of the page.
PASTED = (
    "What it needs",
    "The account and the program",
    "The settings",
    "Articles and readers",
    "The readers' pages",
    "Cron",
    "From the mail server, by a pipe",
)
FEED = """<rss version="2.0"><channel><title>Mia</title><item><title>Sleep</title>
<link>https://miasfeed.example/sleep</link><guid>sleep</guid></item></channel></rss>"""
#: Where `newsletter` is the name of the account in a line, and not that of the program.
ACCOUNT = re.compile(r"(-u |[uU]ser=|Group=|chown |\{|mia, |/srv/newsletter |\* )newsletter\b")


@dataclass
class Machine:
    """An account, folders and ports that stand for those of the page."""

    folder: Path
    account: str
    python: str
    smtp_port: int
    web_port: int

    @property
    def home(self) -> Path:
        return self.folder / "newsletter"

    @property
    def places(self) -> dict[str, str]:
        """What is replaced in the lines of the page, and by what."""
        packages = sysconfig.get_path("purelib")
        build = f"{sys.executable} -m hatchling build -t wheel -d {self.folder}/dist"
        installed = f"{self.home}/.venv/lib/python3.{sys.version_info.minor}/site-packages"
        return {
            # No network: the wheel is built by the tools that are here, and what it depends on is
            # lent by the environment of the tests. The program itself is that of the wheel.
            "apt-get install": "true apt-get install",
            "make wheel": f"(cd {ROOT} && {build})",
            "python3 -m venv": f"{self.python} -m venv",
            "pip install dist/*.whl": "pip install --no-index --no-deps dist/*.whl\n"
            f"echo {packages} > {installed}/lent.pth",
            # No systemd: the unit's own lines are started by the test.
            "systemctl ": "true systemctl ",
            "https://miasfeed.example/feed.xml": f"{self.folder}/feed.xml",
            "smtp://localhost:25": f"smtp://127.0.0.1:{self.smtp_port}",
            "--port 8000": f"--port {self.web_port}",
            "/srv/newsletter": str(self.home),
            "/etc/": f"{self.folder}/etc/",
        }

    def text(self, text: str) -> str:
        """Return lines of the page as this machine has them."""
        text = ACCOUNT.sub(rf"\g<1>{self.account}", text)
        for place, own in self.places.items():
            text = text.replace(place, own)
        return text

    def paste(self, heading: str) -> None:
        """Run the lines under a heading in a shell of root's."""
        for block in fences.under(PAGE, heading):
            if block.language == "sh":
                self.shell(self.text(block.text))

    def shell(self, script: str) -> None:
        environment = {
            "PATH": ROOTS_PATH,
            "HOME": "/root",
            # Postfix's own programs look into this one's folder, and not into /etc/postfix.
            "MAIL_CONFIG": str(self.folder / "etc" / "postfix"),
        }
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"

    def fill_in(self, values: dict[str, str]) -> None:
        """Write the lines of the page into newsletter.toml, as an editor does."""
        file = self.home / "newsletter.toml"
        text = file.read_text("utf-8")
        for name, line in values.items():
            text, count = re.subn(rf"^#?{name} = .*$", lambda _, to=line: to, text, flags=re.M)  # type: ignore[misc]
            assert count == 1, name
        file.unlink()
        file.write_text(text, "utf-8")

    def as_account(self, *words: str, exit_code: int = 0) -> str:
        """Run the command as the page says that every command is run."""
        done = subprocess.run(
            ["runuser", "-u", self.account, "--", ".venv/bin/newsletter", *words],
            cwd=self.home,
            env={"PATH": ROOTS_PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def reader(self, address: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(
            self.as_account("subscribers", "show", address, "--json")
        )
        return shown

    def start(self, command: str, *, account: str, umask: int = 0o22) -> subprocess.Popen[str]:
        """Start a line as cron or systemd does: with the account's home, and little else."""
        home = pwd.getpwnam(account).pw_dir
        return subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self.home,
            env={"HOME": home, "PATH": "/usr/bin:/bin", "LOGNAME": account, "SHELL": "/bin/sh"},
            user=account,
            group=account,
            extra_groups=[],
            umask=umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the service of the page, and end it as systemd does."""
        unit = configparser.ConfigParser(interpolation=None)
        unit.read_string(self.text(fences.only(PAGE, "The readers' pages", "ini")))
        service = unit["Service"]
        assert service["WorkingDirectory"] == str(self.home)
        running = self.start(
            f"exec {service['ExecStart']}",
            account=service["User"],
            umask=int(service["UMask"], 8),
        )
        try:
            until(lambda: _listens(self.web_port) or running.poll() is not None)
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            _, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
        assert "Traceback" not in err
        # The page names the proxies, so nothing is said about one.
        assert "trusted_proxies" not in err

    def cron(self) -> str:
        """Run the line of cron once, as cron does, and return what it would mail."""
        line = (self.folder / "etc" / "cron.d" / "newsletter").read_text().splitlines()[-1]
        *times, account, command = line.split(None, 6)
        assert times == ["*/5", "*", "*", "*", "*"]
        running = self.start(command, account=account)
        out, err = running.communicate(timeout=300)
        assert running.returncode == 0, err
        return out + err


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_line_of_the_page_is_one_that_is_pasted_here() -> None:
    pasted = [
        block
        for heading in (*PASTED[:5], "nginx", *PASTED[5:])
        for block in fences.under(PAGE, heading)
        if block.language == "sh"
    ]

    assert pasted == [block for block in fences.blocks(PAGE) if block.language == "sh"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine on which the account of the page is new; it is removed again."""
    if os.getuid() != 0:
        pytest.skip("a new account takes root")
    for program in ("adduser", "deluser", "runuser"):
        if shutil.which(program, path=ROOTS_PATH) is None:
            pytest.skip(f"{program} is not here (Debian: adduser, util-linux)")
    account = f"newsletter-{uuid.uuid4().hex[:8]}"
    folder = Path(tempfile.mkdtemp(prefix="newsletter-machine-"))
    folder.chmod(0o755)
    for each in ("etc/cron.d", "etc/postfix", "etc/nginx/sites-enabled"):
        (folder / each).mkdir(parents=True)
    (folder / "feed.xml").write_text(FEED)
    try:
        yield Machine(folder, account, _python(), free_port(), free_port())
    finally:
        if account in {one.pw_name for one in pwd.getpwall()}:
            # What ran as it may be a moment behind.
            words = ["/usr/sbin/deluser", "--quiet", account]
            until(lambda: subprocess.run(words, check=False, capture_output=True).returncode == 0)
        shutil.rmtree(folder, ignore_errors=True)


def _python() -> str:
    """Return a Python that another account may run, and that can use this one's packages."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    check = f"import sys, h11, venv; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    packages = {"PATH": ROOTS_PATH, "PYTHONPATH": sysconfig.get_path("purelib")}
    for python in (os.path.realpath(sys.executable), f"/usr/bin/python{wanted}"):
        done = subprocess.run(
            ["runuser", "-u", "nobody", "--", python, "-c", check],
            env=packages,
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return python
    pytest.skip(f"no Python {wanted} that another account may run with the packages of this one")


@contextmanager
def postfix(machine: Machine, *, relayhost: int) -> Iterator[Path]:
    """Run the Postfix of the page: it takes the domain's mail, and relays for the program."""
    aliases = machine.folder / "etc" / "aliases"
    aliases.write_text("mia: mia@elsewhere.example\n")
    parameters = (
        "mydestination = $myhostname, miasfeed.example\n"
        f"alias_maps = hash:{aliases}\nalias_database = hash:{aliases}\n"
        f"relayhost = [127.0.0.1]:{relayhost}\n"
        # What waits is tried again after seconds instead of minutes.
        "queue_run_delay = 2s\nminimal_backoff_time = 2s\nmaximal_backoff_time = 2s\n"
    )
    subprocess.run(["/usr/sbin/postalias", f"hash:{aliases}"], check=True, capture_output=True)
    with relays.postfix({machine.smtp_port: ""}, parameters=parameters) as log:
        config = machine.folder / "etc" / "postfix"
        config.rmdir()
        config.symlink_to(log.parent / "etc")
        try:
            yield log
        finally:
            # Shown if the test fails.
            print(log.read_text())


def digests(mailbox: Mailbox, address: str) -> list[EmailMessage]:
    mails = [mail for mail in mailbox.messages() if mail["To"] == address]
    return [mail for mail in mails if "Sleep" in mail["Subject"]]


def piped(log: Path, status: str) -> int:
    """Return how many mails the program was piped with that outcome."""
    return len(re.findall(rf"relay=newsletter, .*status={status} ", log.read_text()))


def ask_by_mail(machine: Machine, digest: EmailMessage, *, octets: int = 10) -> None:
    """Write what a mailbox writes from the mailto of List-Unsubscribe, to the Postfix."""
    found = re.search(r"<mailto:([^?>]+)\?subject=([^>]+)>", digest["List-Unsubscribe"])
    assert found
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "x@readers.example", found[1], unquote(found[2])
    mail.set_content("Please.\n" * (octets // 8))
    with smtplib.SMTP("127.0.0.1", machine.smtp_port, timeout=60) as connection:
        connection.send_message(mail)


def sign_up(machine: Machine, mailbox: Mailbox) -> None:
    """Come as a reader does, by each of the web servers that are here."""
    names = [name for name in ("nginx", "caddy") if shutil.which(name, path=ROOTS_PATH)]
    if not names:
        pytest.skip("neither nginx nor Caddy is here (Debian: nginx-light, caddy)")
    with ExitStack() as stack:
        here = [
            stack.enter_context(
                fronts.running(name, machine.folder / name, upstream=machine.web_port)
            )
            for name in names
        ]
        first = stack.enter_context(here[0].browser(source="127.0.0.2"))
        last = stack.enter_context(here[-1].browser(source="127.0.0.3"))
        form = first.get("/subscriptions/form").json()["form"]
        time.sleep(3)
        fields = {"address": ANN, "cadence": "daily", "form": form}
        assert first.post("/subscribe", data=fields).status_code == 200
        until(lambda: [mail for mail in mailbox.messages() if mail["To"] == ANN])
        (letter,) = [mail for mail in mailbox.messages() if mail["To"] == ANN]
        assert last.post(path(letter, "confirm")).status_code == 200
    remotes = [consent["remote"] for consent in machine.reader(ANN)["consents"]]
    assert remotes == ["127.0.0.2", "127.0.0.3"]


def test_an_empty_account_gets_to_its_first_digest_by_the_lines_of_the_page(
    machine: Machine, caught: tuple[int, Mailbox]
) -> None:
    relayhost, mailbox = caught
    with postfix(machine, relayhost=relayhost) as log:
        machine.paste("What it needs")
        machine.paste("The account and the program")
        refused = machine.as_account("send", "daily", exit_code=2)
        assert all(name in refused for name in ("sender", "base_url", "postal_address"))

        lines = machine.text(fences.only(PAGE, "The settings", "toml")).splitlines()
        # The day's edition falls due while this runs, and at noon, wherever that may be.
        now = datetime.now(UTC)
        offset, due = now.hour - 12, now + timedelta(seconds=5)
        lines += [f'daily_at = "12:{due:%M:%S}"', f'timezone = "Etc/GMT{offset:+d}"']
        machine.fill_in({line.partition(" = ")[0]: line for line in lines})
        machine.paste("The settings")
        machine.paste("Articles and readers")
        until(lambda: len(digests(mailbox, MIA)) == 1)
        machine.paste("The readers' pages")
        machine.paste("Cron")
        machine.paste("From the mail server, by a pipe")

        with machine.serving():
            sign_up(machine, mailbox)
            assert "2 accepted" in machine.cron()
            until(lambda: len(digests(mailbox, ANN)) == 1 and len(digests(mailbox, MIA)) == 2)
            assert machine.cron() == ""

        ask_by_mail(machine, digests(mailbox, ANN)[0], octets=2_000_000)
        until(lambda: piped(log, "sent") == 1)
        assert machine.reader(ANN)["status"] == "unsubscribed"
        until(lambda: [m for m in mailbox.messages() if m["To"] == "digest@miasfeed.example"])

        # Mail that cannot be read now waits in Postfix's queue.
        settings, away = machine.home / "newsletter.toml", machine.home / "away.toml"
        settings.rename(away)
        ask_by_mail(machine, digests(mailbox, MIA)[-1])
        until(lambda: piped(log, "deferred"))
        away.rename(settings)
        until(lambda: piped(log, "sent") == 2)
        assert machine.reader(MIA)["status"] == "unsubscribed"

    check_owners(machine)


def check_owners(machine: Machine) -> None:
    """Owners and modes are those of the page's table, and root has left nothing else behind."""
    table = re.findall(r"^\| `(/srv/\S+)` \| (\w+) \| (\d+) \|", PAGE, re.MULTILINE)
    assert len(table) == 3
    for place, owner, mode in table:
        found = Path(machine.text(place))
        assert found.owner() == {"newsletter": machine.account}.get(owner, owner)
        assert found.stat().st_mode & 0o777 == int(mode, 8)
    others = [one for one in machine.home.iterdir() if one.name != ".venv"]
    assert {one.owner() for one in others} == {machine.account}
