"""feedparser's own test documents: all are read or refused with a message, none slowly.

They come from its source distribution, fetched once by name and version.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import time
from importlib import metadata
from pathlib import Path

import pytest

from newsletter.articles import parse
from newsletter.errors import FeedError

# One worker fetches them.
pytestmark = pytest.mark.xdist_group("feedparser")

#: Seconds of processor time for one document.
ALLOWED = 0.2
TRIES = 3
DOWNLOAD_SECONDS = 120
FOLDER = Path(sys.prefix) / "feedparser-documents"
_CONTENT_TYPE = re.compile(rb"Header:\s*Content-type:\s*([^\r\n]{1,200})", re.IGNORECASE)


@pytest.fixture(scope="module")
def documents() -> dict[str, bytes]:
    """The documents, by their names in the archive."""
    version = metadata.version("feedparser")
    archive = FOLDER / f"feedparser-{version}.tar.gz"
    if not archive.is_file():
        _download(version)
    with tarfile.open(archive) as packed:
        members = [one for one in packed.getmembers() if one.name.endswith(".xml")]
        files = {one.name.partition("/")[2]: packed.extractfile(one) for one in members}
        return {name: file.read() for name, file in files.items() if file}


def _download(version: str) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    wanted = ["--no-binary", "feedparser", "--dest", str(FOLDER), f"feedparser=={version}"]
    try:
        subprocess.run([*pip, *wanted], capture_output=True, timeout=DOWNLOAD_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"the test documents of feedparser {version}: no registry can be reached")


def outcome(body: bytes) -> str:
    """Parse a document as the fetcher passes it on; return the result as text."""
    named = _CONTENT_TYPE.search(body[:2_000])
    content_type = named[1].decode("latin-1").strip() if named else "application/xml"
    try:
        parse.parse(body, content_type=content_type, url="https://feeds.example/feed.xml")
    except FeedError as exc:
        return exc.message
    return "read"


def seconds(body: bytes) -> float:
    began = time.process_time()
    outcome(body)
    return time.process_time() - began


def test_every_document_is_read_or_refused_in_words(documents: dict[str, bytes]) -> None:
    refused = {name: said for name, body in documents.items() if (said := outcome(body)) != "read"}

    assert len(documents) >= 2_242
    assert set(refused.values()) <= {"That is not a feed: no RSS, Atom or JSON Feed."}
    # Other documents, such as the pages of redirects.
    assert len(refused) <= 20, refused


def test_no_document_takes_a_fifth_of_a_second_of_processor_time(
    documents: dict[str, bytes],
) -> None:
    slow = [name for name, body in documents.items() if seconds(body) > ALLOWED]
    best = {name: min(seconds(documents[name]) for _ in range(TRIES)) for name in slow}

    assert {name: taken for name, taken in best.items() if taken > ALLOWED} == {}
