"""The child process that parses documents: real processes, with their limits lowered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import hostile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journey import until
from sqlalchemy import Engine

from newsletter.articles import ingest, parse, sandbox, store
from newsletter.articles.fetch import Fetched, Validators
from newsletter.articles.ingest import Counts
from newsletter.articles.limits import Limits
from newsletter.articles.sandbox import Sandbox
from newsletter.db import session as sessions
from newsletter.errors import FeedError

from .conftest import SAMPLES

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
SAMPLE = (SAMPLES / "mias-feed.rss.xml").read_bytes()
#: Generous, so that a busy machine fails no valid document.
LIMITS = Limits(parse_seconds=120)

on_linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


def parsers(parent: int | None = None) -> list[int]:
    """Return the child processes that parse feeds for `parent`, this process by default."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if b"newsletter.articles.child" in command and int(stat[1]) == (parent or os.getpid()):
            found.append(int(folder.name))
    return found


def read(box: Sandbox, body: bytes = SAMPLE) -> int:
    return len(box.parse(body, content_type="", url="https://a.example/feed").items)


def add_feeds(engine: Engine, *names: str) -> None:
    with sessions.writing(engine) as session:
        for name in names:
            store.add_feed(session, url=f"https://{name}.example/", title=name, now=NOW)


def giving(**bodies: bytes) -> ingest.Fetcher:
    """Return a fetcher that returns the document named like the host."""

    def fetcher(url: str, _limits: Limits, _validators: Validators) -> Fetched:
        body = bodies[url.removeprefix("https://").partition(".")[0]]
        return Fetched(body, "", None, None, url, not_modified=False)

    return fetcher


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*-*.*")), ids=lambda path: path.name)
def test_the_child_gives_the_same_result_as_the_parser(path: Path) -> None:
    expected = parse.parse(path.read_bytes(), url="https://a.example/feed")

    with Sandbox(LIMITS) as box:
        found = box.parse(path.read_bytes(), content_type="", url="https://a.example/feed")

    assert found == expected


@on_linux
def test_one_child_parses_everything_and_is_gone_afterwards() -> None:
    with Sandbox(LIMITS) as box:
        assert parsers() == []
        assert [read(box) for _ in range(3)] == [5, 5, 5]
        assert len(parsers()) == box.starts == 1
        with pytest.raises(FeedError, match="not a feed"):
            read(box, b"hello")
        assert box.starts == 1

    assert parsers() == []


@on_linux
def test_the_child_inherits_nothing_from_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEWSLETTER_SECRET_KEYS", "hunter2")
    with Path("/dev/null").open() as inherited, Sandbox(LIMITS) as box:
        os.set_inheritable(inherited.fileno(), True)
        read(box)
        [pid] = parsers()

        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert sorted(one.name for one in Path(f"/proc/{pid}/fd").iterdir()) == ["0", "1", "2"]
        # Ctrl-C is sent to the parent's session only.
        assert os.getsid(pid) == pid != os.getsid(0)


@on_linux
def test_a_parse_without_end_fails_its_own_feed_and_no_other(sqlite_engine: Engine) -> None:
    add_feeds(sqlite_engine, "good", "endless", "fine")
    limits = replace(LIMITS, parse_processor_seconds=1)
    fetcher = giving(good=SAMPLE, endless=hostile.endless(), fine=hostile.rss(""))

    good, endless, fine = ingest.fetch_all(sqlite_engine, limits, NOW, fetcher=fetcher)

    assert (good.counts, fine.counts) == (Counts(new=5), Counts(new=1))
    assert endless.error == "Parsing the feed took more than 1 seconds of processor time."
    with sessions.reading(sqlite_engine) as session:
        assert [feed.error for feed in store.feeds(session)] == [None, endless.error, None]
    assert parsers() == []


def test_a_document_that_needs_more_memory_than_it_may_have_is_refused() -> None:
    big = b'{"items": [' + b"[" + b"[]," * 2_000_000 + b"[]]]}"

    with Sandbox(replace(LIMITS, parse_memory_bytes=100_000_000)) as box:
        with pytest.raises(FeedError, match="more than 100 MB of memory"):
            read(box, big)
        assert read(box) == 5
        assert box.starts == 2


def test_a_document_that_takes_too_long_is_refused() -> None:
    with (
        Sandbox(replace(LIMITS, parse_seconds=0.001)) as box,
        pytest.raises(FeedError, match=r"longer than 0\.001 seconds"),
    ):
        read(box)


@on_linux
def test_a_child_killed_while_idle_is_replaced_without_a_failed_feed() -> None:
    with Sandbox(LIMITS) as box:
        read(box)
        [pid] = parsers()
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        assert read(box) == 5
        assert box.starts == 2


def test_nothing_is_started_where_nothing_is_new(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_feeds(sqlite_engine, "a", "b")
    monkeypatch.setattr(subprocess, "Popen", None)

    def unchanged(url: str, _limits: Limits, _validators: Validators) -> Fetched:
        return Fetched(b"", "", None, None, url, not_modified=True)

    results = ingest.fetch_all(sqlite_engine, LIMITS, NOW, fetcher=unchanged)

    assert [one.error for one in results] == [None, None]


@on_linux
def test_a_run_that_is_stopped_leaves_its_feeds_as_they_are(sqlite_engine: Engine) -> None:
    add_feeds(sqlite_engine, "good", "endless", "last")
    fetcher = giving(good=SAMPLE, endless=hostile.endless(), last=SAMPLE)
    stopped = threading.Event()

    def is_stopped() -> bool:
        if parsers():
            stopped.set()
        return stopped.is_set()

    limits = replace(LIMITS, parse_processor_seconds=600, parse_seconds=600)
    results = ingest.fetch_all(sqlite_engine, limits, NOW, fetcher=fetcher, is_stopped=is_stopped)

    assert len(results) < 2
    with sessions.reading(sqlite_engine) as session:
        assert [feed.error for feed in store.feeds(session)] == [None] * 3
    assert parsers() == []


def test_a_stalled_server_does_not_delay_a_stop(sqlite_engine: Engine) -> None:
    add_feeds(sqlite_engine, "slow")
    asked, may_answer = threading.Event(), threading.Event()

    def fetcher(url: str, _limits: Limits, _validators: Validators) -> Fetched:
        asked.set()
        may_answer.wait()
        raise FeedError

    assert (
        ingest.fetch_all(sqlite_engine, LIMITS, NOW, fetcher=fetcher, is_stopped=asked.is_set) == []
    )
    may_answer.set()


@on_linux
def test_a_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "endless.xml").write_bytes(hostile.endless())
    program = """
        import sys
        from pathlib import Path
        from newsletter.articles.limits import Limits
        from newsletter.articles.sandbox import Sandbox

        # Its limits would end it much later.
        with Sandbox(Limits(parse_processor_seconds=5_000)) as box:
            box.parse(b"<rss/>", content_type="", url="")
            print("begins", flush=True)
            box.parse(Path(sys.argv[1]).read_bytes(), content_type="", url="")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), tmp_path / "endless.xml"],
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        [pid] = parsers(parent.pid)
        parent.kill()

    until(lambda: not _is_parser(pid))


def _is_parser(pid: int) -> bool:
    try:
        return b"newsletter.articles.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


_FEED = json.loads(
    json.dumps(
        {
            "title": "T",
            "site_url": None,
            "dropped": 0,
            "items": [
                {
                    "guid": None,
                    "link": "https://a.example/",
                    "title": "T",
                    "standfirst": "",
                    "image": None,
                    "author": None,
                    "source": None,
                    "categories": [],
                    "minutes": 1,
                    "published_at": None,
                }
            ],
        }
    )
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("link", "javascript:alert(1)"),
        ("link", "https://a.example/" + "x" * 2_000),
        ("title", ""),
        ("title", "x" * 501),
        ("title", 7),
        ("standfirst", "x" * 400),
        ("guid", "x" * 501),
        ("categories", ["x"] * 11),
        ("categories", ["x" * 201]),
        ("minutes", 0),
        ("minutes", "1"),
        ("published_at", "2026-11-22T07:00:00"),
        ("image", {"url": "file:///etc/passwd", "width": 1, "height": 1, "alt": None}),
    ],
)
def test_an_article_outside_the_parsers_bounds_is_refused(field: str, value: object) -> None:
    assert len(sandbox._read(json.dumps({"feed": _FEED}).encode()).items) == 1
    odd = _FEED | {"items": [_FEED["items"][0] | {field: value}]}

    with pytest.raises(FeedError, match="makes no sense"):
        sandbox._read(json.dumps({"feed": odd}).encode())


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["feed", "error", "hint", "items", "title", "x"]), inner, max_size=3
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
@settings(deadline=None)
def test_any_response_of_the_child_is_a_feed_or_an_error(answer: bytes) -> None:
    with pytest.raises(FeedError):
        sandbox._read(answer)
