"""A real Dovecot for one test, on loopback: IMAP and POP3, with and without TLS."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from journey import until

from newsletter.settings import mailboxes
from newsletter.settings.mailboxes import MailboxServer

DOVECOT = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
_HAS_PROTOCOLS = all(Path("/usr/lib/dovecot", name).exists() for name in ("imap", "pop3"))

USER = "bounces@miasfeed.example"
#: A password with characters that have to be escaped in a URL, in IMAP and in POP3.
PASSWORD = 's3cr@t/ "pass\\word% #?'
#: Another user of the same mailbox, with characters outside ASCII.
FOREIGN_USER, FOREIGN_PASSWORD = "müller", "grüße 世界"
_OWNER = "mail"


@dataclass
class Dovecot:
    """A running Dovecot with one mailbox."""

    folder: Path
    ports: dict[str, int]
    master: subprocess.Popen[bytes]

    @property
    def maildir(self) -> Path:
        """The folder of the INBOX."""
        return self.folder / "home" / "Maildir"

    def url(self, scheme: str, path: str = "", *, host: str = "127.0.0.1", port: int = 0) -> str:
        """Return the URL of the mailbox for the setting."""
        login = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
        return f"{scheme}://{login}@{host}:{port or self.ports[scheme]}{path}"

    def server(self, scheme: str, path: str = "", *, port: int = 0) -> MailboxServer:
        """Return the mailbox as the value that sources need."""
        found = mailboxes.parse(self.url(scheme, path, port=port))
        assert isinstance(found, MailboxServer)
        return found

    def put(self, *mails: bytes, folder: str = "") -> None:
        """Deliver mails."""
        where = self.maildir / folder / "new"
        if not where.is_dir():
            for each in ("new", "cur", "tmp"):
                (where.parent / each).mkdir(parents=True)
        at = time.time_ns()
        for number, mail in enumerate(mails):
            # The owner is changed for the whole folder, as a chown for each of thousands takes
            # seconds.
            (where / f"{at + number}.M{number}P1.test").write_bytes(mail)
        _give(self.maildir)

    def empty(self) -> None:
        """Delete all mails and folders."""
        shutil.rmtree(self.maildir)
        for each in ("new", "cur", "tmp"):
            (self.maildir / each).mkdir(parents=True)
        _give(self.maildir)

    def subjects(self, folder: str = "") -> list[str]:
        """Return the subjects of the mails in a folder, by its name on the disk."""
        while True:
            try:
                return sorted(self._subjects(folder))
            except FileNotFoundError:
                # Dovecot has moved a mail since it was listed.
                continue

    def _subjects(self, folder: str) -> Iterator[str]:
        for each in ("new", "cur"):
            for one in (self.maildir / folder / each).glob("*"):
                lines = one.read_bytes()[:2_000].decode("utf-8", "replace").splitlines()
                yield from [line[9:] for line in lines if line.startswith("Subject: ")][:1]

    def log(self) -> str:
        """Return the log of Dovecot."""
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def dovecot(
    authority: trustme.CA,
    *,
    config: str = "",
    names: Sequence[str] = ("127.0.0.1",),
    not_after: datetime | None = None,
) -> Iterator[Dovecot]:
    """Run a Dovecot with extra lines of configuration, and a certificate for these names."""
    if DOVECOT is None or not _HAS_PROTOCOLS or os.getuid() != 0:
        pytest.skip(
            "a Dovecot of one's own needs Dovecot (Debian: dovecot-imapd, dovecot-pop3d), "
            "and root to start it"
        )
    # Not below pytest's own folder, which Dovecot's user cannot read.
    folder = Path(tempfile.mkdtemp(prefix="newsletter-dovecot-"))
    folder.chmod(0o755)
    ports = dict(zip(("imap", "imaps", "pop3", "pop3s"), _free_ports(4), strict=True))
    cert = authority.issue_cert(*names, not_after=not_after)
    (folder / "key").write_bytes(cert.private_key_pem.bytes())
    (folder / "cert").write_bytes(b"".join(one.bytes() for one in cert.cert_chain_pems))
    (folder / "users").write_text(
        f"{USER}:{{PLAIN}}{PASSWORD}\n{FOREIGN_USER}:{{PLAIN}}{FOREIGN_PASSWORD}\n"
    )
    (folder / "conf").write_text(_configuration(folder, ports) + config)
    for each in ("new", "cur", "tmp"):
        (folder / "home" / "Maildir" / each).mkdir(parents=True)
    _give(folder / "home")
    # A process group of its own, so that its children can be ended, too.
    running = subprocess.Popen(
        [DOVECOT, "-F", "-c", folder / "conf"], stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        found = Dovecot(folder, ports, running)
        until(lambda: running.poll() is not None or all(map(_is_open, ports.values())))
        assert running.poll() is None, running.stderr and running.stderr.read()
        yield found
    finally:
        running.terminate()
        running.wait(timeout=20)
        assert running.stderr is not None
        running.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(folder: Path, ports: dict[str, int]) -> str:
    listeners = "\n".join(
        f"""
service {protocol}-login {{
  inet_listener {protocol} {{
    port = {ports[protocol]}
  }}
  inet_listener {protocol}s {{
    port = {ports[f"{protocol}s"]}
    ssl = yes
  }}
}}"""
        for protocol in ("imap", "pop3")
    )
    return f"""
protocols = imap pop3
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = yes
ssl_cert = <{folder}/cert
ssl_key = <{folder}/key
disable_plaintext_auth = no
auth_mechanisms = plain login
# Wrong passwords are tried on purpose.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
auth_username_chars =
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_fsync = never
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={_OWNER} gid={_OWNER} home={folder}/home
}}
{listeners}
"""


def _give(folder: Path) -> None:
    subprocess.run(["chown", "-R", f"{_OWNER}:{_OWNER}", folder], check=True)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def _is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
