"""Looks at files and imports them, in threads of the desk: neither holds up a request.

A thread ends with the desk. What an import has written then stays, and it can be started again,
since an import leaves readers who are there as they are.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Engine

from newsletter import audit
from newsletter.cadences import Cadence
from newsletter.db import session as sessions
from newsletter.desk.uploads import KEPT, Stage, Upload, Uploads
from newsletter.errors import Conflict, InvalidInput, NewsletterError
from newsletter.subscribers import import_preview, imports
from newsletter.subscribers.csv_rows import Choice
from newsletter.subscribers.imports import Import, ImportTally
from newsletter.subscribers.rejections import Rejections
from newsletter.tokens import Keyring

#: Seconds that a form waits for its thread: most files are small.
_PATIENCE = 2.0
_RUNNING = (Stage.LOOKING, Stage.IMPORTING)


class Importing:
    """The threads of this process that read files, one for a file at a time."""

    def __init__(
        self, uploads: Uploads, engine: Engine, keyring: Keyring, clock: Callable[[], datetime]
    ) -> None:
        self.uploads = uploads
        self._engine = engine
        self._keyring = keyring
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}

    def is_running(self, upload: Upload) -> bool:
        """Return whether a thread of this process works on a file."""
        with self._lock:
            thread = self._running.get(upload.id)
        return thread is not None and thread.is_alive()

    def is_interrupted(self, upload: Upload) -> bool:
        """Return whether a file's thread has ended with its desk."""
        return upload.stage in _RUNNING and not self.is_running(upload)

    def remove_later(self, upload: Upload) -> None:
        """Delete a file when its time is over, whether or not somebody opens the desk then."""
        timer = threading.Timer(KEPT.total_seconds(), self.uploads.remove, [upload.id])
        timer.daemon = True
        timer.start()

    def look(self, upload: Upload) -> None:
        """Find out what an import of a file would do."""
        upload.stage, upload.preview, upload.problem, upload.hint = Stage.LOOKING, None, "", ""
        self._start(upload, self._look)

    def start(self, upload: Upload, *, actor: str) -> None:
        """Import a file; raises Conflict if it was imported already."""
        if upload.stage is Stage.DONE:
            raise Conflict("This file was imported already.", hint="Upload it anew.")
        upload.stage, upload.problem, upload.hint, upload.done = Stage.IMPORTING, "", "", 0
        now = self._clock()
        with sessions.writing(self._engine) as session:
            subjects = {f"import:{upload.id}": upload.name}
            audit.record(session, "subscribers.import", subjects, actor=actor, at=now)
        self._start(upload, lambda one: self._import(one, actor))

    def _start(self, upload: Upload, act: Callable[[Upload], None]) -> None:
        def work() -> None:
            try:
                act(upload)
            except NewsletterError as exc:
                upload.stage, upload.problem, upload.hint = Stage.STUCK, exc.message, exc.hint or ""
            except Exception as exc:  # noqa: BLE001 - the page has to show it
                traceback.print_exc()
                upload.stage, upload.problem = Stage.STUCK, f"It failed: {type(exc).__name__}."
            self.uploads.save(upload)

        with self._lock:
            running = self._running.get(upload.id)
            if running is not None and running.is_alive():
                raise Conflict("This file is being read.", hint="Wait until that is over.")
            thread = threading.Thread(target=work, name="upload", daemon=True)
            self._running[upload.id] = thread
            self.uploads.save(upload)
            thread.start()
        thread.join(_PATIENCE)

    def _look(self, upload: Upload) -> None:
        with self.uploads.opened(upload) as stream:
            try:
                found = import_preview.look(self._engine, stream, self._how(upload))
            except InvalidInput:
                stream.seek(0)
                upload.preview = {"columns": import_preview.names(stream)}
                raise
        upload.preview, upload.stage = vars(found), Stage.LOOKED

    def _import(self, upload: Upload, actor: str) -> None:
        with (
            self.uploads.opened(upload) as stream,
            Rejections(lambda: self.uploads.written(upload)) as rejections,
        ):

            def progress(tally: ImportTally) -> None:
                upload.tally, upload.done = asdict(tally), stream.tell()
                self.uploads.save(upload)

            tally = imports.run(
                self._engine,
                stream,
                self._how(upload),
                reject=rejections.add,
                surveyed=rejections.begin,
                progress=progress,
            )
        upload.tally, upload.stage = asdict(tally), Stage.DONE
        self.uploads.let_go(upload)
        after = ", ".join(f"{count:,} {name}" for name, count in upload.tally.items() if count)
        with sessions.writing(self._engine) as session:
            subjects = {f"import:{upload.id}": upload.name}
            audit.record(
                session,
                "subscribers.imported",
                subjects,
                actor=actor,
                at=self._clock(),
                after=after,
            )

    def _how(self, upload: Upload) -> Import:
        return Import(
            source=f"import {upload.name}",
            now=self._clock(),
            keyring=self._keyring,
            cadence=Cadence(upload.cadence),
            confirmed=upload.confirmed,
            choice=Choice(upload.read, tuple(upload.ignored)),
        )
