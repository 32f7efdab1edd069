"""Looks at sheets and imports them, in threads of the desk: neither holds up a request.

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
from newsletter.desk.sheets import Sheet, Sheets, Stage
from newsletter.errors import Conflict, InvalidInput, NewsletterError
from newsletter.subscribers import import_preview, imports
from newsletter.subscribers.csv_rows import Choice
from newsletter.subscribers.imports import Import, ImportTally
from newsletter.subscribers.rejections import Rejections
from newsletter.tokens import Keyring

#: Seconds that a form waits for its thread: most sheets are small.
_PATIENCE = 2.0
_RUNNING = (Stage.LOOKING, Stage.IMPORTING)


class Importing:
    """The threads of this process that read sheets, one for a sheet at a time."""

    def __init__(
        self, sheets: Sheets, engine: Engine, keyring: Keyring, clock: Callable[[], datetime]
    ) -> None:
        self.sheets = sheets
        self._engine = engine
        self._keyring = keyring
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}

    def is_running(self, sheet: Sheet) -> bool:
        """Return whether a thread of this process works on a sheet."""
        with self._lock:
            thread = self._running.get(sheet.id)
        return thread is not None and thread.is_alive()

    def is_interrupted(self, sheet: Sheet) -> bool:
        """Return whether a sheet's thread has ended with its desk."""
        return sheet.stage in _RUNNING and not self.is_running(sheet)

    def look(self, sheet: Sheet) -> None:
        """Find out what an import of a sheet would do."""
        sheet.stage, sheet.preview, sheet.problem, sheet.hint = Stage.LOOKING, None, "", ""
        self._start(sheet, self._look)

    def start(self, sheet: Sheet, *, actor: str) -> None:
        """Import a sheet; raises Conflict if it was imported already."""
        if sheet.stage is Stage.DONE:
            raise Conflict("This sheet was imported already.", hint="Upload it anew.")
        sheet.stage, sheet.problem, sheet.hint, sheet.done = Stage.IMPORTING, "", "", 0
        now = self._clock()
        with sessions.writing(self._engine) as session:
            subjects = {f"import:{sheet.id}": sheet.name}
            audit.record(session, "subscribers.import", subjects, actor=actor, at=now)
        self._start(sheet, lambda one: self._import(one, actor))

    def _start(self, sheet: Sheet, act: Callable[[Sheet], None]) -> None:
        def work() -> None:
            try:
                act(sheet)
            except NewsletterError as exc:
                sheet.stage, sheet.problem, sheet.hint = Stage.STUCK, exc.message, exc.hint or ""
            except Exception as exc:  # noqa: BLE001 - the page has to show it
                traceback.print_exc()
                sheet.stage, sheet.problem = Stage.STUCK, f"It failed: {type(exc).__name__}."
            self.sheets.save(sheet)

        with self._lock:
            running = self._running.get(sheet.id)
            if running is not None and running.is_alive():
                raise Conflict("This sheet is being read.", hint="Wait until that is over.")
            thread = threading.Thread(target=work, name="sheet", daemon=True)
            self._running[sheet.id] = thread
            self.sheets.save(sheet)
            thread.start()
        thread.join(_PATIENCE)

    def _look(self, sheet: Sheet) -> None:
        with self.sheets.opened(sheet) as stream:
            try:
                found = import_preview.look(self._engine, stream, self._how(sheet))
            except InvalidInput:
                stream.seek(0)
                sheet.preview = {"columns": import_preview.names(stream)}
                raise
        sheet.preview, sheet.stage = vars(found), Stage.LOOKED

    def _import(self, sheet: Sheet, actor: str) -> None:
        with (
            self.sheets.opened(sheet) as stream,
            Rejections(lambda: self.sheets.written(sheet)) as rejections,
        ):

            def progress(tally: ImportTally) -> None:
                sheet.tally, sheet.done = asdict(tally), stream.tell()
                self.sheets.save(sheet)

            tally = imports.run(
                self._engine,
                stream,
                self._how(sheet),
                reject=rejections.add,
                surveyed=rejections.begin,
                progress=progress,
            )
        sheet.tally, sheet.stage = asdict(tally), Stage.DONE
        self.sheets.let_go(sheet)
        after = ", ".join(f"{count:,} {name}" for name, count in sheet.tally.items() if count)
        with sessions.writing(self._engine) as session:
            subjects = {f"import:{sheet.id}": sheet.name}
            audit.record(
                session,
                "subscribers.imported",
                subjects,
                actor=actor,
                at=self._clock(),
                after=after,
            )

    def _how(self, sheet: Sheet) -> Import:
        return Import(
            source=f"import {sheet.name}",
            now=self._clock(),
            keyring=self._keyring,
            cadence=Cadence(sheet.cadence),
            confirmed=sheet.confirmed,
            choice=Choice(sheet.read, tuple(sheet.ignored)),
        )
