"""Uploads that were uploaded to be imported: files in the user's state folder, for a day at most.

Each has a folder of its own, which only this user can read: the file, the lines that were refused,
and what is known about the import as JSON. So a desk that is restarted still shows them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from newsletter import paths
from newsletter.errors import Conflict, InvalidInput, NotFound
from newsletter.settings import Settings

#: How long a file is kept, and how many are.
KEPT = timedelta(days=1)
_MOST = 8
_ID = re.compile(r"[\w-]{16}", re.ASCII)
_LONGEST_NAME = 100


class Stage(StrEnum):
    """What is done with a file, or was done last."""

    LOOKING = "looking"
    #: The preview is there.
    LOOKED = "looked"
    #: A state in the file is not understood, or it is no file.
    STUCK = "stuck"
    IMPORTING = "importing"
    DONE = "done"


@dataclass(kw_only=True)
class Upload:
    """One uploaded file, and what is known about its import."""

    id: str
    #: The name of the file as uploaded, and who did it.
    name: str
    by: str
    at: datetime
    #: Octets.
    size: int
    stage: Stage = Stage.LOOKING
    cadence: str = "weekly"
    confirmed: bool = False
    #: The name of the column that is read as each field, and columns that are not read.
    read: Mapping[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    #: `import_preview.Preview`, and `imports.ImportTally`.
    preview: Mapping[str, Any] | None = None
    tally: Mapping[str, int] | None = None
    #: Octets that were read by the import.
    done: int = 0
    problem: str = ""
    hint: str = ""


class Uploads:
    """The files of one publication."""

    def __init__(self, settings: Settings) -> None:
        name = hashlib.sha256(settings.database_url.encode()).hexdigest()[:16]
        self._name = f"imports-{name}"

    def add(self, stream: BinaryIO, *, name: str, by: str, now: datetime) -> Upload:
        """Keep an uploaded file; raises Conflict if too many are kept."""
        self.prune(now)
        if len(self.all()) >= _MOST:
            raise Conflict(f"{_MOST} files are here already.", hint="Discard one of them.")
        one = Upload(id=secrets.token_urlsafe(12), name=_printable(name), by=by, at=now, size=0)
        folder = self._folder() / one.id
        folder.mkdir(mode=0o700)
        try:
            with _new(folder / "readers.csv", "wb") as kept:
                shutil.copyfileobj(stream, kept)
                one.size = kept.tell()
        except BaseException:
            self.remove(one.id)
            raise
        if not one.size:
            self.remove(one.id)
            raise InvalidInput("The file is empty.", hint="Choose a file with a header and rows.")
        self.save(one)
        return one

    def get(self, upload_id: str) -> Upload:
        """Return a file; raises NotFound."""
        if _ID.fullmatch(upload_id):
            with suppress(OSError, ValueError, TypeError, KeyError):
                kept = json.loads((self._folder() / upload_id / "state.json").read_text("utf-8"))
                at, stage = datetime.fromisoformat(kept.pop("at")), Stage(kept.pop("stage"))
                return Upload(at=at, stage=stage, **kept)
        raise NotFound("There is no such file.", hint="Uploads are kept for a day. Upload it anew.")

    def all(self) -> list[Upload]:
        """Return all files, the newest first."""
        found = []
        for folder in self._folder().iterdir():
            with suppress(NotFound):
                found.append(self.get(folder.name))
        return sorted(found, key=lambda one: one.at, reverse=True)

    def save(self, upload: Upload) -> None:
        """Replace what is known about a file; one that was removed meanwhile stays away."""
        folder = self._folder() / upload.id
        text = json.dumps({**vars(upload), "at": upload.at.isoformat()})
        with suppress(FileNotFoundError):
            descriptor, name = tempfile.mkstemp(dir=folder)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).replace(folder / "state.json")

    def opened(self, upload: Upload) -> BinaryIO:
        """Open the file itself; raises NotFound if it is gone."""
        try:
            return (self._folder() / upload.id / "readers.csv").open("rb")
        except FileNotFoundError as exc:
            raise NotFound("The file is not kept any more.", hint="Upload it anew.") from exc

    def let_go(self, upload: Upload) -> None:
        """Delete the file itself, and keep what became of it."""
        (self._folder() / upload.id / "readers.csv").unlink(missing_ok=True)

    def refused(self, upload: Upload) -> Path:
        """Return the file with the lines that were refused; it exists if there are any."""
        return self._folder() / upload.id / "refused.csv"

    def written(self, upload: Upload) -> TextIO:
        """Create the file with the lines that are refused."""
        path = self.refused(upload)
        path.unlink(missing_ok=True)
        return _new(path, "w", encoding="utf-8", newline="")  # type: ignore[no-any-return]

    def remove(self, upload_id: str) -> None:
        """Delete a file, and all that is known about it."""
        if _ID.fullmatch(upload_id):
            shutil.rmtree(self._folder() / upload_id, ignore_errors=True)

    def prune(self, now: datetime) -> None:
        """Delete the files that were kept long enough, and what a crash has left of others."""
        kept = {one.id: one.at for one in self.all()}
        for folder in self._folder().iterdir():
            at = kept.get(folder.name)
            if at is None:
                with suppress(FileNotFoundError):
                    at = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            if at is not None and not at <= now <= at + KEPT:
                self.remove(folder.name)

    def _folder(self) -> Path:
        try:
            folder = paths.state_folder() / self._name
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise InvalidInput(
                f"Uploads cannot be kept in {exc.filename}: {exc.strerror}.",
                hint="Look at its owner and mode, or name another one by XDG_STATE_HOME.",
            ) from exc
        return folder


def _new(path: Path, mode: str, **options: Any) -> Any:  # noqa: ANN401 - text or octets
    """Create a file that only this user can read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o600), mode, **options)


def _printable(name: str) -> str:
    """Return the last part of a file's name, as the record of consent has it."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(one for one in last if one.isprintable())[:_LONGEST_NAME].strip() or "a file"
